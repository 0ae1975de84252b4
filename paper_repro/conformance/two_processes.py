"""Does a method give the same weights on two processes as on one? Two processes (gloo) train the small network of
``conformance`` for a whole schedule, each on half of every batch, and are compared with one process on all of it.

A method passes when its gradients are averaged before it decides by them (``base.mean_over_processes``), and what it
draws at random is that of the first process (``base.from_first_process``). One pair of processes checks many methods,
because starting it takes seconds; a method that breaks the pair is told so, and the rest gets a new pair.

Batch norms use their stored statistics, because those of half a batch are others, and processes share no buffers.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from paper_repro.conformance.checks import STEPS, Broken, Subject, Training
from paper_repro.methods import plugins
from paper_repro.runs.events import Events, parsed

PATIENCE_S = 120.0  # for the pair to begin, and then for every method
TOLERANCE = 1e-4  # of a weight: sums of floats are taken in another order


def differences(subjects: Sequence[Subject]) -> list[str | None]:
    """For each subject what is different on two processes, as the rest of a sentence; None where nothing is."""
    found: list[str | None] = []
    while len(found) < len(subjects):
        found += _pair(subjects[len(found) :])
    return found


def _pair(subjects: Sequence[Subject]) -> list[str | None]:
    """The findings of one pair of processes: as many as it lived for, at least one."""
    order = json.dumps([[subject.source, dict(subject.arguments)] for subject in subjects])
    patience = PATIENCE_S * (1 + len(subjects))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "paper_repro.conformance.two_processes", str(Path(folder, "meeting"))]
        pair = [
            subprocess.Popen(
                [*command, str(rank), order],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",  # a plug-in may print anything
                env=environment,
            )
            for rank in range(2)
        ]
        try:
            said = [process.communicate(timeout=patience) for process in pair]
        except subprocess.TimeoutExpired:
            return ["hangs on two processes"]
        finally:
            for process in pair:
                process.kill()
                process.communicate()
    by_rank = [[event for line in out.splitlines() if (event := parsed(line))] for out, _ in said]
    found: list[str | None] = [event["text"] for event in by_rank[0] if event["event"] == "difference"]
    if len(found) < len(subjects):
        errors = [event for events in by_rank for event in events if event["event"] == "error"]
        first_hand = [event for event in errors if not event["lost_the_other"]]  # the other only lost its partner
        last_words = " ".join(" ".join(err.split()[-30:]) for _, err in said)
        found.append((first_hand or errors)[0]["text"] if errors else f"dies on two processes: {last_words}")
    return found


def main(meeting: str, rank: int, order: str) -> None:
    """One of the two processes."""
    say = Events().tell
    torch.set_num_threads(1)
    subjects = [Subject(source, arguments) for source, arguments in json.loads(order)]
    # before the processes meet, because methods look whether there are others
    alone: list[Any] = [
        _tried(lambda subject=subject: _train(subject, None)) if rank == 0 else None for subject in subjects
    ]
    distributed.init_process_group(
        "gloo", init_method=f"file://{meeting}", rank=rank, world_size=2, timeout=timedelta(seconds=PATIENCE_S)
    )
    failed = [[isinstance(expected, str) for expected in alone]]
    distributed.broadcast_object_list(failed)
    for subject, expected, fails in zip(subjects, alone, failed[0], strict=True):
        if fails:
            say("difference", text=f"fails on one process already: {expected}")
            continue
        try:
            mine = _train(subject, rank)
            both: list[Any] = [None, None]
            distributed.all_gather_object(both, mine)
        except Exception as error:
            lost = any(word in str(error) for word in ("Connection", "peer", "Timed out", "timed out"))
            say("error", text=f"raises on two processes: {_explained(subject, error)}", lost_the_other=lost)
            os._exit(1)  # not by way of destructors, which would wait for the other
        if rank == 0:
            say("difference", text=_difference(expected, both))
    distributed.destroy_process_group()


def _train(subject: Subject, rank: int | None) -> dict[str, Tensor]:
    """The network's state after a whole schedule: on this half of each batch, or on all of it (``rank`` None)."""
    training = Training(subject)
    torch.manual_seed(100 + (rank or 0))  # the second process draws other numbers
    for module in training.model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    network: nn.Module = training.model
    if rank is not None:
        network = DistributedDataParallel(training.model, broadcast_buffers=False)
    part = slice(None) if rank is None else slice(rank * 8, rank * 8 + 8)
    training.advance(STEPS, forward=network, part=part)
    return {name: value.clone() for name, value in training.model.state_dict().items()}


def _difference(expected: dict[str, Tensor], both: list[dict[str, Tensor]]) -> str | None:
    for name, value in expected.items():
        if not torch.equal(both[0][name], both[1][name]):
            return (
                f"has another {name} in the first process than in the second; average what it reads off gradients "
                "with methods.base.mean_over_processes, and share what it draws with from_first_process"
            )
        if not torch.allclose(both[0][name].double(), value.double(), rtol=TOLERANCE, atol=TOLERANCE):
            gap = (both[0][name].double() - value.double()).abs().max().item()
            return f"ends with another {name} on two processes than on one (by up to {gap:.2g})"
    return None


def _tried(train: Any) -> Any:
    try:
        return train()
    except Exception as error:
        return str(error)


def _explained(subject: Subject, error: Exception) -> str:
    if isinstance(error, Broken):
        return str(error)
    return plugins.explanation(plugins.find(subject.source), error, "train on two processes")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
