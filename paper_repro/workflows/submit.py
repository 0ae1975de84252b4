"""The verb ``submit``: hand the runs of a job that are missing to SLURM, as an array with one task for each.

Each task calls the verb ``run`` for its one run. What could stop it is looked for here, before anything is queued.
"""

from __future__ import annotations

import time
from pathlib import Path

from paper_repro.data.imagenet import layout
from paper_repro.errors import UserError
from paper_repro.files import locked
from paper_repro.runs import slurm
from paper_repro.runs.site import FILE, Site, load
from paper_repro.terminal import Console
from paper_repro.workflows.job import Job
from paper_repro.workflows.train import list_failures, unfinished


def submit(job: Job, site_file: Path | None, dry_run: bool, console: Console) -> int:
    """Queue what is neither finished nor queued; with ``dry_run``, print the script instead. The exit code: 0, or 1
    when rows had no data. UserError without SLURM, and for what ``unfinished`` refuses.
    """
    if not (slurm.is_here() or dry_run):
        raise UserError(
            "there is no SLURM here (no sbatch): `make submit` is for the login node of a cluster. On one machine, "
            f"`make run TABLE={job.table} TIER={job.tier}` trains the same runs; without SLURM, several machines that "
            "share a folder may each train other rows of them (ROWS=...)"
        )
    site = _site(site_file, console)
    todo, without_data = unfinished(job, console, elsewhere=site.at_once or len(job.specs()))
    names = list(dict.fromkeys(spec.name for _, spec in todo))
    folder = job.runs.absolute() / slurm.FOLDER
    with locked(folder / "lock"):  # nobody else submits until what is queued here can be seen in the queue
        queued = {} if dry_run and not slurm.is_here() else slurm.queue(job.runs)
        new = [name for name in names if name not in queued]
        console.print(f"runs: {len(new)} to queue, {len(names) - len(new)} are queued or at work already")
        if new:
            here = folder / f"{time.strftime('%Y%m%d-%H%M%S')}-{len(slurm.arrays(job.runs))}"
            text = slurm.script(_work(job, site, new), site, here)
            if dry_run:
                console.say(text)
            else:
                number = slurm.submit(text, here)
                console.say(f"queued as job {number}; script and logs are in {here}")
                console.print(f"`make status TABLE={job.table} TIER={job.tier}` follows them, `scancel {number}` stops")
    return list_failures(without_data, console)


def _site(file: Path | None, console: Console) -> Site:
    if file is None and not FILE.exists():
        console.print(f"there is no {FILE}: SLURM's defaults are taken (ci/cluster.example.toml says what can be set)")
        return Site()
    return load(file or FILE)


def _work(job: Job, site: Site, names: list[str]) -> slurm.Work:
    """What is asked for, in the words of the verb ``run``, all paths absolute."""
    folder = layout.home(job.data_root.absolute())
    ffcv = "loader=ffcv" in job.options.split()
    arguments = [job.table, "--tier", job.tier, "--seeds", str(job.seeds), "--gpus", str(job.gpus), *job.flags()]
    arguments += ["--runs", str(job.runs.absolute()), "--results", str(job.results.absolute())]
    return slurm.Work(
        f"{job.table} {job.tier}",
        names,
        arguments,
        job.gpus,
        job.runs.absolute(),
        job.data_root.absolute(),
        [folder / f"{part}.beton" for part in layout.PARTS] if ffcv and site.scratch else [],
    )
