"""The parts of README.md and of the pages in docs/ that follow from results or recipes, each between two marker lines.

``python -m paper_repro.report.documents`` brings them up to date; `make reproduce` does it too, and `make check` says
when one is not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from paper_repro import tables
from paper_repro.evidence import claims, evidence, verdicts
from paper_repro.evidence.provenance import repository
from paper_repro.files import replace_between
from paper_repro.report import balance_report, budget_report, cost_report, coverage, methods_report, summary
from paper_repro.report.markdown import NOT_RUN, markdown_table
from paper_repro.report.report import readings
from paper_repro.report.result_report import result
from paper_repro.verdict import Verdict

Part = Callable[[Path], str]
HEADLINE = ("resnet50", "smoke")  # the table and tier whose summary README.md shows


def headline_summary(results_dir: Path) -> str:
    """What ``make reproduce TABLE=resnet50`` prints before its long table."""
    body = evidence.load(*HEADLINE, results_dir)
    lines = summary.summary(body, verdicts.comparisons(body), claims.check(body))
    return "\n".join(["```text", *lines, "```", ""])


def status(results_dir: Path) -> str:
    """How many numbers of all tables together have which verdict, by kind and tier."""
    frame = verdicts.counts(results_dir)
    if not len(frame):
        return "No results yet.\n"
    summed = frame.drop(columns="paper").groupby(["numbers", "tier"], sort=False, as_index=False).sum()
    lines = [f"| {' | '.join(summed.columns)} |", f"| --- | --- |{' ---: |' * len(Verdict)}"]
    lines += [f"| {' | '.join(map(str, cells))} |" for cells in summed.replace(0, "").to_numpy()]
    return "\n".join(lines) + "\n"


def table_3(results_dir: Path, tier: str = "paper") -> str:
    """The trained rows of Table 3 at a tier: print, and the two readings of an accuracy."""
    e = evidence.load("rnn", tier, results_dir)
    return _beside_print(e, e.table.rows)


def tanh_gate(results_dir: Path) -> str:
    """The same with the gate that the FastGRNN paper lists for HAR-2."""
    e, table = evidence.load("rnn_choices", "paper", results_dir), tables.load("rnn")
    rows = []
    for row in (row for row in e.table.rows if row.id.startswith("tanh-")):
        printed = table.row(f"har2-{row.id.removeprefix('tanh-')}")
        rows.append(row.model_copy(update={"label": printed.label, "top1_pct": printed.top1_pct}))
    return _beside_print(e, rows)


def _beside_print(e: evidence.Evidence, of: Sequence[tables.Row]) -> str:
    ends = e.epochs.sort_values("epoch").groupby(["row", "seed"]).tail(1).dropna(subset=["rank_u"])
    rows = []
    for row in (row for row in of if len(e.row_runs(row.id))):
        printed, last, best, reached = readings(e, row)
        having, loss = e.by_seed(row.id, "top1_pct"), e.by_seed(row.id, "train_loss").values()
        at_end = ends[ends["row"] == row.id].sort_values("seed") if row.learns_ranks else ends[:0]
        rows.append(
            [
                f"{row.label} {row.ranks}".strip(),
                printed,
                f"{len(having)} of {len(e.row_runs(row.id))}",
                last,
                best,
                reached or "–",
                ", ".join(f"{w:.0f}/{u:.0f}" for w, u in zip(at_end["rank_w"], at_end["rank_u"], strict=True)) or "–",
                f"{min(loss):.4f} to {max(loss):.4f}" if loss else "–",
            ]
        )
    header = ["Row", "Printed (%)", "Seeds with these ranks", "Last network (%)", "Best epoch (%)"]
    header += ["Printed accuracy is reached by", "Ranks at the end, by seed", "Training loss at the end"]
    return markdown_table(header, rows) if rows else NOT_RUN


DOCUMENTS: Mapping[str, Mapping[str, Part]] = {
    "README.md": {"result": result, "summary": headline_summary, "status": status},
    "docs/index.md": {"result": result},
    "docs/balance.md": {**balance_report.PARTS, "budgets": budget_report.balance_as_budget},
    "docs/low_rank.md": {"table": table_3, "tanh": tanh_gate, "words": partial(table_3, tier="small")},
    "docs/trained.md": {**budget_report.PARTS, "coverage": coverage.seeds_of_rows},
    "docs/compare.md": {"seeds": methods_report.what_seeds_decide},
    "docs/others.md": {
        **cost_report.PARTS,
        "family": methods_report.family,
        "successors": methods_report.successors,
        "tuned": methods_report.tuned,
    },
}


def update(file: Path, parts: Mapping[str, Part], results_dir: Path, check: bool = False) -> bool:
    """Bring the generated parts of a file up to date; returns whether they already were. With ``check``, nothing is
    written. Raises UserError when a marker is missing.
    """
    current = True
    for name, part in parts.items():
        begin, end = f"<!-- {name}, generated from results: begin -->", f"<!-- {name}: end -->"
        current &= replace_between(file, begin, end, part(results_dir), check)
    return current


if __name__ == "__main__":
    for document, parts in DOCUMENTS.items():
        update(repository() / document, parts, repository() / "results")
