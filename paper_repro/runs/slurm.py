"""Runs as a job array of SLURM: the script that is queued, and what the queue says of its tasks.

The script is generated here rather than by submitit, whose handler of signals lives in the process that it starts: it
ignores SIGTERM, which is all that SLURM sends before it preempts unless the site says otherwise; it does not see what
torchrun does below it; and it takes a preemption for a time limit by the clock alone. In a batch script SLURM's
commands are at hand also where the training itself is in a container.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2

from paper_repro.errors import UserError
from paper_repro.files import write
from paper_repro.runs.site import Site

FOLDER = "slurm"  # in the folder of the runs: one folder for each array, with its script and its logs
SCRIPT = "task.sh"
PATIENCE_S = 120.0  # with a busy controller
COMMAND = ("-m", "paper_repro")
REQUEUE = ("-m", "paper_repro.runs.requeue")
COLUMNS = {"ArrayJobID": 20, "ArrayTaskID": 20, "State": 20, "Reason": 60, "RestartCnt": 12, "NodeList": 80,
           "Command": 4096}  # fmt: skip


@dataclass(frozen=True)
class Task:
    """What the queue says of one task. ``state`` is SLURM's, ``reason`` why it waits, ``restarts`` how often it was
    queued again.
    """

    id: str
    state: str
    reason: str
    restarts: int
    nodes: str


@dataclass(frozen=True)
class Array:
    """One array: its folder, and the runs of its tasks, in order."""

    folder: Path
    runs: tuple[str, ...]

    def log(self, run: str) -> Path:
        """What the task of ``run`` has said, and SLURM about it, over all its starts."""
        return self.folder / f"{self.runs.index(run)}.log"

    def starts(self, run: str) -> Path:
        """How often the task of ``run`` was queued again (``requeue.py``)."""
        return self.folder / f"{self.runs.index(run)}.json"


@dataclass(frozen=True)
class Work:
    """What an array is to do: train the runs called ``names`` in the folder ``runs``, each with ``gpus`` processes, by
    the verb ``run`` with these ``arguments``. ``betons``: the files that a site with scratch folders copies there.
    """

    title: str
    names: Sequence[str]
    arguments: Sequence[str]
    gpus: int
    runs: Path
    data_root: Path
    betons: Sequence[Path] = ()


def is_here() -> bool:
    """Whether this machine can queue jobs."""
    return shutil.which("sbatch") is not None


def arrays(runs: Path) -> list[Array]:
    """The arrays that were queued for this folder of runs, oldest first."""
    queued = []
    for script in sorted((runs / FOLDER).glob(f"*/{SCRIPT}")):
        names = script.read_text(encoding="utf-8").partition("\nruns=(\n")[2].partition("\n)\n")[0]
        queued.append(Array(script.parent, tuple(names.split())))
    return queued


def queue(runs: Path) -> dict[str, Task]:
    """Run name -> its task, for the runs of this folder that are queued or at work, whoever has submitted them."""
    of_folder = {str((array.folder / SCRIPT).resolve()): array.runs for array in arrays(runs)}
    layout = ",".join(f"{name}:{width}" for name, width in COLUMNS.items())
    tasks = {}
    for text in _said("squeue", "--noheader", "--array", "--Format", layout).splitlines():
        cells, at = {}, 0
        for name, width in COLUMNS.items():
            cells[name] = text[at : at + width].strip()
            at += width
        names = of_folder.get(str(Path(cells["Command"]).resolve()), ())
        if names:
            id = f"{cells['ArrayJobID']}_{cells['ArrayTaskID']}"
            tasks[names[int(cells["ArrayTaskID"])]] = Task(
                id, cells["State"], cells["Reason"], int(cells["RestartCnt"] or 0), cells["NodeList"]
            )
    return tasks


def script(work: Work, site: Site, folder: Path) -> str:
    """The batch script; it and the logs of its tasks lie in ``folder``. UserError for GPUs that nodes cannot share."""
    nodes = -(-work.gpus // site.gpus_per_node)
    each = work.gpus // nodes
    if work.gpus % nodes:
        raise UserError(f"{work.gpus} GPUs cannot be shared equally by {nodes} nodes of {site.gpus_per_node} each")
    python = [*shlex.split(site.container), *(shlex.split(site.python) or [sys.executable])]
    scratch = f'"{site.scratch}"' if work.betons else ""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("paper_repro.runs", "."),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("slurm.sh.jinja").render(
        work=work,
        site=site,
        options=_options(work, site, folder, nodes, each),
        nodes=nodes,
        cpus=each * site.cpus_per_gpu,
        clone=shlex.quote(str(Path.cwd())),
        runs=shlex.quote(str(work.runs)),
        folder=shlex.quote(str(folder)),
        betons=[shlex.quote(str(file)) for file in work.betons],
        scratch=scratch,
        train=shlex.join([*python, *COMMAND, "run", *work.arguments, "--data-root"]),
        data_root=scratch or shlex.quote(str(work.data_root)),
        requeue=shlex.join([*python, *REQUEUE]),
    )


def _options(work: Work, site: Site, folder: Path, nodes: int, each: int) -> list[str]:
    """Those of sbatch; ``each``: the GPUs of one node."""
    values = {
        "job-name": work.title.replace(" ", "-"),
        "array": f"0-{len(work.names) - 1}" + (f"%{site.at_once}" if site.at_once else ""),
        "output": folder / "%a.log",
        "open-mode": "append",
        "signal": f"B:USR1@{site.signal_s}",
        "time": site.time,
        "nodes": nodes,
        "ntasks-per-node": 1,
        "cpus-per-task": each * site.cpus_per_gpu,
        "gres": site.gres and f"{site.gres}:{each}",
        "mem": site.memory_gb_per_gpu and f"{each * site.memory_gb_per_gpu}G",
        "partition": site.partition,
        "account": site.account,
        "qos": site.qos,
        "constraint": site.constraint,
    }
    return ["--requeue", *(f"--{name}={value}" for name, value in values.items() if value), *site.sbatch]


def submit(text: str, folder: Path) -> str:
    """Queue a batch script from ``folder``, which is made; the number of its job. UserError with what SLURM says where
    it does not take it.
    """
    file = write(folder / SCRIPT, text)
    try:
        return _said("sbatch", "--parsable", str(file)).partition(";")[0].strip()
    except UserError:
        file.unlink()
        folder.rmdir()
        raise


def _said(*command: str) -> str:
    """What a command of SLURM says; UserError where it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    except FileNotFoundError:
        raise UserError(f"there is no SLURM here (no {command[0]})") from None
    except subprocess.TimeoutExpired:
        raise UserError(f"SLURM does not answer: {command[0]} was ended after {PATIENCE_S:g} s") from None
    if done.returncode != 0:
        raise UserError(f"{command[0]}: {(done.stderr or done.stdout).strip()}")
    return done.stdout
