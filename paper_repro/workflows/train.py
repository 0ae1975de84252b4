"""The verb ``run``: train the runs of a job that are missing, side by side, and collect what is finished.

Everything that could stop a run is looked for before the first one starts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.text import Text

from paper_repro import record, tables
from paper_repro.data.catalog import dataset, source
from paper_repro.data.loaders import Share
from paper_repro.errors import UserError
from paper_repro.evidence import provenance, results
from paper_repro.files import require_room
from paper_repro.interchange.networks import parameter_count
from paper_repro.runs import launch
from paper_repro.runs.cost import Cost, cost, faster_in_float32, require_affordable
from paper_repro.runs.progress import TrainingProgress
from paper_repro.spec import Spec
from paper_repro.terminal import Console
from paper_repro.training import saved_state
from paper_repro.training.distributed import require_gpus
from paper_repro.training.forecast import require_pruning, steps_per_epoch
from paper_repro.training.optimizer import values_each
from paper_repro.training.options import require_applicable
from paper_repro.workflows import own_network
from paper_repro.workflows.job import Job

Run = tuple[tables.Row, Spec]


def run(job: Job, console: Console) -> int:
    """Train what is missing and collect; the exit code: 0, or 1 when a run failed or rows had no data."""
    if job.model:
        own_network.describe(job.model, [spec for _, spec in job.specs()], console)
    todo, without_data = unfinished(job, console)
    failures = without_data | train(job, todo, console)
    if job.model:  # no row of the table
        own_network.show(job.specs(), job.runs, console)
    else:
        collect(job)
    return list_failures(failures, console)


def unfinished(job: Job, console: Console, elsewhere: int | None = None) -> tuple[list[Run], dict[str, str]]:
    """The runs of the job that have no result yet and can be trained; and data set -> why its rows cannot be.
    ``elsewhere``: how many a cluster trains at once at most, where it does and not this machine.

    Everything that could stop them is looked for here, before any starts: a spec that would stay dense, runs that take
    more hours than the job allows, and data that is neither there nor to be fetched, are UserErrors. Where only some
    rows lack their data, the others are trained.
    """
    for name, other in job.stand_ins().items():
        console.say(
            f"{dataset(name).title} is not in {job.data_root}; {dataset(other).title} is, and stands in for it. "
            f"Results say so. For the official data: make data NAME={name}",
        )
    todo = _without_result(job, console)
    for _, spec in todo:
        require_pruning(spec)
    require_trainable(job, [spec for _, spec in todo], elsewhere)
    if job.max_gpu_hours is not None:
        require_affordable(list(costs(job).values()), job.max_gpu_hours)
    without_data = _without_data(job, todo, console)
    reasons: dict[str, str] = {}
    for name, error in without_data.items():
        rows = ", ".join(dict.fromkeys(row.id for row, spec in todo if spec.dataset == name))
        reasons[dataset(name).title] = f"its rows ({rows}) were left out. {error}"
        console.say(f"{dataset(name).title}: its rows are left out, the others trained. {error}")
    return [(row, spec) for row, spec in todo if spec.dataset not in without_data], reasons


def _without_result(job: Job, console: Console) -> list[Run]:
    """The runs of the job that are not finished. Says how many are, and when other code trained them."""
    runs = job.specs()
    stored = {spec.name: record.finished(job.runs / spec.name, spec) for _, spec in runs}
    todo = [(row, spec) for row, spec in runs if stored[spec.name] is None]
    if len(todo) < len(runs):
        console.print(f"runs: {len(runs) - len(todo)} of {len(runs)} are finished already (in {job.runs}/)")
    now = provenance.code_version()
    made_by = [run.provenance for run in stored.values() if run is not None]
    other = sum((made.commit, made.dirty) != now or made.dirty == "true" for made in made_by)
    if other:
        console.print(
            f"note: {other} of them were trained by another commit or by changed code, and are not trained again; "
            f"where that code matters, delete their folders in {job.runs}/"
        )
    return todo


def _without_data(job: Job, todo: Sequence[Run], console: Console) -> dict[str, UserError]:
    """Data set -> why it is not there; fetches those that can be. UserError when no run has its data."""
    errors: dict[str, UserError] = {}
    for name, loader in dict.fromkeys((spec.dataset, spec.loader) for _, spec in todo):
        try:
            source(name).ensure(job.data_root, console.print, loader)
        except UserError as error:
            errors[name] = error
    if errors and all(spec.dataset in errors for _, spec in todo):
        raise next(iter(errors.values()))
    return errors


def require_trainable(job: Job, todo: Sequence[Spec], elsewhere: int | None = None) -> None:
    """UserError when an option means nothing for a run, its batches cannot be shared by the job's processes, there is
    no room for what it writes, or this machine has too few GPUs for it; ``elsewhere`` as in ``unfinished``.
    """
    if elsewhere is None:
        require_gpus(job.gpus)
    require_room(job.results)
    largest = max((saved_state.room_bytes(parameter_count(spec), values_each(spec)) for spec in todo), default=0)
    at_once = side_by_side(job, todo) if elsewhere is None else min(elsewhere, len({spec.name for spec in todo}))
    require_room(job.runs, largest * at_once)
    for spec in todo:
        require_sound(job, spec)


def require_sound(job: Job, spec: Spec) -> None:
    """UserError when an option means nothing for a run, or the job's processes cannot share its batches."""
    require_applicable(spec)
    Share(0, job.gpus).require_fair(dataset(spec.dataset).train_examples, spec.batch_size)


