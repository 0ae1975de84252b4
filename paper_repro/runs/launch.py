"""Several runs side by side, each in a process of its own, so that a run that dies takes nothing with it; or, where
several processes train one run together (torchrun starts those), one run after another.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import prod
from pathlib import Path
from typing import Any

from paper_repro.data.catalog import dataset
from paper_repro.errors import UserError
from paper_repro.machine import cores, nodes, on_stop_signals
from paper_repro.runs import journal
from paper_repro.runs.child import Child
from paper_repro.spec import Spec

WORKER = (sys.executable, "-m", "paper_repro.runs.worker")
OnEvent = Callable[[Spec, Mapping[str, Any]], None]


# What a run on images of 32 px or on sequences takes of a GPU's memory: half a gigabyte for CUDA itself, the data set,
# and at most 2 GB for a batch of 512 in a ResNet50 of width 32. Larger images have the GPU to themselves.
GPU_GB_PER_RUN = 4.0
LARGE_INPUT = 100_000  # values of an example; 224 px have 150,528
RUNS_PER_CORE = 2  # on a GPU: a run needs a core only to start kernels


def side_by_side(specs: Sequence[Spec]) -> int:
    """How many of these runs this machine trains at once, unless told otherwise: one a core, or, on a GPU, as many as
    its memory holds, and no more than two a core.
    """
    import torch

    if not torch.cuda.is_available():
        return cores()
    if any(prod(dataset(spec.dataset).input_size) > LARGE_INPUT for spec in specs):
        return 1
    memory_gb = torch.cuda.get_device_properties(0).total_memory / 1e9
    return max(1, min(int(memory_gb / GPU_GB_PER_RUN), RUNS_PER_CORE * cores()))


def where() -> str:
    """The device that this machine trains on, for people."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return "the CPU (PyTorch finds no GPU: training is slower, nothing else changes)"


class Launch:
    """Trains specs, ``jobs`` at a time, each with ``processes`` of one CPU thread; ``on_event`` hears of all that
    happens, and the journal of each run keeps the last of it. In the task of a cluster that has several nodes, each has
    its share of the processes, and what happens is heard on the first.
    """

    def __init__(
        self,
        runs: Path,
        data_root: Path,
        provenance: Mapping[str, Any],
        on_event: OnEvent,
        jobs: int | None = None,
        processes: int = 1,
        plugin: str | None = None,
        model: str = "",
    ) -> None:
        """``plugin`` and ``model`` are what ``find`` of ``methods.plugins`` and of ``models.plugins`` takes; the specs
        that carry their sha256 are trained with them.
        """
        self.order: dict[str, Any] = {
            "runs": str(runs),
            "data_root": str(data_root),
            "provenance": dict(provenance),
            "threads": 1,
            "plugin": plugin,
            "model": model,
        }
        self.runs, self.on_event, self.jobs, self.count = runs, on_event, jobs or cores(), processes
        self.nodes, self.node = nodes() if processes > 1 else (1, 0)
        self.children: set[Child] = set()
        self.lock = threading.Lock()
        self.signum: int | None = None
        self.unheard: OSError | SystemExit | None = None  # why what happens cannot be shown any more

    def train(self, specs: Sequence[Spec]) -> dict[str, str]:
        """Run name -> why it failed, for the runs that did; empty when all are finished.

        After SIGINT, SIGTERM or SIGUSR1 no new run is started and those at work save their state; ``signum`` then
        says which it was. The same where ``on_event`` cannot show anything any more, which is a UserError in the end.
        """
        with on_stop_signals(self._forward), ThreadPoolExecutor(self.jobs) as pool:
            failures = list(pool.map(self._train_one, specs))
        if self.unheard is not None:
            why = "nobody reads it any more" if isinstance(self.unheard, SystemExit | BrokenPipeError) else self.unheard
            raise UserError(
                f"what the command prints could not be written ({why}): its runs were stopped with their state saved, "
                "and the same command goes on from there"
            )
        return {spec.name: failure for spec, failure in zip(specs, failures, strict=True) if failure}

    def _train_one(self, spec: Spec) -> str | None:
        with self.lock:
            if self.signum is not None:
                return "not started"
            child = Child(self.command(), {**self.order, "spec": spec.to_dict()}, self.order["threads"])
            self.children.add(child)
        self._pass_on_a_signal()  # one may have come before this child was in the set
        try:
            with child:
                how, failure = self._follow(child, spec)
        except BaseException:
            self._stop()  # the other runs too, with their state saved, before the error is told
            raise
        with self.lock:
            self.children.discard(child)
        kind = "end" if failure is None else "failed" if self.signum is None else "stopped"
        self._tell(spec, {"event": kind, "text": failure, "how": how})
        return failure

    def _tell(self, spec: Spec, event: Mapping[str, Any]) -> None:
        if self.node == 0 and event.get("how") != "busy":  # it is another process's run, and another one's journal
            journal.note(self.runs / spec.name, event)
        if self.unheard is not None:
            return
        try:
            self.on_event(spec, event)
        except (OSError, SystemExit) as error:  # a closed pipe (rich leaves with SystemExit), a full disk
            self.unheard = error
            self._stop()

    def command(self) -> list[str]:
        """What trains one run."""
        if self.count == 1:
            return [*WORKER]
        together = ["--standalone"]
        if self.nodes > 1:
            address, port = os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"]
            together = [f"--nnodes={self.nodes}", f"--node-rank={self.node}"]
            together += [f"--master-addr={address}", f"--master-port={port}"]
        # SIGUSR1 as well: a cluster sends it to every process, and torchrun would die of it and leave its own behind
        each = (f"--nproc-per-node={self.count // self.nodes}", "--signals-to-handle=SIGTERM,SIGINT,SIGUSR1")
        return [WORKER[0], "-m", "torch.distributed.run", *together, *each, *WORKER[1:]]

    def _follow(self, child: Child, spec: Spec) -> tuple[str, str | None]:
        """Pass the events of a run on until it ends; how it did, and why it failed, or None: "busy" or "error" in the
        words of a process, "stopped" by a signal, or "died", where the same run may well go on.
        """
        said: dict[str, str] = {}  # the first error of any process, and the first to be left alone by another
        for event in child.events():
            if event["event"] in ("busy", "error", "lost"):
                said.setdefault(event["event"], event["text"])
            self._tell(spec, event)
        for how in ("busy", "error"):
            if how in said:
                return how, said[how]
        if child.process.returncode == 0:
            return "end", None
        if self.signum is not None:  # whatever its exit code: it may have been stopped before it could handle signals
            return "stopped", "stopped; the same command goes on from here"
        if self.count > 1:  # the last words are torchrun's own
            by_torchrun = "the training processes died; the same command goes on from the last checkpoint"
            return "died", said.get("lost", by_torchrun)
        last_words = f": {child.last_words}" if child.last_words else ""
        return "died", f"the training process died ({child.how}){last_words}"

    def _stop(self) -> None:
        self.signum = self.signum or signal.SIGTERM
        self._pass_on_a_signal()

    def _pass_on_a_signal(self) -> None:
        for child in list(self.children):
            if self.signum is not None:
                child.send_signal(self.signum)

    def _forward(self, signum: int, _frame: object) -> None:
        # no lock here: a handler may interrupt the thread that holds it
        self.signum = signum
        self._pass_on_a_signal()
