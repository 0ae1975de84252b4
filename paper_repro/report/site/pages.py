"""The generated pages: one per table, one per method, the errata, and the parts that the front page includes."""

from __future__ import annotations

import html
import importlib
import inspect
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from paper_repro import methods, tables
from paper_repro.data.catalog import dataset
from paper_repro.evidence import claims, evidence, verdicts
from paper_repro.evidence.claims import ClaimResult
from paper_repro.evidence.evidence import Evidence
from paper_repro.evidence.failures import read_failures
from paper_repro.evidence.lines import SEED_OF_TRIALS, TrialLine
from paper_repro.evidence.statistics import PERCENT, Summary
from paper_repro.evidence.verdicts import Comparison
from paper_repro.report import figures, methods_report, published, report, summary
from paper_repro.report.figures.style import look
from paper_repro.report.markdown import markdown_table
from paper_repro.report.result_report import in_order
from paper_repro.report.site import charts
from paper_repro.report.site.sortable import code, link, sortable
from paper_repro.tables import AUDIT
from paper_repro.verdict import MEANING, Verdict

Checked = Mapping[str, list[tuple[Evidence, list[ClaimResult]]]]  # table -> its tiers, each with its claims
COLUMNS = {"top1_pct": "Top-1 %", "sparsity_pct": "Sparsity %", "params_m": "Params M", "macs_m": "MACs M"}
OF_A_METHOD = {"top1_pct": "Top-1 %", "sparsity_pct": "Sparsity %", "sparse_macs_m": "MACs (M)"}
OF_A_TRIAL = {
    "regime_pct": "Regime %",
    "trial": "Trial",
    "seed": "Seed",
    "settings": "Settings",
    "chosen": "Chosen",
    "status": "Status",
    "top1_pct": "Top-1 %",
    "sparsity_pct": "Sparsity %",
    "spec": "Spec (name of the run)",
    "commit": "Commit",
    "machine": "Machine",
}
TRIALS = (
    f"Seed {SEED_OF_TRIALS}: trials, trained on the training set less its validation split, and scored on that split. "
    "Other seeds: what was then trained on the whole training set with the settings of the chosen trial, and scored on "
    "the test set."
)
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

# what sets a method apart from the others of its class
ERK = "The density of a layer is proportional to the sum of its dimensions over their product (Erdős–Rényi kernel)."
VARIANTS = {
    "gmp-global": "All layers are ranked together, so that each ends with a sparsity of its own.",
    "gmp-erk": ERK,
    "gmp-balance": "Each layer gets the sparsity at which STR's threshold would be balanced on its weights.",
    "st3-sigma": "Weights are ranked by magnitude and layer size, which prunes small layers less.",
    "lats": "The threshold rises in steps, one for each of 100 epochs.",
    "dual-averaging": "The mask is hard: Top-KAST with a dense backward pass.",
    "rigl-erk": ERK,
    "snfs-erk": ERK,
    "str-gs": "One threshold is learned for the whole network.",
    "str-filter": "One threshold is learned for each filter.",
    "str-weight": "One threshold is learned for each weight.",
    "gmp-nm": "At most two of every four consecutive weights are kept, so the pattern decides the sparsity.",
    "low-rank": "The recurrent matrices of the network are products of two factors of fixed ranks. Nothing is pruned.",
}


def badge(verdict: Verdict | str) -> str:
    """A verdict as a coloured word; the colour repeats what the word says."""
    return f'<span class="verdict {str(verdict).lower()}">{verdict}</span>'


def pages(results_dir: Path) -> dict[str, str]:
    """Path of each generated page, relative to the folder of pages -> its text."""
    bodies = {
        name: [evidence.load(name, tier, results_dir) for tier in (AUDIT, *tables.load(name).tiers)]
        for name in in_order()
    }
    checked = {name: [(body, _claims(body)) for body in of_table] for name, of_table in bodies.items()}
    texts = {"status.md": status(results_dir), "claims.md": all_claims(checked)}
    texts |= {"errata.md": errata(results_dir), "failures.md": failures(results_dir)}
    for name in bodies:
        texts[f"tables/{name}.md"] = table_page(checked[name])
    common = {table: next(body for body in bodies[table] if body.tier == "smoke") for table in COMMON}
    trials = methods_report.trials(results_dir)
    for name in methods.METHODS:
        of_method = [table for table in COMMON if any(row.method == name for row in tables.load(table).rows)]
        body = common[(of_method or COMMON)[0]]
        texts[f"methods/{name}.md"] = method_page(name, body, common[COMMON[0]], trials)
    texts["tables/index.md"] = tables_index(checked)
    texts["methods/index.md"] = methods_index()
    return texts


