"""What would be trained: every run of a job with its forecast, its cost and what is done already. Trains nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.text import Text

from paper_repro import record, tables
from paper_repro.data.catalog import dataset
from paper_repro.data.readers.optional import missing
from paper_repro.errors import UserError
from paper_repro.report.console import new_grid, print_whole
from paper_repro.runs.cost import Cost, faster_in_float32, hours_text, require_affordable
from paper_repro.spec import Spec
from paper_repro.tables import AUDIT, CHECKPOINT
from paper_repro.terminal import Console
from paper_repro.training import saved_state
from paper_repro.training.forecast import Forecast, forecast, require_pruning, steps_per_epoch
from paper_repro.workflows import own_network
from paper_repro.workflows.job import Job
from paper_repro.workflows.train import costs, require_sound, side_by_side

COLUMNS = ("row", "seed", "weight decay", "slope", "s_init", "epochs", "steps", "g(s) leaves zero", "images", "disk MB",
           "hours", "state", "run")  # fmt: skip


def show_plan(job: Job, console: Console) -> int:
    """Print one line per run, and the totals; exit code 2 when a run would stay dense, with the values that would
    prune. UserError when the runs to do take more hours than the job allows.
    """
    table = tables.load(job.table)
    console.print(Text.assemble((table.heading, "bold"), f", tier {job.tier}"))
    if job.tier == AUDIT:
        console.print("nothing to train: the audit recomputes the paper's numbers from its published budgets")
        return 0
    if job.tier == CHECKPOINT:
        rows = ", ".join(table.tier(job.tier).rows)
        console.print(f"nothing to train: released networks are evaluated, of rows {rows}")
        return 0
    pairs = job.specs()
    if job.model:
        own_network.describe(job.model, [spec for _, spec in pairs], console)
    cost, runs = costs(job), {spec.name: spec for _, spec in pairs}
    expected = {name: _expected(job, spec) for name, spec in runs.items()}
    grid = new_grid(COLUMNS, left=("row", "state", "run"))
    first: dict[str, str] = {}  # run -> the first of the rows that show it, at which it is counted
    for row, spec in pairs:
        grid.add_row(row.id, *run_cells(job, spec, expected[spec.name][0], cost[spec.name], first.get(spec.name)))
        first.setdefault(spec.name, row.id)
    todo = [spec for spec in runs.values() if cost[spec.name].done < 1.0]
    jobs = max(1, side_by_side(job, todo))
    grid.add_section()
    grid.add_row(*total_cells(list(runs.values()), cost, jobs))
    print_whole(grid, console)
    refused = [expected[spec.name][1] for _, spec in pairs if expected[spec.name][1]]
    lacking = {spec.loader: name for spec in todo if (name := missing(spec.loader))}
    console.say(
        "g(s) leaves zero: when weight decay alone has brought the threshold to 4.5e-5, or the schedule of a target "
        "sparsity begins (–: the method learns no threshold)",
        *what_it_takes(list(runs.values()), cost, jobs, job.gpus),
        *faster_in_float32(todo),
        *(
            f"{name} is not installed here, and the runs would stop for it: run `make {loader}`"
            for loader, name in sorted(lacking.items())
        ),
        *(f"refused: {text}" for text in refused),
    )
    require_affordable(list(cost.values()), job.max_gpu_hours)
    return 2 if refused else 0


def _expected(job: Job, spec: Spec) -> tuple[Forecast | None, str]:
    """The forecast of a run, and why it is refused: "" where it is not."""
    require_sound(job, spec)
    try:
        return require_pruning(spec), ""
    except UserError as error:
        return forecast(spec), str(error)


def run_cells(job: Job, spec: Spec, expected: Forecast | None, cost: Cost, shown_before: str | None) -> list[str]:
    """The line of a run, after its row; what it costs stands at the first row that shows it."""
    takes = (f"{cost.images:,}", f"{cost.checkpoints_mb:.3g}", hours_text(cost.hours))
    return [
        str(spec.seed),
        f"{spec.weight_decay:.9g}",
        *(f"{spec.method_args[name]:g}" if name in spec.method_args else "–" for name in ("slope", "s_init")),
        str(spec.epochs),
        f"{steps_per_epoch(spec) * spec.epochs:,}",
        onset(expected),
        *("–" * 3 if shown_before else takes),
        f"the run of {shown_before}" if shown_before else state(job, spec),
        spec.name,
    ]


def disk_mb(runs: Sequence[Spec], cost: Mapping[str, Cost], jobs: int) -> tuple[dict[str, float], float]:
    """(data set -> what it takes, what the checkpoints of ``jobs`` runs take at most), in MB."""
    facts = [dataset(name) for name in dict.fromkeys(spec.dataset for spec in runs)]
    largest = sorted((cost[s.name].checkpoints_mb for s in runs if cost[s.name].done < 1.0), reverse=True)
    return {item.title: item.disk_mb for item in facts}, sum(largest[:jobs])


def total_cells(runs: Sequence[Spec], cost: Mapping[str, Cost], jobs: int) -> list[str]:
    """The last line: everything that adds up, each run counted once; the disk as ``what_it_takes`` explains it."""
    everything = [cost[spec.name] for spec in runs]
    data, checkpoints = disk_mb(runs, cost, jobs)
    sums = {
        "row": "in total",
        "epochs": f"{sum(spec.epochs for spec in runs):,}",
        "steps": f"{sum(steps_per_epoch(spec) * spec.epochs for spec in runs):,}",
        "images": f"{sum(item.images for item in everything):,}",
        "disk MB": f"{sum(data.values()) + checkpoints:,.0f}",
        "hours": hours_text(sum(item.hours for item in everything)),
        "state": f"{sum(item.done == 1.0 for item in everything)} of {len(runs)} finished",
    }
    return [sums.get(title, "") for title in COLUMNS]


def what_it_takes(runs: Sequence[Spec], cost: Mapping[str, Cost], jobs: int, gpus: int = 1) -> list[str]:
    """Disk and hours, in sentences, for ``jobs`` runs side by side or each run on ``gpus`` GPUs or cores."""
    data, checkpoints = disk_mb(runs, cost, jobs)
    lines = [
        f"disk: {', '.join(f'{title} {size:,.0f} MB' for title, size in data.items())}; checkpoints at most "
        f"{checkpoints:,.0f} MB, with {jobs} side by side; they are removed as runs finish"
    ]
    for unit in sorted({item.rate.unit for item in cost.values()}):
        these = [item for item in cost.values() if item.rate.unit == unit]
        whole, left = sum(item.hours for item in these), sum(item.hours_to_do for item in these)
        done = hours_text(whole - left)
        text = f"hours: {hours_text(whole)} {unit}-hours, of which {done} are done and {hours_text(left)} are to do"
        if gpus > 1:
            text += f": at least {hours_text(left / gpus)} hours, {gpus} {unit}s on each run"
        elif unit == "core":
            text += f": about {hours_text(left / jobs)} hours, {jobs} side by side"
        lines.append(text)
    sources = dict.fromkeys(item.rate.source for item in cost.values())
    return [*lines, f"rate of the dense step: {'; '.join(sources)}; evaluation included, what a method adds is not"]


def onset(expected: Forecast | None) -> str:
    """The forecast as a table cell."""
    if expected is None:
        return "–"
    return "never" if expected.onset_epoch is None else f"epoch {expected.onset_epoch:.2f}"


def state(job: Job, spec: Spec) -> str:
    """finished, the step it stopped at, or to do."""
    folder = job.runs / spec.name
    if record.finished(folder, spec) is not None:
        return "finished"
    step = saved_state.newest_step(folder)
    return "to do" if step is None else f"stopped at step {step:,}"
