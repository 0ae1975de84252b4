"""A training process that is killed: what ``test_sigkill.py`` forks, again and again, from one that has imported torch,
what an optimizer imports when it is made, and the compiler of FastGRNN's recurrence, already.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import torch
import torch._dynamo
from torch import nn

from paper_repro.models import fastgrnn_kernels  # noqa: F401
from paper_repro.training.hooks import Hook
from paper_repro.training.loop import run
from paper_repro.training.run import Run
from tests.training.tiny import RANKS, install_sequences

SPEC = replace(RANKS, epochs=16)  # its ranks fall, networks are kept on the way, and it takes longer than to begin
WEIGHTS = "weights.pt"


def start(target: Callable[..., None], *arguments: object) -> BaseProcess:
    """Run a function of this module in a process of its own."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    process = context.Process(target=target, args=arguments)
    process.start()
    return process


def train(runs: Path, said: Path) -> None:
    """Train to the end, leave the final weights beside the result, and the notes in ``said``."""
    torch.set_num_threads(1)
    install_sequences(pytest.MonkeyPatch())

    class RawWeights(Hook):
        def on_finish(self, run: Run, plain: nn.Module) -> None:
            torch.save(run.model.state_dict(), run.folder / WEIGHTS)

    def note(event: dict[str, Any]) -> None:
        with said.open("a", encoding="utf-8") as file:
            file.write(f"{event['event']} {event.get('text', '')}\n")

    run(SPEC, runs, Path(), report=note, hooks=[RawWeights()])


def train_and_die_while_saving(runs: Path, said: Path) -> None:
    """Die half way through writing the second checkpoint."""
    save, saved = torch.save, []

    def half(state: Any, path: Path) -> None:
        save(state, path)
        saved.append(path)
        if len(saved) == 2:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            os.kill(os.getpid(), signal.SIGKILL)

    torch.save = half
    train(runs, said)
