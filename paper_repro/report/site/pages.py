"""The generated pages: one per table, one per method, the errata, and the parts that the front page includes."""

from __future__ import annotations

import html
import inspect
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from paper_repro import methods, tables
from paper_repro.data.catalog import dataset
from paper_repro.evidence import claims, evidence, results, verdicts
from paper_repro.evidence.claims import ClaimResult
from paper_repro.evidence.evidence import Evidence
from paper_repro.evidence.verdicts import Comparison, Judgement
from paper_repro.report import figures, report, summary
from paper_repro.report.figures.style import look
from paper_repro.report.site import charts
from paper_repro.report.site.sortable import code, link, raw, sortable
from paper_repro.tables import AUDIT
from paper_repro.verdict import MEANING, Verdict

COLUMNS = {"top1_pct": "Top-1 %", "sparsity_pct": "Sparsity %", "params_m": "Params M", "macs_m": "MACs M"}
OF_A_METHOD = {"top1_pct": "Top-1 %", "sparsity_pct": "Sparsity %", "sparse_macs_m": "MACs (M)"}
OF_A_RUN = {
    "row": "Row",
    "seed": "Seed",
    "status": "Status",
    "top1_pct": "Top-1 %",
    "sparsity_pct": "Sparsity %",
    "sparse_macs_m": "MACs (M)",
    "spec": "Spec (name of the run)",
    "commit": "Commit",
    "torch": "torch",
    "device": "Machine",
    "threads": "Threads",
    "seconds": "Seconds",
    "dataset_sha256": "Data (SHA-256)",
}


def badge(verdict: Verdict | str) -> str:
    """A verdict as a coloured word; the colour repeats what the word says."""
    return f'<span class="verdict {str(verdict).lower()}">{verdict}</span>'


def pages(results_dir: Path) -> dict[str, str]:
    """Path of each generated page, relative to the folder of pages -> its text."""
    bodies = {(name, tier): evidence.load(name, tier, results_dir) for name in tables.names() for tier in _tiers(name)}
    checked = {key: _claims(body) for key, body in bodies.items()}
    texts = {"status.md": status(results_dir), "claims.md": all_claims(checked), "errata.md": errata(results_dir)}
    for name in tables.names():
        texts[f"tables/{name}.md"] = table_page(
            name, [(bodies[name, tier], checked[name, tier]) for tier in _tiers(name)]
        )
    for name in methods.METHODS:
        of_method = [table for table in COMMON if any(row.method == name for row in tables.load(table).rows)]
        texts[f"methods/{name}.md"] = method_page(name, bodies[(of_method or COMMON)[0], "smoke"])
    texts["tables/index.md"] = index("Tables", TABLES, [(name, tables.load(name).title) for name in in_order()])
    titles = [(name, look(name).name) for name in methods.METHODS]
    texts["methods/index.md"] = index("Methods", METHODS, titles)
    return texts


TABLES = (
    "One page for each table: the printed numbers beside the reproduced ones, claims, figures, the budgets of the "
    "layers, the notebook, and where each run comes from."
)
COMMON = ("family", "successors", "n_of_m")  # the tables of the protocol that all methods share
METHODS = (
    "One page for each method: its idea, what was chosen where paper and code differ, and its results on the protocol "
    "that all methods share."
)


def in_order() -> list[str]:
    """The tables: those of the paper by number, then the project's own."""
    titles = {name: tables.load(name).paper_table for name in tables.names()}
    return sorted(titles, key=lambda name: (not titles[name].startswith("Table"), results.natural(titles[name])))


def index(title: str, text: str, entries: Iterable[tuple[str, str]]) -> str:
    """A page that leads to others."""
    entries = list(entries)
    lines = [f"# {title}", "", text, "", *(f"- [`{name}`]({name}.md): {what}" for name, what in entries)]
    lines += ["", "```{toctree}", ":hidden:", *(name for name, _ in entries), "```", ""]
    return "\n".join(lines)


def _tiers(table: str) -> list[str]:
    return [AUDIT, *tables.load(table).tiers]


# -- the front page --------------------------------------------------------------------------------------------------


