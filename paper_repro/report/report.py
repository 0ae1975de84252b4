"""The parts of a table's notebook: each is Markdown or a figure, made from evidence. The notebooks only call these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from IPython.display import Image, Markdown

from paper_repro import tables
from paper_repro.data.catalog import dataset
from paper_repro.errors import UserError
from paper_repro.evidence import claims, evidence, statistics, tolerances, verdicts
from paper_repro.evidence.contrast import paired
from paper_repro.evidence.contrast_claims import partners
from paper_repro.evidence.evidence import Evidence
from paper_repro.evidence.layers import empty_layers
from paper_repro.evidence.verdicts import TRAINED_SPARSITY, Judgement
from paper_repro.report import balance_report, figures, published, summary
from paper_repro.report.figures.style import look
from paper_repro.report.markdown import markdown_table
from paper_repro.tables import AUDIT

HEADINGS = {
    "top1_pct": "Top-1 (%)",
    "sparsity_pct": "Sparsity (%)",
    "params_m": "Parameters (M)",
    "macs_m": "MACs (M)",
    TRAINED_SPARSITY: "Trained sparsity (%)",
}


def open_report(table: str, tier: str, results_dir: str = "results") -> Report:
    """The report of one table at one tier. A relative ``results_dir`` is taken from the folder that the notebook is
    run in; UserError where there is none.
    """
    folder = Path(results_dir)
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder.absolute()}; results_dir is the folder that has the results")
    return Report(evidence.load(table, tier, folder))


@dataclass(frozen=True)
class Report:
    """What a notebook shows, part by part."""

    evidence: Evidence

    def summary(self) -> Markdown:
        """Where the numbers come from and how far they go; says INCOMPLETE when rows or the audit are missing."""
        e = self.evidence
        if e.tier == AUDIT:
            text = "the printed numbers are recomputed from the published budgets; nothing is trained."
        elif not any("top1_pct" in row.reported.printed for row in e.table.rows):
            text = f"accuracies are those of **{e.setting}**. No paper prints any for these rows."
        elif e.full_scale:
            text = (
                f"{e.setting}, the paper's own network, and its protocol where it gives one (the table's file says "
                "what it leaves open); accuracies are compared with the printed ones."
            )
        else:
            of_paper = dict.fromkeys(dataset(row.dataset).title for row in e.table.rows if row.model == e.table.model)
            text = (
                f"accuracies are those of **{e.setting}**, not of the paper's {' and '.join(of_paper)}. They stand "
                "beside the printed ones and are never compared with them: UNTESTED. "
            )
            if e.table.has_budgets:
                text += (
                    "Sparsity, parameters and MACs of the full-size network are recomputed from the published budgets "
                    "(tier `audit`)."
                )
        lines = [f"**{e.table.heading}**", "", f"Tier `{e.tier}`: {text}"]
        compared, checked = verdicts.comparisons(e), claims.check(e)
        told = [*summary.numbers(e, compared), summary.untested(e, compared, checked)]
        lines += ["", *(f"- {text.strip()}" for text in told)]
        if not e.complete:
            lines += ["", f"> **INCOMPLETE**: {incomplete(e)}"]
        return Markdown("\n".join(lines))

    def claims(self) -> Markdown:
        """The paper's claims and this project's findings, each with its verdict and the numbers behind it."""
        checked = claims.check(self.evidence)
        parts = []
        for title, whose in (("The paper's claim", "paper"), ("Finding of this project", "project")):
            rows = [
                [_claim(result.claim), result.tier, f"**{result.verdict}**", result.sentence]
                for result in checked
                if result.claim.whose == whose
            ]
            if rows:
                parts.append(markdown_table([title, "Tier", "Verdict", "What was found"], rows))
        for result in checked:
            if result.numbers:
                header = list(dict.fromkeys(name for line in result.numbers for name in line))
                cells = [[_plain(line.get(name)) for name in header] for line in result.numbers]
                parts.append(
                    f"<details><summary>Numbers behind “{result.id}” at tier {result.tier}</summary>\n\n"
                    f"{markdown_table(header, cells)}\n</details>"
                )
        return Markdown("\n\n".join(parts) or "No claims are recorded for this table.")

    def comparison(self) -> Markdown:
        """Every row of the table: reported / reproduced, and a verdict per number."""
        compared = verdicts.comparisons(self.evidence)
        shown = [name for name in HEADINGS if any(name in row.quantities for row in compared)]
        rows = [
            [f"`{row.row}`", row.label, *(_cell(row.quantities.get(name)) for name in shown), f"**{row.verdict}**"]
            for row in compared
        ]
        header = ["Row", "Method", *(HEADINGS[name] for name in shown), "Row's verdict"]
        caption = "Cells: reported / reproduced, then the verdict. A row's verdict is the worst of what was tested."
        parts = [caption, markdown_table(header, rows)]
        gone = [
            [f"`{row.id}`", str(seed), summary.joined(layers)]
            for row in self.evidence.table.rows
            for seed, layers in empty_layers(self.evidence, row.id).items()
        ]
        if gone:
            table = markdown_table(["Row", "Seed", "Layers of which no weight is left"], gone)
            parts += ["Layers that ended empty:", table]
        return Markdown("\n\n".join(parts))

    def published(self) -> Markdown:
        """How the numbers of a table of others' results came about, and where each was read."""
        found = published.lines(self.evidence.table)
        return Markdown(
            f"{published.CAPTION}\n\n{markdown_table(list(found[0]), [list(line.values()) for line in found])}"
        )

    def methods(self) -> Markdown:
        """Regime by regime, the methods that were run, most accurate first, each beside STR."""
        e = self.evidence
        ran = (e.table.row(id) for id in e.trained_rows if e.summary(id, "top1_pct") is not None)
        parts = [_regime(e, regime) for regime in sorted({row.regime_pct for row in ran if row.regime_pct})]
        caption = (
            "Means over seeds [95 % interval]; differences to STR's row of the regime are paired by seed, and each "
            "interval stands for itself, without a correction for their number."
        )
        return Markdown("\n\n".join([caption, *parts]) if parts else "No runs.")

    def ranks(self) -> Markdown:
        """Row by row: ranks, size, cost, the two readings of its accuracy, and STR beside vanilla low rank."""
        e = self.evidence
        learnt, low_rank = ([row for row in e.table.rows if row.method == of] for of in ("str-rank", "low-rank"))
        vanilla = {row.id: other.id for row, other in partners(learnt, low_rank, ranks=True)}
        rows = [
            [
                f"`{row.id}`",
                row.ranks or "full",
                *(_audited(e, row, quantity) for quantity in ("params", "size_kb", "macs")),
                *readings(e, row),
                _difference(paired(e, row.id, vanilla[row.id])) if row.id in vanilla else "",
            ]
            for row in e.table.rows
        ]
        header = ["Row", "Ranks W / U", "Parameters", "Size (KB)", "MACs per sequence", "Top-1 reported (%)"]
        header += [
            "Last network: top-1 (%)",
            "Best epoch by test accuracy: top-1 (%)",
            "The reported top-1 is reached by",
            "Last network: top-1 minus vanilla's at the same ranks",
        ]
        caption = (
            "Parameters, size and MACs are those of the paper's network. Parameters count everything that is learnt; a "
            "size is that in single precision, in units of 1024 bytes. "
            "The paper prints neither: both follow from the ranks (tier `audit`). Accuracies here: mean over seeds "
            "[95 % interval]; differences are paired by seed. The verdict is on the last network: of the last epoch, "
            "for STR of the last step with the row's ranks. The best epoch by test accuracy is what the library of "
            "FastGRNN's authors records as MaxTestAcc. It is too good, because the test set chose it. Of STR's "
            "trainings only epochs that end at the row's ranks are in it."
        )
        return Markdown(f"{caption}\n\n{markdown_table(header, rows)}")

    def balance(self) -> Markdown:
        """Where a threshold comes to rest: on the paper's own data, where the table has it, and in the runs."""
        parts = [
            "A threshold comes to rest where |u| = slope² g'(u) L1, with u = slope * s and L1 the sum of |w| over the "
            "layer's kept weights. This is a finding of the project and no claim of the paper: `docs/balance.md`."
        ]
        if len(self.evidence.balance_tests):
            paper = balance_report.paper_markdown(self.evidence.balance_tests)
            parts.append(f"**On the paper's own data** (Figure 3, Table 6)\n\n{paper}")
        if self.evidence.tier != AUDIT:
            parts.append(f"**In the runs**\n\n{balance_report.runs_markdown(self.evidence)}")
        return Markdown("\n\n".join(parts))

    def reasons(self) -> Markdown:
        """Why a number is not a plain PASS, with the rows that each reason holds for."""
        compared = verdicts.comparisons(self.evidence)
        judged = [(row, name, cell) for row in compared for name, cell in row.quantities.items() if cell.judged]
        grouped: dict[tuple[str, str, str], list[str]] = {}
        for row, name, cell in judged:
            if str(cell.verdict) != "PASS" or cell.convention:
                reason = f"{cell.convention}: {cell.reason}" if cell.convention else cell.reason
                grouped.setdefault((HEADINGS[name], str(cell.verdict), reason), []).append(f"`{row.row}`")
        if not grouped:
            return Markdown("Every number passes." if judged else "There is no printed number to compare with.")
        rows = [[*key, summary.few(its_rows)] for key, its_rows in grouped.items()]
        return Markdown(markdown_table(["Number", "Verdict", "Reason", "Rows"], rows))

    def figure(self, name: str) -> Image | Markdown:
        """Draw a figure, save it beside the results, and show it; a sentence where there is nothing to draw."""
        reason = figures.nothing_to_draw(self.evidence, name)
        if reason:
            return Markdown(f"*Nothing to draw: {reason}.*")
        return Image(data=figures.save(self.evidence, name).read_bytes(), format="png")

    def provenance(self) -> Markdown:
        """Code, libraries, machine and data behind the runs."""
        runs = self.evidence.runs
        if not len(runs):
            return Markdown("No runs at this tier: the audit is arithmetic on the published numbers.")
        runs = runs.drop_duplicates("spec")  # several rows may show networks of one run
        columns = ["commit", "dirty", "torch", "device", "threads", "dataset", "dataset_sha256"]
        short = runs.assign(commit=runs["commit"].str[:12], dataset_sha256=runs["dataset_sha256"].str[:12])
        rows = [
            [
                *map(str, key),
                str(len(group)),
                ", ".join(map(str, sorted(set(group["seed"])))),
                f"{group['seconds'].sum() / 60:.1f}",
            ]
            for key, group in short.groupby(columns)
        ]
        return Markdown(markdown_table([*columns, "runs", "seeds", "minutes"], rows))


