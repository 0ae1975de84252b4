"""Does a method give the same weights on two processes as on one? Two processes (gloo) train the small network of
``conformance`` for a whole schedule, each on half of every batch, and are compared with one process on all of it.

A method passes when its gradients are averaged before it decides by them (``base.mean_over_processes``), and what it
draws at random is that of the first process (``base.from_first_process``). One pair of processes checks many methods,
because starting it takes seconds; a method that breaks the pair is told so, and the rest gets a new pair.

Batch norms use their stored statistics, because those of half a batch are others, and processes share no buffers.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from paper_repro.conformance.trial import STEPS, Breach, Subject, Training
from paper_repro.methods import plugins
from paper_repro.runs import child
from paper_repro.runs.child import Child, Event

PATIENCE_S = 120.0  # for the pair to begin, and then for every method
COMMAND = (sys.executable, "-m", "paper_repro.conformance.two_processes")
TOLERANCE = 1e-4  # of a weight: sums of floats are taken in another order


def differences(subjects: Sequence[Subject]) -> list[str | None]:
    """For each subject what is different on two processes, as the rest of a sentence; None where nothing is."""
    answers: list[str | None] = []
    while len(answers) < len(subjects):
        answers += _pair(subjects[len(answers) :])
    return answers


def _pair(subjects: Sequence[Subject]) -> list[str | None]:
    """The findings of one pair of processes: as many as it lived for, at least one."""
    order = {"subjects": [[subject.source, dict(subject.arguments)] for subject in subjects]}
    patience_s = PATIENCE_S * (1 + len(subjects))
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        meeting = str(Path(folder, "meeting"))
        pair = [stack.enter_context(Child(COMMAND, {**order, "meeting": meeting, "rank": rank})) for rank in (0, 1)]
        try:
            told = [list(one.events(patience_s)) for one in pair]
        finally:
            for one in pair:
                one.end()
        answers: list[str | None] = [event["text"] for event in told[0] if event["event"] == "difference"]
        if len(answers) < len(subjects):
            answers.append(_why_it_ended(pair, [event for events in told for event in events]))
    return answers


def _why_it_ended(pair: Sequence[Child], told: Sequence[Event]) -> str:
    if any(one.hung for one in pair):
        return "hangs on two processes"
    errors = [event for event in told if event["event"] == "error"]
    first_hand = [event for event in errors if not event["lost_the_other"]]  # the other only lost its partner
    if errors:
        return str((first_hand or errors)[0]["text"])
    return f"dies on two processes: {'; '.join(f'{one.how}, {one.last_words}' for one in pair)}"


def main() -> None:
    """One of the two processes."""
    say = child.Events().tell
    torch.set_num_threads(1)
    order = child.order()
    rank, subjects = order["rank"], [Subject(source, arguments) for source, arguments in order["subjects"]]
    # before the processes meet, because methods look whether there are others
    alone: list[Any] = [
        _tried(lambda subject=subject: _train(subject, None)) if rank == 0 else None for subject in subjects
    ]
    distributed.init_process_group(
        "gloo", init_method=f"file://{order['meeting']}", rank=rank, world_size=2, timeout=timedelta(seconds=PATIENCE_S)
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
    if isinstance(error, Breach):
        return str(error)
    return plugins.explanation(plugins.find(subject.source), error, "train on two processes")


if __name__ == "__main__":
    main()
