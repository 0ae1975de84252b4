"""The settings of a cluster: one small TOML file, ``cluster.toml``, with an example in ``ci/cluster.example.toml``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from paper_repro import reading
from paper_repro.errors import UserError

FILE = Path("cluster.toml")
Word = Annotated[str, StringConstraints(pattern=r"^\S*$")]
Line = Annotated[str, StringConstraints(pattern=r"^[^\n]*$")]
Count = Annotated[int, Field(ge=1)]


class Site(BaseModel):
    """What every job of this cluster asks for, and what its tasks do before they train. "" and None: left out.

    ``time``: of one task, which is queued again until its run is finished; ``signal_s``: how long before its end a task
    saves its state. ``gpus_per_node``: what one node has; runs on more take several. ``gres``: a GPU in SLURM's words,
    with its type where that matters; "" where tasks train on cores. ``at_once``: tasks of an array that run at a time.
    ``sbatch``: more options of sbatch; ``setup``: lines of shell; ``container``: what the training command is put
    behind. ``scratch``: a folder of each node, into which the FFCV files are copied; the shell expands it there.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    partition: Word = ""
    account: Word = ""
    qos: Word = ""
    constraint: Word = ""
    time: Annotated[str, StringConstraints(pattern=r"^(\d+-)?\d\d:\d\d:\d\d$")] = "24:00:00"
    signal_s: Annotated[int, Field(ge=1, le=65535)] = 300
    gres: Word = "gpu"
    gpus_per_node: Count = 8
    cpus_per_gpu: Count = 8
    memory_gb_per_gpu: Count | None = None
    at_once: Count | None = None
    sbatch: list[Annotated[Line, StringConstraints(pattern="^--")]] = []
    modules: list[Word] = []
    setup: list[Line] = []
    container: Line = ""
    python: Line = ""  # the command; the one that submits by default
    scratch: Line = ""


def load(file: Path) -> Site:
    """The settings in a file; UserError, with the key, for one that is unknown or has a value that cannot be."""
    if not file.exists():
        raise UserError(f"{file} does not exist; it holds the settings of the cluster ({FILE} where none is named)")
    return reading.validate(file, "top level", reading.read_toml(file), Site)