def _regime(e: Evidence, regime: float) -> str:
    """One regime as a table. The difference to STR is paired by seed, with its 95 % interval."""
    rows = [row for row in e.table.rows if row.regime_pct == regime and e.summary(row.id, "top1_pct") is not None]
    ours = next((row.id for row in rows if row.is_str), None)
    by_accuracy: list[tuple[float, list[str]]] = []
    for row in rows:
        measures = ("top1_pct", "sparsity_pct", "sparse_macs_m", "macs_m")
        top1, sparsity, macs, dense = (e.summary(row.id, name) for name in measures)
        assert top1 and sparsity and macs and dense and e.plan  # a run has all of them, or no accuracy
        asked_for = e.plan.rows[row.id].target_sparsity_pct if row.id in e.plan.rows else None
        missed = asked_for is not None and abs(sparsity.mean - asked_for) > 0.1
        cells = [
            look(row.method).name,
            f"`{row.id}`",
            top1.text(within=statistics.PERCENT),
            f"{sparsity.mean:.2f}" + (f" (asked for {asked_for:g})" if missed else ""),
            f"{macs.mean:.3g} ({100 * macs.mean / dense.mean:.1f} %)",
            "" if ours in (None, row.id) else _difference(paired(e, row.id, str(ours))),
        ]
        by_accuracy.append((-top1.mean, cells))
    header = ["Method", "Row", "Top-1 (%)", "Sparsity (%)", "MACs (M; of the dense network)", "Top-1 minus STR's"]
    ordered = [cells for _, cells in sorted(by_accuracy, key=lambda line: line[0])]
    return f"**{regime:g} %**\n\n{markdown_table(header, ordered)}"


