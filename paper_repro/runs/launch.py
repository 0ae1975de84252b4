"""Several runs side by side, each in a process of its own, so that a run that dies takes nothing with it; or, where
several processes train one run together (torchrun starts those), one run after another.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

from paper_repro.data.catalog import dataset
from paper_repro.machine import STOP_SIGNALS, cores
from paper_repro.runs.events import parsed
from paper_repro.spec import Spec

WORKER = (sys.executable, "-m", "paper_repro.runs.worker")
ORDER = "PAPER_REPRO_ORDER"  # in the environment, because torchrun's processes share no standard input
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
    """Trains specs, ``jobs`` at a time, with ``processes`` of ``threads`` CPU threads each; ``on_event`` hears of all
    that happens.
    """

    def __init__(
        self,
        runs: Path,
        data_root: Path,
        provenance: Mapping[str, Any],
        on_event: OnEvent,
        jobs: int | None = None,
        threads: int = 1,
        processes: int = 1,
        plugin: str | None = None,
    ) -> None:
        """``plugin`` is what ``methods.plugins.find`` takes; the specs that carry its sha256 are trained with it."""
        self.order = {
            "runs": str(runs),
            "data_root": str(data_root),
            "provenance": dict(provenance),
            "threads": threads,
            "plugin": plugin,
        }
        self.on_event, self.jobs, self.count = on_event, jobs or cores(), processes
        self.processes: set[subprocess.Popen[str]] = set()
        self.lock = threading.Lock()
        self.signum: int | None = None

    def train(self, specs: Sequence[Spec]) -> dict[str, str]:
        """Run name -> why it failed, for the runs that did; empty when all are finished.

        After SIGINT, SIGTERM or SIGUSR1 no new run is started and those at work save their state; ``signum`` then
        says which it was.
        """
        with self._forwarding_signals(), ThreadPoolExecutor(self.jobs) as pool:
            failures = list(pool.map(self._train_one, specs))
        return {spec.name: failure for spec, failure in zip(specs, failures, strict=True) if failure}

    def _train_one(self, spec: Spec) -> str | None:
        with self.lock:
            if self.signum is not None:
                return "not started"
            process = subprocess.Popen(
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                env=self._environment(spec),
                start_new_session=True,  # Ctrl-C reaches this process alone, which passes it on once
            )
            self.processes.add(process)
        self._pass_on_a_signal()  # one may have come before this process was in the set
        with process:  # closes its pipes
            failure = self._follow(process, spec)
        with self.lock:
            self.processes.discard(process)
        kind = "end" if failure is None else "failed" if self.signum is None else "stopped"
        self.on_event(spec, {"event": kind, "text": failure})
        return failure

    def _command(self) -> list[str]:
        """What trains one run."""
        if self.count == 1:
            return [*WORKER]
        # SIGUSR1 as well: a cluster sends it to every process, and torchrun would die of it and leave its own behind
        torchrun = ("--standalone", f"--nproc-per-node={self.count}", "--signals-to-handle=SIGTERM,SIGINT,SIGUSR1")
        return [WORKER[0], "-m", "torch.distributed.run", *torchrun, *WORKER[1:]]

    def _environment(self, spec: Spec) -> dict[str, str]:
        """The order to train ``spec``, in the environment of the process."""
        order = json.dumps({**self.order, "spec": spec.to_dict()})
        # processes on one machine need no network, and find each other in a container without one
        return {"GLOO_SOCKET_IFNAME": "lo", **os.environ, "OMP_NUM_THREADS": str(self.order["threads"]), ORDER: order}

    def _follow(self, process: subprocess.Popen[str], spec: Spec) -> str | None:
        """Pass the events of a run on until it ends; why it failed, or None."""
        assert process.stdout and process.stderr
        errors: deque[str] = deque(maxlen=100)  # and what a plug-in prints
        drain = threading.Thread(target=errors.extend, args=(process.stderr,), daemon=True)
        drain.start()
        said: dict[str, str] = {}  # the first error of any process, and the first to be left alone by another
        for line in process.stdout:
            event = parsed(line)
            if event is None:
                continue
            if event["event"] in ("error", "lost"):
                said.setdefault(event["event"], event["text"])
            self.on_event(spec, event)
        code = process.wait()
        drain.join()
        if code == 0 or "error" in said:
            return said.get("error")
        if self.signum is not None:  # whatever its exit code: it may have been stopped before it could handle signals
            return "stopped; the same command goes on from here"
        if self.count > 1:  # the last words are torchrun's own
            return said.get("lost", "the training processes died; the same command goes on from the last checkpoint")
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return f"the training process died ({how}){': ' + errors[-1].strip() if errors else ''}"

    def _pass_on_a_signal(self) -> None:
        for process in list(self.processes):
            if self.signum is not None and process.poll() is None:
                process.send_signal(self.signum)

    @contextmanager
    def _forwarding_signals(self) -> Iterator[None]:
        def forward(signum: int, _frame: object) -> None:
            # no lock here: a handler may interrupt the thread that holds it
            self.signum = signum
            self._pass_on_a_signal()

        previous = {number: signal.signal(number, forward) for number in STOP_SIGNALS}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
