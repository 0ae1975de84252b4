"""What a machine with a GPU can tell and no other, in pieces: ``make gpu-check``.

The GPU tests, the GPU benchmarks, and as many runs of Table 1 at tier small as fit into the rest of the time. A piece
that is finished is not run again on the same GPU and commit, so a call that was cut short is taken up by the next one.
What is timed goes into ``results/speed.csv``, the finished runs into ``results/resnet50/``.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import click
import torch
from rich.table import Table

from paper_repro import record
from paper_repro.errors import UserError
from paper_repro.evidence.lines import SpeedLine
from paper_repro.evidence.provenance import provenance, repository
from paper_repro.report.console import print_whole
from paper_repro.terminal import Console
from paper_repro.workflows.job import Job
from paper_repro.workflows.train import collect
from tests.benchmarks import kept
from tests.benchmarks.test_gpu import ON_CPU

FOLDER = click.Path(path_type=Path, resolve_path=True)
GRID = "grid"
DONE, CUT, FAILED = "done", "not finished", "FAILED"
STOPPING_S = 30  # for a piece that is stopped: runs save their state
PYTEST = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *kept.NOTHING)
BENCH = (*kept.BENCH, "-k")


def pieces(device: str) -> dict[str, tuple[str, ...]]:
    """Name -> arguments of pytest, the quick and important ones first."""
    return {
        "tests": ("tests", "--benchmark-disable", "-m", "gpu"),
        "step-256": (*BENCH, "gpu_step_of_str and [256-"),
        "step-32": (*BENCH, "gpu_step_of_str and [32-"),
        "dense": (*BENCH, "gpu_dense"),
        **{loader: (*BENCH, f"gpu_waiting and [{loader}]") for loader in ("dali", "ffcv", "folder")},
        "fastgrnn": (*BENCH, f"fastgrnn and {device}"),
    }


@click.command()
@click.option("--minutes", type=click.FloatRange(min=0), default=9.5, show_default=True, help="Time for all of it.")
@click.option("--only", multiple=True, help="This piece alone; may be repeated.")
@click.option("--results", "results_dir", type=FOLDER, default="results", show_default=True)
@click.option("--runs", type=FOLDER, default="runs", show_default=True)
@click.option("--data-root", type=FOLDER, default="data", envvar="DATA_ROOT", show_default=True)
@click.option("--on-cpu", is_flag=True, help="Try the code of this command on a CPU, with tiny networks.")
def main(minutes: float, only: Sequence[str], results_dir: Path, runs: Path, data_root: Path, on_cpu: bool) -> None:
    """Run what only a GPU can tell, and say which goals are met."""
    console, deadline = Console(), time.monotonic() + 60 * minutes
    if not torch.cuda.is_available() and not on_cpu:
        raise click.ClickException("PyTorch finds no GPU here, and this is about one (`make test` tries it on a CPU)")
    device = "cpu" if on_cpu else "cuda"
    made_by = provenance(device)
    todo = pieces(device)
    if unknown := set(only) - {*todo, GRID}:
        raise click.ClickException(f"unknown piece {min(unknown)!r}; there are {', '.join([*todo, GRID])}")
    folder = runs / "gpu-check" / f"{made_by['device']}-{made_by['commit']}".replace(" ", "-")
    folder.mkdir(parents=True, exist_ok=True)
    states = {}
    for name, arguments in todo.items():
        if not only or name in only:
            states[name] = piece(folder / name, arguments, deadline, fresh=made_by["dirty"] != "false", on_cpu=on_cpu)
            console.print(f"{name}: {states[name]}")
    figures = {name: list(kept.timed(folder / f"{name}.json", made_by)) for name in todo if BENCH[0] in todo[name]}
    kept.keep(chain.from_iterable(figures.values()), results_dir / SpeedLine.FILE)
    print_whole(table(figures), console)
    if not only or GRID in only:
        job = Job("resnet50", "small", data_root=data_root, runs=runs, results=results_dir)
        states[GRID] = grid(job, deadline)
        console.print(f"{GRID}: {states[GRID]}", soft_wrap=True)
    if unfinished := [name for name, state in states.items() if state.startswith(CUT)]:
        console.print(f"{', '.join(unfinished)}: the time was over; the same command goes on from here")
    sys.exit(any(state.startswith(FAILED) for state in states.values()))


def piece(stem: Path, arguments: Sequence[str], deadline: float, fresh: bool, on_cpu: bool) -> str:
    """Run a piece, unless it is done already and was run by this very code: DONE, CUT, or FAILED and where to look."""
    measured, log, done = (stem.with_suffix(suffix) for suffix in (".json", ".log", ".done"))
    if done.exists() and not fresh:
        return DONE
    if deadline < time.monotonic():
        return CUT
    for old in (measured, done):
        old.unlink(missing_ok=True)
    keeping = [f"--benchmark-json={measured}"] if "--benchmark-only" in arguments else []
    command = [*PYTEST, *keeping, *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **({ON_CPU: "1"} if on_cpu else {})}
    with log.open("w", encoding="utf-8") as output:
        code = ended(command, deadline, stdout=output, stderr=output, env=environment)
    if code is None:
        return CUT
    if code:
        return f"{FAILED} (see {log})"
    if keeping and not measured.exists():
        return f"skipped (see {log})"
    done.touch()
    return DONE


def grid(job: Job, deadline: float) -> str:
    """Train what is missing of the job until the time is over, and collect what is finished."""
    where = ("--data-root", job.data_root, "--runs", job.runs, "--results", job.results)
    command = [sys.executable, "-m", "paper_repro", "run", job.table, "--tier", job.tier, *map(str, where)]
    code = ended(command, deadline) if deadline > time.monotonic() else None
    specs = {spec.name: spec for _, spec in job.specs()}
    finished = sum(record.finished(job.runs / name, spec) is not None for name, spec in specs.items())
    if finished:
        collect(job)
    state = CUT if code is None else f"{FAILED} (see above)" if code else DONE
    return f"{state}; {finished} of {len(specs)} runs are finished"


def ended(command: Sequence[str], deadline: float, **settings: Any) -> int | None:
    """The exit code of a command; None where the time was over, and it was stopped as by Ctrl-C."""
    process = subprocess.Popen(command, cwd=repository(), **settings)
    try:
        return process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOPPING_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        return None


def table(figures: Mapping[str, Sequence[SpeedLine]]) -> Table:
    """One line for each figure, with its goal and whether it is met; and one for each piece without figures."""
    grid = Table("what", "compared", "ratio", "at most", "met", box=None, pad_edge=False)
    for name, lines in figures.items():
        for line in lines:
            goal = f"{line.at_most:.2f}" if line.at_most is not None else ""
            grid.add_row(line.what, line.compared, f"{line.ratio:.3f}", goal, goal and ("yes" if line.met else "NO"))
        if not lines:
            grid.add_row(name, "", "", "", "not measured")
    return grid


if __name__ == "__main__":
    try:
        main(standalone_mode=True)
    except UserError as error:
        sys.exit(f"gpu-check: {error}")