# the tables of the protocol that all methods share; the first has STR at every regime
COMMON = ("family", "successors", "n_of_m")


def tables_index(checked: Checked) -> str:
    """Every table with its verdicts: first those of the paper, then those of others and of this project."""
    of_paper = [name for name in checked if tables.load(name).of_paper]
    others = [name for name in checked if name not in of_paper]
    parts = ["# Tables", "", TABLES, ""]
    for title, names in (("Tables of the paper", of_paper), ("Tables of this project, and of others", others)):
        parts += [f"## {title}", "", markdown_table(OF_A_TABLE, [_verdicts_of_table(checked[name]) for name in names])]
    return "\n".join([*parts, *_hidden(checked)])


TABLES = (
    "One page for each table has the printed numbers beside the reproduced ones, the claims, the figures, the budgets "
    "of the layers, the notebook, and the source of every run. The columns count verdicts. *Recomputed*: printed "
    "numbers, from the published budgets, without training. *Accuracy*: printed accuracies, by tier; a tier that "
    "trains a small network on other data cannot test them (UNTESTED)."
)
OF_A_TABLE = ("Table", "What it is of", "Recomputed", "Accuracy", "Claims and findings")


def _verdicts_of_table(of_table: Sequence[tuple[Evidence, list[ClaimResult]]]) -> list[str]:
    """A line of the index: how many numbers and claims of a table have which verdict, by tier."""
    table, printed, accuracies, told = of_table[0][0].table, "–", [], []
    for body, found in of_table:
        tested = [result.verdict for result in found if result.verdict is not Verdict.UNTESTED]
        if tested:
            told.append(f"{body.tier}: {_unbroken(tested)}")
        if body.tier == AUDIT:
            printed = _unbroken(body.recomputed["verdict"]) or "–"
        elif len(body.runs) and (judged := verdicts.of_accuracies(body)):
            accuracies.append(f"{body.tier}: {_unbroken(judged)}")
    name = f"[{table.paper_table}]({table.name}.md), `{table.name}`"
    return [name, table.title, printed, "<br>".join(accuracies) or "–", "<br>".join(told) or "–"]


def _unbroken(found: Iterable[str]) -> str:
    """How many of each verdict there are; no line ends between a number and its verdict."""
    return ", ".join(text.replace(" ", "\u00a0") for text in summary.counted(found).split(", "))


METHODS = (
    "One page for each method has its idea, what was chosen where paper and code differ, and its results beside STR's "
    "on the protocol that all methods share. All methods side by side: [those that the papers compare "
    "with](../../others.md#what-the-papers-compare-with), [those that came after "
    "STR](../../others.md#what-came-after-str). [Contributing](../../contributing.md) says how to add a method."
)


def methods_index() -> str:
    """Every method, by kind, with what it is in one line."""
    parts = ["# Methods", "", METHODS, ""]
    kinds: dict[str, list[str]] = {}
    for name in methods.METHODS:
        kinds.setdefault(look(name).kind, []).append(name)
    for kind, names in kinds.items():
        parts += [f"## {kind}", ""] if kind != look("dense").kind else []
        parts += [f"- [{look(name).name}]({name}.md) (`{name}`): {_in_short(name)}" for name in names]
        parts.append("")
    return "\n".join([*parts, *_hidden(methods.METHODS)])


def _in_short(name: str) -> str:
    """What a method is, in the words of the first paragraph of its file, less the name that it begins with."""
    module = importlib.import_module(f"paper_repro.methods.{methods.METHODS[name].module}")
    first = " ".join((inspect.getdoc(module) or "").split("\n\n")[0].split())
    return VARIANTS.get(name) or first.partition(": ")[2] or first


def _hidden(names: Iterable[str]) -> list[str]:
    """The pages that an index leads to, for the site's navigation."""
    return ["```{toctree}", ":hidden:", "", *names, "```", ""]


# -- the front page --------------------------------------------------------------------------------------------------


def status(results_dir: Path) -> str:
    """How many printed numbers have which verdict, by table and tier."""
    frame = verdicts.counts(results_dir).rename(columns={"paper": "Printed in", "numbers": "Numbers", "tier": "Tier"})
    meanings = "; ".join(f"{verdict}: {meaning}" for verdict, meaning in MEANING.items())
    return sortable(frame, "status", f"Numbers by verdict and tier. {meanings}.")


def all_claims(checked: Checked) -> str:
    """Each claim of every table once, with its verdicts."""
    return sortable(claims_in_short(checked, "generated/tables/"), "claims", CLAIMS)