def status(results_dir: Path) -> str:
    """How many printed numbers have which verdict, by table and tier."""
    frame = verdicts.counts(results_dir).rename(columns={"paper": "Printed in", "numbers": "Numbers", "tier": "Tier"})
    meanings = "; ".join(f"{verdict}: {meaning}" for verdict, meaning in MEANING.items())
    return sortable(frame, "status", f"Numbers by verdict and tier. {meanings}.")


def all_claims(checked: Mapping[tuple[str, str], list[ClaimResult]]) -> str:
    """Each claim once: what the paper's own numbers say of it, and what each tier with runs says."""
    lines = []
    for name in in_order():
        of_table = [result for (table, _), some in checked.items() if table == name for result in some]
        for id in dict.fromkeys(result.id for result in of_table):
            of_tier = {result.tier: result for result in of_table if result.id == id}
            claim = next(iter(of_tier.values())).claim
            decided = {t: r for t, r in of_tier.items() if r.verdict not in (Verdict.UNTESTED, Verdict.MISSING)}
            lines.append(
                {
                    "Claim": link(html.escape(claim.text), f"generated/tables/{name}.html#{name}-{id}"),
                    "Of": html.escape(tables.load(name).paper_table),
                    "Whose": "the paper's" if claim.whose == "paper" else "this project's",
                    "Verdict": "<br>".join(f"{badge(r.verdict)} {t}" for t, r in decided.items())
                    or badge(Verdict.MISSING),
                    "Evidence": "<br>".join(f"{t}: {html.escape(r.figure)}" for t, r in decided.items()),
                }
            )
    return sortable(pd.DataFrame(lines), "claims", "The claims, and what speaks for or against each.")


def _claims(body: Evidence) -> list[ClaimResult]:
    """The claims as this tier sees them; without runs there is nothing to see."""
    if body.tier != AUDIT and not len(body.runs):
        return []
    checked = [result for result in claims.check(body) if result.tier == body.tier]
    return [result for result in checked if body.tier != AUDIT or AUDIT in result.claim.tiers]


# -- a table -----------------------------------------------------------------------------------------------------------


def table_page(name: str, bodies: Iterable[tuple[Evidence, list[ClaimResult]]]) -> str:
    """All tiers of a table that have something to show."""
    table = tables.load(name)
    shown = [pair for pair in bodies if len(pair[0].runs) or (pair[0].tier == AUDIT and len(pair[0].audit))]
    parts = [f"# {table.heading}", ""]
    missing = [tier for tier in table.tiers if tier not in [body.tier for body, _ in shown]]
    if missing:
        parts.append(f"Without results yet: tier {', '.join(missing)}.\n")
    for body, checked in sorted(shown, key=lambda pair: pair[0].tier == AUDIT):  # what was trained comes first
        parts += _audit(body, checked) if body.tier == AUDIT else _tier(body, checked)
    return "\n".join(parts)


def _audit(body: Evidence, checked: list[ClaimResult]) -> list[str]:
    printed = body.audit[body.audit["printed"].ne("")]
    frame = pd.DataFrame(
        {
            "Printed in": printed["table"],
            "Row": printed["row"].map(code),
            "Quantity": printed["quantity"].map(lambda name: COLUMNS.get(name, name)),
            "Printed": printed["printed"],
            "Recomputed": printed["recomputed"].map(lambda value: "" if pd.isna(value) else f"{value:.6g}"),
            "Verdict": printed["verdict"].map(badge),
            "Why": [_joined(*pair) for pair in zip(printed["convention"], printed["note"], strict=True)],
        }
    )
    return [
        "## Recomputed without training",
        "",
        f"{summary.counted(printed['verdict'])} of {len(printed)} printed numbers.",
        "",
        sortable(frame, f"{body.table.name}-audit", "Printed numbers, recomputed from the paper's budgets.", 25),
        *_claims_at_length(body, checked),
    ]


def _joined(convention: object, note: object) -> str:
    return why("; ".join(text for text in (convention, note) if isinstance(text, str)).strip("; "))