def _difference(difference: statistics.Summary | None) -> str:
    return "no seed in common, or other data" if difference is None else difference.signed()


def readings(e: Evidence, row: tables.Row) -> list[str]:
    """The printed accuracy, that of the last network, that of the best epoch, and which of the two reaches print."""
    printed = row.reported.printed.get("top1_pct")
    last, best = e.by_seed(row.id, "top1_pct"), e.best_over_epochs(row.id)
    return [printed.text if printed else "–", _mean(last), _mean(best), _reached(e, row, last, best)]


def _mean(by_seed: Mapping[int, float]) -> str:
    return statistics.summarise(by_seed.values()).text(within=statistics.PERCENT) if by_seed else "–"


def _reached(e: Evidence, row: tables.Row, last: Mapping[int, float], best: Mapping[int, float]) -> str:
    """Which reading of accuracy comes to the printed number, or above it; where the two may be compared."""
    printed = row.reported.top1_pct
    if printed is None or not e.full_scale or not last:
        return ""
    least = printed - tolerances.load().full_scale[e.tier].top1_pct - 1e-9
    if statistics.summarise(last.values()).mean >= least:
        return "the last network"
    return "the best epoch only" if best and statistics.summarise(best.values()).mean >= least else "neither"


def _audited(e: Evidence, row: tables.Row, quantity: str) -> str:
    """A number of the audit, in its unit: counts in full."""
    audit = e.audited(row, quantity)
    if not len(audit):
        return "–"
    value = float(audit["recomputed"].iloc[0])
    return f"{value:.1f}" if quantity == "size_kb" else f"{value:,.0f}"


def incomplete(e: Evidence) -> str:
    """What is missing, in one sentence."""
    parts, rows, missing = [], len(e.trained_rows), e.missing_rows
    if missing:
        having = f"{rows - len(missing)} of {rows} rows of tier {e.tier} have results"
        parts.append(f"{having}; missing: {', '.join(missing)}.")
    if e.table.audited and not len(e.audit):
        parts.append("The audit has not been written.")
    return " ".join(parts)


def _claim(claim: tables.Claim) -> str:
    quote = f" “{claim.quote}”" if claim.quote else ""
    return f"{claim.text}{quote} ({claim.source})"


def _cell(cell: Judgement | None) -> str:
    if cell is None:
        return ""
    if cell.unprinted:
        return f"– / {cell.text}"
    return f"{cell.reported}<br>given" if cell.given else f"{cell.reported} / {cell.text}<br>{cell.verdict}"


def _plain(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
