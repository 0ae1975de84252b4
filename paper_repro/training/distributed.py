"""Several processes that train one run together, one per GPU, as torchrun starts them; or one process that is alone.

Gradients go over NCCL between GPUs and over gloo between CPUs. What the processes have to agree on (a signal that
reached one of them, a loss that is no number) goes over gloo in both cases, so that no GPU is waited for.

A process that is killed closes its connections, and the others fail at once. One that hangs is waited for no longer
than ``PATIENCE_S``. Whoever notices ends the others and itself, and torchrun what is left after 30 s more: within a
minute all are gone, and the run goes on from its last checkpoint.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import torch
from torch import distributed, nn
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from paper_repro.data.loaders import ALONE, Share
from paper_repro.errors import UserError
from paper_repro.machine import nodes

PATIENCE_S = 20.0  # how far one process may be behind another, checkpoints and compilation included
START_PATIENCE_S = 600.0  # the same until all have started, which imports and a busy machine make slow
PATIENCE = "PAPER_REPRO_PATIENCE_S"  # in the environment, where that is not enough


class Processes:
    """This process among those that train one run. Alone, nothing here communicates or costs anything."""

    def __init__(self, share: Share = ALONE, control: Any = None) -> None:
        """``control``: a gloo group of all processes, for what is no gradient."""
        self.share, self.control = share, control
        self.pids = self.gathered((os.uname().nodename, os.getpid()))

    @property
    def count(self) -> int:
        return self.share.world

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and reports."""
        return self.share.rank == 0

    def largest(self, *values: int) -> list[int]:
        """Each value as the process that has the largest one has it; every process waits for the others here."""
        return self._reduced(torch.tensor(values), distributed.ReduceOp.MAX)

    def total(self, *values: float) -> list[float]:
        """Each value summed over the processes, in float64."""
        return self._reduced(torch.tensor(values, dtype=torch.float64), distributed.ReduceOp.SUM)

    def _reduced(self, tensor: torch.Tensor, operation: distributed.ReduceOp.RedOpType) -> list[Any]:
        if self.control is not None:
            distributed.all_reduce(tensor, operation, group=self.control)
        return tensor.tolist()

    def gathered(self, value: Any) -> list[Any]:
        """What every process has, by rank."""
        if self.control is None:
            return [value]
        values: list[Any] = [None] * self.count
        distributed.all_gather_object(values, value, group=self.control)
        return values

    def end_others(self) -> None:
        """End the other processes on this machine. One that hangs hears nothing but SIGKILL."""
        node, own = os.uname().nodename, os.getpid()
        for at, pid in self.pids:
            if at == node and pid != own:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def parallel(self, model: nn.Module) -> nn.Module:
        """``model`` with gradients that are the mean over the processes, for training.

        Batch norms stay as they are: each process normalises its own part of a batch, as each of the paper's 4 GPUs
        did with its 64 images (DataParallel). Nor are running statistics exchanged here: training does not read them.
        """
        return model if self.control is None else DistributedDataParallel(model, broadcast_buffers=False)

    def with_first_buffers(self, model: nn.Module) -> nn.Module:
        """``model`` with the running statistics of the first process, which DataParallel kept too."""
        if self.control is not None:
            for buffer in model.buffers():
                distributed.broadcast(buffer, src=0)
        return model


ONE_PROCESS = Processes()


@contextmanager
def joined() -> Iterator[Processes]:
    """The processes that torchrun started together with this one; this process alone where it started no other."""
    share = Share(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))
    if share.world == 1:
        yield ONE_PROCESS
        return
    patience, cuda = timedelta(seconds=patience_s()), torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group(
        "nccl" if cuda else "gloo",
        store=_met(share.world),
        rank=share.rank,
        world_size=share.world,
        # NCCL a little later than gloo, which says what happened, while NCCL only aborts
        timeout=patience + timedelta(seconds=5 if cuda else 0),
    )
    yield Processes(share, distributed.new_group(backend="gloo", timeout=patience))
    distributed.destroy_process_group()  # only where all went well: it would wait for a process that is lost


def _met(count: int) -> Any:
    """torchrun's store, when all processes have come to it."""
    store, _, _ = next(rendezvous("env://", timeout=timedelta(seconds=START_PATIENCE_S)))
    if store.add("started", 1) == count:
        store.set("all_started", "yes")
    store.wait(["all_started"])
    return store


def patience_s() -> float:
    """Seconds that a process waits for the others before it takes one for hung."""
    seconds = os.environ.get(PATIENCE, "")
    try:
        return float(seconds or PATIENCE_S)
    except ValueError:
        raise UserError(f"{PATIENCE} is {seconds!r}; it is a number of seconds, such as {PATIENCE_S:g}") from None


def explanation(error: Exception) -> tuple[str, bool]:
    """Why this process could not go on, in a sentence, and whether only because another one is lost."""
    text = str(error)
    if any(sign in text for sign in ("Connection closed", "Connection reset", "Broken pipe", "Socket")):
        return "another process of this run died; the same command goes on from the last checkpoint", True
    if "imed out" in text or "imeout" in text:
        return (
            f"another process of this run hangs, or is more than {patience_s():g} s behind; the same command goes on "
            f"from the last checkpoint (where processes are only slow, set {PATIENCE} to more seconds)",
            True,
        )
    return f"{type(error).__name__}: {text}", False


def require_gpus(count: int) -> None:
    """UserError when ``count`` processes are to train together on fewer GPUs; without any GPU they train on cores."""
    there = torch.cuda.device_count() * nodes()[0]
    if 0 < there < count:
        raise UserError(f"{count} processes need a GPU each, and this machine has {there}; ask for at most {there}")
