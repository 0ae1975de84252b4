"""What the terminal shows of a table: each printed number beside the reproduced one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from rich.table import Table as Grid

from paper_repro import record
from paper_repro.evidence.evidence import Evidence
from paper_repro.evidence.verdicts import TRAINED_SPARSITY, Comparison, Judgement
from paper_repro.tables import CHECKPOINT
from paper_repro.terminal import Console
from paper_repro.verdict import Verdict

COLUMNS = {"top1_pct": "top-1 %", "sparsity_pct": "sparsity %", "params_m": "params M", "macs_m": "MACs M"}
# after a number; a number without a mark passes
MARKS = {
    Verdict.PASS: "",
    Verdict.FAIL: " F",
    Verdict.ERRATUM: " e",
    Verdict.INCONCLUSIVE: " ?",
    Verdict.MISSING: "",
    Verdict.UNTESTED: " u",
}


def print_whole(grid: Grid, console: Console) -> None:
    """Print a table as wide as it is, even on a narrower terminal: a wrapped line is better than a cut number."""
    needed = console.measure(grid, options=console.options.update(max_width=1000)).maximum
    Console(file=console.file, width=max(needed, console.width), force_terminal=console.is_terminal).print(grid)


def best_epochs(evidence: Evidence) -> dict[str, float]:
    """Row -> the best accuracy of any epoch, mean over seeds, for tables whose source may have reported that."""
    if not any(row.ranks for row in evidence.table.rows):
        return {}
    best = {row.id: list(evidence.best_over_epochs(row.id).values()) for row in evidence.table.rows}
    return {row: sum(values) / len(values) for row, values in best.items() if values}


def comparison_grid(compared: Sequence[Comparison], best: Mapping[str, float] = MappingProxyType({})) -> Grid:
    """The long table: each printed number, and beside it the reproduced one. What no row has gets no column. ``best``:
    row -> the best epoch's accuracy.
    """
    shown = [name for name in COLUMNS if any(name in row.quantities for row in compared)]
    ranks = any(row.ranks for row in compared)
    targets = any(TRAINED_SPARSITY in row.quantities for row in compared)
    grid = Grid(header_style="bold", pad_edge=False, box=None, padding=(0, 2, 0, 0))
    for title in ("row", "method", *(["ranks W/U"] if ranks else [])):
        grid.add_column(title, no_wrap=True)
    for name in shown:
        unit = COLUMNS[name].split()[-1]
        grid.add_column(f"{COLUMNS[name].removesuffix(unit)}\npaper", justify="right", no_wrap=True)
        grid.add_column(f"{unit}\nhere", justify="left", no_wrap=True)
    if best:
        grid.add_column("best epoch\nby test acc.", justify="right", no_wrap=True)
    if targets:
        grid.add_column("trained\nspars. %", justify="right", no_wrap=True)
    grid.add_column("\ntier", no_wrap=True)
    grid.add_column("\nverdict", no_wrap=True)
    for comparison in compared:
        cells = [comparison.row, comparison.label, *([comparison.ranks or "full"] if ranks else [])]
        for name in shown:
            cells += _printed_and_here(comparison.quantities.get(name))
        if best:
            cells.append(f"{best[comparison.row]:.2f}" if comparison.row in best else "–")
        if targets:
            trained = comparison.quantities.get(TRAINED_SPARSITY)
            cells.append("" if trained is None else trained.text + _mark(trained))
        grid.add_row(*cells, comparison.tier, str(comparison.verdict))
    return grid


def _printed_and_here(judged: Judgement | None) -> list[str]:
    if judged is None:
        return ["–", "–"]
    return [judged.reported, judged.text + (_mark(judged) if judged.judged else "")]


def _mark(judged: Judgement) -> str:
    if judged.reproduced is None and judged.verdict is Verdict.UNTESTED:
        return ""
    return MARKS[judged.verdict] or (" c" if judged.convention else "")


def whose(evidence: Evidence, runs: Path) -> str:
    """Which of the runs behind the table were trained here, in ``runs``, and which came with the repository."""
    if evidence.tier == CHECKPOINT:
        return "Nothing was trained: these are the networks that the authors released."
    names = evidence.runs["spec"].unique()
    here = sum((runs / name / record.FILE).exists() for name in names)
    text = f"Of the {len(names)} runs behind this table {here} were trained in {runs}/"
    if here < len(names):
        text += f" and {len(names) - here} came with {evidence.results_dir}/; for yours alone, add ARGS='--results DIR'"
    return f"{text}. `git diff {evidence.results_dir}` shows what is new."


def legend(evidence: Evidence) -> str:
    """What the columns and marks of the table mean."""
    lines = ["", "paper: as printed.  here: reproduced."]
    if evidence.table.has_budgets:
        measured = ", measured where a row has a run" if evidence.full_scale else ""
        lines.append(f"sparsity, params, MACs: recomputed from the published budgets at full size{measured}.")
    if evidence.trained_rows:
        seeds = evidence.seeds()
        of_what = f"mean of seeds {', '.join(map(str, seeds)) or 'none'}" if len(seeds) != 1 else f"seed {seeds[0]}"
        of_what = "the released networks" if evidence.tier == CHECKPOINT else of_what
        lines.append(f"top-1 here: {evidence.setting}, {of_what}.")
    if best_epochs(evidence):
        lines.append("best epoch by test acc.: chosen on the test set, and so too good; no verdict is about it.")
    if evidence.trained_rows and not evidence.full_scale and evidence.table.has_budgets:
        lines.append("trained spars.: what the runs reached, against the row's regime.")
    lines += [
        "No mark: matches.  c: by another convention of the paper.  e: the paper is wrong (errata.csv).",
        "F: does not match.  ?: not decided.  u: shown, not tested here.  –: none.",
        "A row's verdict is the worst of what was tested.",
    ]
    return "\n".join(lines)