def side_by_side(job: Job, todo: Sequence[Spec]) -> int:
    """How many of these runs are trained at once."""
    return 1 if job.gpus > 1 else min(job.jobs or launch.side_by_side(todo), len(todo))


def costs(job: Job) -> dict[str, Cost]:
    """Spec name -> what the run takes, and how much of it is done; a run that several rows show is there once."""

    def done(spec: Spec) -> float:
        folder = job.runs / spec.name
        if record.finished(folder, spec) is not None:
            return 1.0
        return (saved_state.newest_step(folder) or 0) / (steps_per_epoch(spec) * spec.epochs)

    return {spec.name: cost(spec, done(spec)) for spec in {spec.name: spec for _, spec in job.specs()}.values()}


def train(job: Job, todo: Sequence[Run], console: Console) -> dict[str, str]:
    """Train side by side; returns row and seed -> reason for the runs that failed. A run that several rows show is
    known by the first of them.
    """
    once = {spec.name: (row, spec) for row, spec in reversed(todo)}
    return train_named({f"{row.id} s{spec.seed}": spec for row, spec in reversed(once.values())}, job, console)


def train_named(todo: Mapping[str, Spec], job: Job, console: Console, plugin: str | None = None) -> dict[str, str]:
    """Train these runs side by side, under the names that the progress display shows; returns name -> reason for those
    that failed.

    ``plugin``: what ``methods.plugins.find`` takes, where a spec is that of a plug-in.
    """
    if not todo:
        return {}
    names = {spec.name: name for name, spec in todo.items()}
    jobs = side_by_side(job, list(todo.values()))
    how = f"{jobs} side by side, one thread each"
    if job.gpus > 1:
        how = f"one after another, each by {job.gpus} processes of one thread"
    console.print(f"runs: {len(todo)} to train, {how}, on {launch.where()}")
    for line in faster_in_float32(todo.values()):
        console.print_once(line)
    with TrainingProgress(console, len(todo)) as progress:

        def on_event(spec: Spec, event: Mapping[str, Any]) -> None:
            progress(names[spec.name], event)

        made_by = provenance.provenance(threads=1)
        training = launch.Launch(
            job.runs, job.data_root, made_by, on_event, jobs, processes=job.gpus, plugin=plugin, model=job.model
        )
        failures = training.train(list(todo.values()))
    if training.signum is not None:
        raise UserError(
            "interrupted; what was trained is saved, and the same command goes on from there",
            exit_code=128 + training.signum,
        )
    return {names[name]: reason for name, reason in failures.items()}


def collect(job: Job) -> None:
    """Bring the finished runs of this job into ``results/``, each into the files of the table that its row is from."""
    holders = tables.holders(tables.load(job.table), job.tier)
    finished: dict[str, list[Path]] = {job.table: []}
    for row, spec in job.specs():
        folder = job.runs / spec.name
        if (folder / record.FILE).exists():
            finished.setdefault(holders[row.id][0], []).append(folder)
    for table, folders in finished.items():
        results.collect(table, job.tier, dict.fromkeys(folders), job.results)


def list_failures(failures: Mapping[str, str], console: Console) -> int:
    """List the runs that failed, last and so not to be missed; the exit code."""
    for name, reason in failures.items():
        console.say(Text.assemble(("FAILED", "red"), f"  {name}: {reason}"))
    return 1 if failures else 0