CLAIMS = (
    "Each claim with its verdict by tier. Tier audit tests the paper's own numbers, without training; the other tiers "
    "test networks that were trained here."
)


def claims_in_short(checked: Checked, to_tables: str) -> pd.DataFrame:
    """Each claim once: what the paper's own numbers say of it, and what each tier with runs says. Of a tier that lacks
    some runs, what the others say. ``to_tables``: the folder of the tables' pages, as a link has it.
    """
    lines = []
    for name, of_table in checked.items():
        by_claim: dict[str, list[ClaimResult]] = {}
        for result in (result for _, some in of_table for result in some):
            by_claim.setdefault(result.id, []).append(result)
        for id, its_results in by_claim.items():
            claim = its_results[0].claim
            told = [r for r in its_results if r.verdict is not Verdict.UNTESTED and r.figure]
            verdict = "<br>".join(f"{badge(r.verdict)} {r.tier}" for r in told) or badge(Verdict.MISSING)
            target = f"{to_tables}{name}.html#{name}-{id}"
            evidence_of = "<br>".join(f"{r.tier}: {html.escape(r.figure)}" for r in told)
            lines.append(
                {
                    "Claim": f'<div class="claim">{link(html.escape(claim.text), target)}</div>',
                    "Verdict": verdict,
                    "Evidence": f'<div class="told">{evidence_of}</div>',
                    "Of": html.escape(tables.load(name).paper_table),
                    "Made in": html.escape(claim.source) if claim.whose == "paper" else "this project",
                }
            )
    return pd.DataFrame(lines)


def _claims(body: Evidence) -> list[ClaimResult]:
    """The claims as this tier sees them; without runs there is nothing to see."""
    if body.tier != AUDIT and not len(body.runs):
        return []
    checked = [result for result in claims.check(body) if result.tier == body.tier]
    return [result for result in checked if body.tier != AUDIT or AUDIT in result.claim.tiers]


# -- a table -----------------------------------------------------------------------------------------------------------


def table_page(bodies: Iterable[tuple[Evidence, list[ClaimResult]]]) -> str:
    """All tiers of a table that have something to show: first those at the paper's own scale, last the audit."""
    bodies = list(bodies)
    table = bodies[0][0].table
    shown = [pair for pair in bodies if len(pair[0].audit if pair[0].tier == AUDIT else pair[0].runs)]
    missing = [tier for tier in table.tiers if tier not in [body.tier for body, _ in shown]]
    parts = [f"# {table.heading}", "", *_at_once(bodies), *_published(bodies[0][0])]
    if missing:
        parts.append(f"Tiers without results yet: {', '.join(missing)}.\n")
    # a link to a claim leads to the first of its tiers, and so to the audit where that tests it
    linked = {result.id: body.tier for body, checked in reversed(shown) for result in checked}
    for body, checked in sorted(shown, key=lambda pair: (pair[0].tier == AUDIT, not pair[0].full_scale)):
        here = {id for id, tier in linked.items() if tier == body.tier}
        parts += _audit(body, checked, here) if body.tier == AUDIT else _tier(body, checked, here)
    return "\n".join(parts)


def _at_once(bodies: Sequence[tuple[Evidence, list[ClaimResult]]]) -> list[str]:
    """The verdicts of all tiers, before the numbers that they come from."""
    table = bodies[0][0].table
    *_, printed, accuracies, _ = _verdicts_of_table(bodies)
    told = {"Printed numbers, recomputed without training": printed, "Printed accuracies": accuracies}
    lines = [f"- {what}: {verdict.replace('<br>', '; ')}" for what, verdict in told.items() if verdict != "–"]
    found = claims_in_short({table.name: list(bodies)}, "")
    if len(found):
        found = found.drop(columns="Of")
        lines += ["", sortable(found, f"{table.name}-claims", CLAIMS)]
    return ["## Verdicts", "", *lines, ""] if lines else []


def _published(audit: Evidence) -> list[str]:
    """The results of others that a table is of, and their figures."""
    found = published.lines(audit.table)
    if not found:
        return []
    frame = pd.DataFrame(found).map(html.escape)
    frame = frame.assign(Row=frame["Row"].map(code), Source=frame["Source"].map(why))
    return [
        "## Published",
        "",
        *_pictures(audit),
        sortable(frame, f"{audit.table.name}-published", published.CAPTION, 25),
        *_notebook(audit),
    ]