def why(text: str) -> str:
    """A cell of running text, which needs some width."""
    return f'<div class="why">{html.escape(text)}</div>' if text else ""


def _tier(body: Evidence, checked: list[ClaimResult]) -> list[str]:
    """Everything that one tier has to show."""
    compared = verdicts.comparisons(body)
    id = f"{body.table.name}-{body.tier}"
    parts = [f"## Tier {body.tier}", "", f"{body.setting}.", ""]
    parts += [f"- {text}" for text in summary.numbers(body, compared)]
    if not body.complete:
        parts.append(f"- INCOMPLETE: {report.incomplete(body)}")
    parts += ["", "### Reported beside reproduced", "", sortable(comparison(body, compared), id, _caption(body))]
    if any(row.id for row in body.table.rows if row.method == "str") and body.table.has_budgets:
        parts += [
            "### Accuracy, sparsity, multiply-adds",
            "",
            charts.accuracy(body, "sparsity_pct"),
            charts.accuracy(body, "macs_m"),
            "### Budgets of the layers",
            "",
            charts.budgets(body),
        ]
    parts += ["### Figures", "", *_pictures(body), *_claims_at_length(body, checked)]
    notebook = body.results_dir / body.table.name / f"{body.tier}.ipynb"
    if notebook.exists():
        parts += ["### Notebook", "", f"[The executed notebook](../notebooks/{id}.ipynb) has all of this, and why.", ""]
        parts += ["```{toctree}", ":hidden:", f"../notebooks/{id}", "```", ""]
    parts += ["### Where each run comes from", "", sortable(runs(body), f"{id}-runs", RUNS, 25)]
    return parts


RUNS = (
    "Each run: its spec, the commit and the machine that made it. `make reproduce` with the same spec trains it again."
)


def _caption(body: Evidence) -> str:
    return (
        "The paper's number, and the one found here (mean over seeds). Sparsity, parameters and MACs are those of the "
        f"full-size network; top-1 is that of {body.setting}. A row's verdict is the worst of what was tested."
    )


def comparison(body: Evidence, compared: Iterable[Comparison]) -> pd.DataFrame:
    """One line per row: printed, reproduced, verdict, each number with its reason on hovering."""
    lines = []
    for row in compared:
        line = {"Row": _to_runs(body, row.row), "Method": html.escape(row.label)}
        for name, title in COLUMNS.items():
            if name in row.quantities:
                cell = row.quantities[name]
                line |= {f"{title}, paper": html.escape(cell.reported), f"{title}, here": _number(cell)}
        lines.append({**line, "Verdict": badge(row.verdict)})
    frame = pd.DataFrame(lines).fillna("")
    return frame[[*(column for column in frame if column != "Verdict"), "Verdict"]]


def _to_runs(body: Evidence, row: str) -> str:
    if not len(body.row_runs(row)):
        return code(row)
    return link(code(row), f"#{body.table.name}-{body.tier}-{row}")


def _number(cell: Judgement) -> str:
    reason = html.escape(f"{cell.verdict}: {cell.reason}", quote=True)
    return f'<span title="{reason}">{cell.text}</span>'


def _pictures(body: Evidence) -> list[str]:
    """The committed figures."""
    parts = []
    for name in figures.names(body):
        file = figures.path(body, name)
        if file.exists():
            text = (inspect.getdoc(figures.FIGURES[name].draw) or name).split("\n\n")[0]
            alt = html.escape(" ".join(text.split()), quote=True)
            picture = f"../figures/{body.table.name}-{file.name}"
            parts += [f"```{{figure}} {picture}", f":alt: {alt}", "", alt, "```", ""]
    return parts


def _claims_at_length(body: Evidence, checked: list[ClaimResult]) -> list[str]:
    parts = [f"### Claims at tier {body.tier}", ""] if checked else []
    for result in checked:
        quote = f" “{result.claim.quote}”" if result.claim.quote else ""
        whose = "" if result.claim.whose == "paper" else " (a finding of this project)"
        anchor = f"({body.table.name}-{result.id})=\n" if body.tier == AUDIT or AUDIT not in result.claim.tiers else ""
        parts += [
            f"{anchor}**{result.claim.text}**{quote} ({result.claim.source}){whose}",
            "",
            f"**{result.verdict}.** {result.sentence}",
            "",
        ]
    return parts


