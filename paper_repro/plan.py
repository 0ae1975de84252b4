"""What would be trained: every run of a job with its forecast and what is done already. Trains nothing."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table as Grid

from paper_repro import tables
from paper_repro.data.catalog import TRAINABLE, dataset
from paper_repro.errors import UserError
from paper_repro.reproduce import Job, print_whole
from paper_repro.spec import Spec
from paper_repro.tables import AUDIT
from paper_repro.training import checkpoint
from paper_repro.training.forecast import Forecast, forecast, require_pruning, steps_per_epoch
from paper_repro.training.loop import stored_result
from paper_repro.training.options import require_applicable


def show_plan(job: Job, console: Console) -> int:
    """Print one line per run; exit code 2 when a run would stay dense, with the values that would prune."""
    table = tables.load(job.table)
    console.print(f"[bold]{table.paper_table}: {table.title}[/bold], tier {job.tier}")
    if job.tier == AUDIT:
        console.print("nothing to train: the audit recomputes the paper's numbers from its published budgets")
        return 0
    grid = Grid(header_style="bold", pad_edge=False, box=None)
    for title in ("row", "seed", "weight decay", "s_init", "epochs", "steps", "g(s) leaves zero", "state", "run"):
        grid.add_column(title, justify="left" if title in ("row", "state", "run") else "right", no_wrap=True)
    refused: list[str] = []
    for row, spec in job.specs():
        require_applicable(spec)
        expected = forecast(spec)
        if expected is not None and expected.stays_dense:
            refused.append(refusal(spec))
        grid.add_row(
            row.id,
            str(spec.seed),
            f"{spec.weight_decay:.9g}",
            f"{spec.method_args['s_init']:g}" if "s_init" in spec.method_args else "–",
            str(spec.epochs),
            f"{steps_per_epoch(spec) * spec.epochs:,}",
            onset(expected),
            state(job, spec),
            spec.name,
        )
    print_whole(grid, console)
    console.print(
        "g(s) leaves zero: when weight decay alone has brought the threshold to 4.5e-5, or the schedule of a target "
        "sparsity begins (–: the method learns no threshold)",
        soft_wrap=True,
    )
    data = table.tiers[job.tier].dataset
    if data not in TRAINABLE:
        console.print(f"planned only: this version cannot train on {dataset(data).title} yet")
    for text in refused:
        console.print(f"refused: {text}", soft_wrap=True)
    return 2 if refused else 0


def onset(expected: Forecast | None) -> str:
    """The forecast as a table cell."""
    if expected is None:
        return "–"
    return "never" if expected.onset_epoch is None else f"epoch {expected.onset_epoch:.2f}"


def refusal(spec: Spec) -> str:
    """Why a spec that stays dense is refused, and what would work."""
    try:
        require_pruning(spec)
    except UserError as error:
        return str(error)
    raise AssertionError(f"{spec.name} was to be refused")


def state(job: Job, spec: Spec) -> str:
    """finished, the step it stopped at, or to do."""
    folder = job.runs / spec.name
    if stored_result(folder, spec) is not None:
        return "finished"
    step = checkpoint.newest_step(folder)
    return "to do" if step is None else f"stopped at step {step:,}"