def _audit(body: Evidence, checked: list[ClaimResult], linked: set[str]) -> list[str]:
    printed = body.recomputed
    if not len(printed):  # of a table of others' results, whose numbers follow from no other
        return []
    whys = zip(printed["convention"], printed["note"], strict=True)
    frame = pd.DataFrame(
        {
            "Printed in": printed["table"],
            "Row": printed["row"].map(code),
            "Quantity": printed["quantity"].map(lambda name: COLUMNS.get(name, name)),
            "Printed": printed["printed"],
            "Recomputed": printed["recomputed"].map(lambda value: "" if pd.isna(value) else f"{value:.6g}"),
            "Verdict": printed["verdict"].map(badge),
            "Why": [why("; ".join(text for text in texts if isinstance(text, str)).strip("; ")) for texts in whys],
        }
    )
    return [
        "## Recomputed without training",
        "",
        f"{summary.counted(printed['verdict'])} of {len(printed)} printed numbers.",
        "",
        sortable(frame, f"{body.table.name}-audit", "Printed numbers, recomputed from the paper's budgets.", 25),
        *_claims_at_length(body, checked, linked),
    ]


def _notebook(body: Evidence) -> list[str]:
    """The executed notebook of a tier, where there is one."""
    if not (body.results_dir / body.table.name / f"{body.tier}.ipynb").exists():
        return []
    page = f"../notebooks/{body.table.name}-{body.tier}"
    linked = f"[The executed notebook]({page}.ipynb) has all of this, and why."
    entry = f"Notebook of tier {body.tier} <{page}>"
    return ["### Notebook", "", linked, "", "```{toctree}", ":hidden:", "", entry, "```", ""]


def why(text: str) -> str:
    """A cell of running text, which needs some width."""
    return f'<div class="why">{html.escape(text)}</div>' if text else ""


def _tier(body: Evidence, checked: list[ClaimResult], linked: set[str]) -> list[str]:
    """Everything that one tier has to show; ``linked`` are the claims that links lead to here."""
    compared = verdicts.comparisons(body)
    caption = (
        "The paper's number, and the one found here (mean over seeds). Sparsity, parameters and MACs are those of the "
        f"full-size network; top-1 is that of {body.setting}{'' if body.full_scale else ', and is not compared'}. "
        "A row's verdict is the worst of what was tested."
    )
    id = f"{body.table.name}-{body.tier}"
    parts = [f"## Tier {body.tier}", "", f"{body.setting}.", ""]
    parts += [f"- {text}" for text in summary.numbers(body, compared)]
    if not body.complete:
        parts.append(f"- INCOMPLETE: {report.incomplete(body)}")
    parts += ["", "### Reported beside reproduced", "", sortable(comparison(body, compared), id, caption)]
    if any(row.is_str for row in body.table.rows) and body.table.has_budgets:
        parts += ["### Accuracy, sparsity, multiply-adds", ""]
        parts += [charts.accuracy(body, "sparsity_pct"), charts.accuracy(body, "macs_m")]
        parts += ["### Budgets of the layers", "", charts.budgets(body)]
    parts += ["### Figures", "", *_pictures(body), *_claims_at_length(body, checked, linked)]
    parts += [*_notebook(body), "### Where each run comes from", "", sortable(runs(body), f"{id}-runs", RUNS, 25)]
    return parts


RUNS = (
    "Each run: its spec, the commit and the machine that made it. `make reproduce` with the same spec trains it again."
)


def comparison(body: Evidence, compared: Iterable[Comparison]) -> pd.DataFrame:
    """One line per row: verdict, printed, reproduced, each number with its reason on hovering."""
    lines = []
    for row in compared:
        id = code(row.row)
        if len(body.row_runs(row.row)):
            id = link(id, f"#{body.table.name}-{body.tier}-{row.row}")
        line = {"Row": id, "Method": html.escape(row.label), "Verdict": badge(row.verdict)}
        for name, title in COLUMNS.items():
            if name in row.quantities:
                cell = row.quantities[name]
                reason = html.escape(f"{cell.verdict}: {cell.reason}", quote=True)
                line[f"{title}, paper"] = html.escape(cell.reported)
                line[f"{title}, here"] = f'<span title="{reason}">{cell.text}</span>'
        lines.append(line)
    return pd.DataFrame(lines).fillna("")


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


def _claims_at_length(body: Evidence, checked: list[ClaimResult], linked: set[str]) -> list[str]:
    parts = [f"### Claims at tier {body.tier}", ""] if checked else []
    for result in checked:
        quote = f" “{result.claim.quote}”" if result.claim.quote else ""
        whose = "" if result.claim.whose == "paper" else " (a finding of this project)"
        anchor = f"({body.table.name}-{result.id})=\n" if result.id in linked else ""
        parts += [f"{anchor}**{result.claim.text}**{quote} ({result.claim.source}){whose}", ""]
        parts += [f"**{result.verdict}.** {result.sentence}", ""]
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