def runs(body: Evidence) -> pd.DataFrame:
    """Every run with its provenance. The first of a row is the place that the row links to."""
    frame = body.runs[list(OF_A_RUN)].copy()
    first = ~frame["row"].duplicated()
    frame["row"] = [
        f'<span id="{body.table.name}-{body.tier}-{row}">{code(row)}</span>' if is_first else code(row)
        for row, is_first in zip(frame["row"], first, strict=True)
    ]
    frame["spec"] = frame["spec"].map(code)
    frame["commit"] = [
        code(commit[:12]) + ("" if str(dirty) == "false" else " (changed)")
        for commit, dirty in zip(frame["commit"], body.runs["dirty"], strict=True)
    ]
    frame["dataset_sha256"] = [
        f"{html.escape(dataset(name).title)} {code(digest[:12])}"
        for name, digest in zip(body.runs["dataset"], frame["dataset_sha256"], strict=True)
    ]
    return frame.rename(columns=OF_A_RUN)


# -- a method --------------------------------------------------------------------------------------------------------


def method_page(name: str, body: Evidence) -> str:
    """What a method is, and what it did on the protocol that all methods share."""
    entry = methods.METHODS[name]
    module = __import__(f"paper_repro.methods.{entry.module}", fromlist=[entry.cls])
    file = f"paper_repro/methods/{entry.module}.py"
    preset = ", ".join(f"{key}={value!r}" for key, value in entry.preset.items())
    parts = [
        f"# {look(name).name}",
        "",
        f"`methods.get({name!r})`" + (f", which is {entry.cls}({preset})" if preset else "") + f", in `{file}`.",
        "",
        prose(inspect.getdoc(module) or ""),
        "",
        prose(inspect.getdoc(getattr(module, entry.cls)) or ""),
        "",
        "## Results on the common protocol",
        "",
    ]
    ran = [row for row in body.table.rows if row.method == name and len(body.row_runs(row.id))]
    lines = [
        {
            "Row": link(code(row.id), f"../tables/{body.table.name}.html#{body.table.name}-{body.tier}-{row.id}"),
            "Regime %": row.regime_pct,
            **{
                title: "" if (mean := body.summary(row.id, column)) is None else mean.text()
                for title, column in (
                    ("Top-1 %", "top1_pct"),
                    ("Sparsity %", "sparsity_pct"),
                    ("MACs (M)", "sparse_macs_m"),
                )
            },
        }
        for row in ran
    ]
    caption = f"Table {body.table.name}, tier {body.tier} ({body.setting}): mean over seeds [95 % interval]."
    return "\n".join([*parts, sortable(pd.DataFrame(lines), f"method-{name}", caption)])


def prose(docstring: str) -> str:
    """A docstring as Markdown: indented paragraphs are equations, double backquotes are code."""
    parts = []
    for paragraph in docstring.split("\n\n"):
        if paragraph.startswith("    "):
            parts.append(f"```text\n{textwrap.dedent(paragraph)}\n```")
        else:
            parts.append(paragraph.replace("``", "`").replace("*", "\\*"))
    return "\n\n".join(parts)


# -- errata ----------------------------------------------------------------------------------------------------------


def errata(results_dir: Path) -> str:
    """Every printed number that is wrong, with the evidence."""
    frame = pd.read_csv(results_dir / "errata.csv", dtype=str, keep_default_na=False)
    evidence_column = frame["evidence"].map(why)
    frame = frame.assign(row=frame["row"].map(code), evidence=evidence_column).rename(columns=str.capitalize)
    text = (
        "Every printed number that does not follow from what it is said to follow from, with the evidence. A number "
        "that follows from another convention of the same paper is no erratum: it passes, and the convention is named."
    )
    return f"# Errata\n\n{text}\n\n{sortable(frame, 'errata', 'Errata.')}"


__all__ = ["pages", "raw"]
