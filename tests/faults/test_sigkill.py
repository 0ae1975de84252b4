"""Faults 1 and 2: SIGKILL at random moments of training, and while a checkpoint is being written."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from paper_repro import record
from paper_repro.interchange import networks, weight_files
from paper_repro.record import Record
from tests.faults import victim
from tests.runs.test_launch import ROOT
from tests.training.test_loop import without_time

DRAWS = 20


@pytest.fixture(autouse=True)
def from_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # where the forked processes import from


def ended(runs: Path) -> tuple[Record, dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Everything that a finished run leaves, but for its time: result, final weights, the network kept on the way."""
    folder = runs / victim.SPEC.name
    result = without_time(record.read(folder))
    final = torch.load(folder / victim.WEIGHTS, weights_only=True)
    return result, final, weight_files.read_weights(networks.kept_weights(folder, "9/12"))


def same(one: Any, other: Any) -> bool:
    """Equal to the bit."""
    weights = zip(one[1:], other[1:], strict=True)
    return one[0] == other[0] and all(torch.equal(a[name], b[name]) for a, b in weights for name in a.keys() | b.keys())


def finish(runs: Path) -> str:
    """Train to the end; what was said."""
    process = victim.start(victim.train, runs, runs.with_suffix(".txt"))
    process.join()
    assert process.exitcode == 0
    return runs.with_suffix(".txt").read_text(encoding="utf-8")


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_bit_by_bit_the_same(tmp_path: Path) -> None:
    finish(tmp_path / "warm")  # the first of all imports
    began = time.monotonic()
    finish(tmp_path / "whole")
    whole, duration = ended(tmp_path / "whole"), time.monotonic() - began
    moments = random.Random(0)
    resumed = 0
    for draw in range(DRAWS):
        runs = tmp_path / f"run-{draw}"
        process = victim.start(victim.train, runs, runs.with_suffix(".txt"))
        process.join(moments.uniform(0.0, duration))
        process.kill()
        process.join()
        resumed += "resumed at step" in finish(runs)
        assert same(ended(runs), whole), f"draw {draw}"
    assert resumed >= DRAWS // 4  # or nothing was interrupted


@pytest.mark.slow
def test_killed_while_a_checkpoint_is_written_the_previous_one_is_used(tmp_path: Path) -> None:
    finish(tmp_path / "whole")
    runs = tmp_path / "run"
    process = victim.start(victim.train_and_die_while_saving, runs, tmp_path / "said.txt")
    process.join()
    assert process.exitcode == -signal.SIGKILL
    (leftover,) = (runs / victim.SPEC.name).glob(".step-*.tmp")
    said = finish(runs)
    assert f"discarded {leftover.name}" in said and "resumed at step 8 of 128" in said and not leftover.exists()
    assert same(ended(runs), ended(tmp_path / "whole"))