def method_page(name: str, body: Evidence, of_str: Evidence, trials: Iterable[TrialLine]) -> str:
    """What a method is, and what it did on the protocol that all methods share; and its part of these trials.
    ``of_str`` has the rows of STR that it is compared with.
    """
    entry = methods.METHODS[name]
    module = importlib.import_module(f"paper_repro.methods.{entry.module}")
    preset = ", ".join(f"{key}={value!r}" for key, value in entry.preset.items())
    which = f", which is {entry.cls}({preset})" if preset else ""
    parts = [
        f"# {look(name).name}",
        VARIANTS.get(name, ""),
        f"`methods.get({name!r})`{which}, in `paper_repro/methods/{entry.module}.py`.",
        prose(inspect.getdoc(module) or ""),
        prose(inspect.getdoc(getattr(module, entry.cls)) or ""),
        *_results_of_method(name, body, of_str),
    ]
    if tried := [line for line in trials if line.method == name]:
        frame = pd.DataFrame([line.model_dump(include=set(OF_A_TRIAL)) for line in tried])[list(OF_A_TRIAL)]
        frame = frame.assign(machine=frame["machine"].map(why))
        parts += [
            "## Search for hyperparameters",
            "[After equal tuning](../../others.md#after-equal-tuning) has the method beside STR after this search.",
            sortable(frame.rename(columns=OF_A_TRIAL), f"trials-{name}", TRIALS),
        ]
    return "\n\n".join(filter(None, parts))


def _results_of_method(name: str, body: Evidence, of_str: Evidence) -> list[str]:
    """Its rows on the common protocol, beside STR's; of a method that is not on it, where its rows are."""
    rows = [row for row in body.table.rows if row.method == name]
    if not rows:
        of = [table for table in in_order() if any(row.method == name for row in tables.load(table).rows)]
        where = ", ".join(f"[`{table}`](../tables/{table}.md)" for table in of)
        return ["## Results", f"This method takes ranks, not weights, and has tables of its own: {where}."]
    lines = []
    for row in rows:
        if len(body.row_runs(row.id)):
            anchor = f"../tables/{body.table.name}.html#{body.table.name}-{body.tier}-{row.id}"
            means = {title: body.summary(row.id, column) for column, title in OF_A_METHOD.items()}
            texts = {title: _text(title, mean) for title, mean in means.items()}
            ahead = {} if name == "str" else {"Points ahead of STR": methods_report.ahead_of_str(body, row.id, of_str)}
            lines.append({"Row": link(code(row.id), anchor), "Regime %": row.regime_pct, **ahead, **texts})
    if not lines:
        return ["## Results on the common protocol", f"Not trained yet at tier {body.tier}."]
    caption = f"Table {body.table.name}, tier {body.tier} ({body.setting}): mean over seeds [95 % interval]."
    if name != "str":
        caption += " Points of accuracy ahead of STR are at equal sparsity, over the seeds that both have."
    return ["## Results on the common protocol", sortable(pd.DataFrame(lines), f"method-{name}", caption)]


def _text(title: str, mean: Summary | None) -> str:
    if mean is None:
        return ""
    return mean.text(within=PERCENT) if title.endswith("%") else mean.text()


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


def failures(results_dir: Path) -> str:
    """Every number that was trained here and fails, with what is known about it."""
    text = (
        "Every number that was trained here and is FAIL, with what is known about it. The pages of the tables have the "
        "claims that fail."
    )
    on_record = read_failures(results_dir)
    if not on_record:
        return f"# Results that fail\n\n{text} None is on record.\n"
    frame = pd.DataFrame([line.model_dump() for line in on_record])
    names = {"top1_pct": "accuracy", verdicts.TRAINED_SPARSITY: "trained sparsity"}
    pages = [link(code(table), f"tables/{table}.html") for table in frame["table"]]
    frame = frame.assign(
        table=pages,
        row=frame["row"].map(code),
        quantity=frame["quantity"].map(lambda name: names.get(name, COLUMNS.get(name, name))),
        known=frame["known"].map(why),
    )
    frame = frame.rename(columns=str.capitalize).rename(columns={"Known": "What is known"})
    return f"# Results that fail\n\n{text}\n\n{sortable(frame, 'failures', 'Numbers that fail.')}"
