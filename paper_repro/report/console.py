"""What the terminal shows of a table: each printed number beside the reproduced one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType

from rich.console import JustifyMethod
from rich.table import Column
from rich.table import Table as Grid

from paper_repro import record
from paper_repro.evidence.evidence import Evidence
from paper_repro.evidence.verdicts import TRAINED_SPARSITY, Comparison
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


def new_grid(titles: Iterable[str], left: Collection[str]) -> Grid:
    """An empty table without lines. Columns are flush right, as numbers are, except those in ``left``."""
    columns = (Column(title, justify="left" if title in left else "right", no_wrap=True) for title in titles)
    return Grid(*columns, header_style="bold", pad_edge=False, box=None, padding=(0, 2, 0, 0))


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
    columns: list[tuple[str, JustifyMethod, Callable[[Comparison], str]]] = [
        ("row", "left", lambda row: row.row),
        ("method", "left", lambda row: row.label),
    ]
    if any(row.ranks for row in compared):
        columns.append(("ranks W/U", "left", lambda row: row.ranks or "full"))
    for name, title in COLUMNS.items():
        if any(name in row.quantities for row in compared):
            unit = title.split()[-1]
            columns.append((f"{title.removesuffix(unit)}\npaper", "right", partial(_printed, name)))
            columns.append((f"{unit}\nhere", "left", partial(_reproduced, name)))
    if best:
        of_row = {row: f"{top1_pct:.2f}" for row, top1_pct in best.items()}
        columns.append(("best epoch\nby test acc.", "right", lambda row: of_row.get(row.row, "–")))
    if any(TRAINED_SPARSITY in row.quantities for row in compared):
        columns.append(("trained\nspars. %", "right", partial(_reproduced, TRAINED_SPARSITY, absent="")))
    columns += [("\ntier", "left", lambda row: row.tier), ("\nverdict", "left", lambda row: str(row.verdict))]
    left = {title for title, justify, _ in columns if justify == "left"}
    grid = new_grid((title for title, _, _ in columns), left)
    for row in compared:
        grid.add_row(*(cell(row) for _, _, cell in columns))
    return grid


def _printed(name: str, row: Comparison) -> str:
    return row.quantities[name].reported if name in row.quantities else "–"


def _reproduced(name: str, row: Comparison, absent: str = "–") -> str:
    judged = row.quantities.get(name)
    if judged is None:
        return absent
    unmarked = not judged.judged or (judged.reproduced is None and judged.verdict is Verdict.UNTESTED)
    mark = MARKS[judged.verdict] or (" c" if judged.convention else "")
    return judged.text + ("" if unmarked else mark)


def trained_where(evidence: Evidence, runs: Path) -> str:
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
