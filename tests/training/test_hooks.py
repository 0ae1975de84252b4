"""Hooks are called at the moments that they name, with what the run is then."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from torch import nn

from paper_repro.accounting import nonzero_sparsity_pct
from paper_repro.training.guards import Interrupted
from paper_repro.training.hooks import Hook
from paper_repro.training.loop import run
from paper_repro.training.run import Run
from tests.training.test_loop import kill_at
from tests.training.tiny import SPEC, install

SHORT = replace(SPEC, epochs=2, batch_size=24, weight_decay=0.45)  # 4 steps an epoch


class Diary(Hook):
    """What was called, and at which step; and what could be seen at an epoch's end."""

    def __init__(self) -> None:
        self.said: list[tuple[str, int]] = []
        self.seen: list[tuple[int, bool]] = []

    def on_start(self, run: Run) -> None:
        self.said.append(("start", run.step))

    def on_step(self, run: Run) -> None:
        self.said.append(("step", run.step))

    def on_record(self, run: Run) -> None:
        self.said.append(("record", run.step))
        assert run.history[-1].epoch == run.epoch  # the project's own hooks come first
        assert run.history[-1].sparsity_pct == nonzero_sparsity_pct(run.model)

    def on_epoch(self, run: Run, plain: nn.Module) -> None:
        self.said.append(("epoch", run.step))
        saved = (run.folder / f"step-{run.step:07d}.pt").exists()
        self.seen.append((len(run.epochs), saved))

    def on_finish(self, run: Run, plain: nn.Module) -> None:
        self.said.append(("finish", run.step))
        assert not hasattr(plain.conv1, "parametrizations") and not (run.folder / "result.json").exists()


def steps(first: int, last: int) -> list[tuple[str, int]]:
    return [item for step in range(first, last + 1) for item in (("step", step), ("record", step))]


def test_the_five_moments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    diary = Diary()
    run(SHORT, tmp_path, tmp_path, hooks=[diary])
    assert diary.said == [("start", 0), *steps(1, 4), ("epoch", 4), *steps(5, 8), ("epoch", 8), ("finish", 8)]
    assert diary.seen == [(1, False), (2, True)]  # the state of the last epoch is saved before it is measured


def test_after_an_interruption_they_go_on_from_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    first, then = Diary(), Diary()
    with pytest.raises(Interrupted):
        run(SHORT, tmp_path, tmp_path, report=kill_at(4), hooks=[first])
    assert first.said == [("start", 0), *steps(1, 4)]
    run(SHORT, tmp_path, tmp_path, hooks=[then])  # the epoch that had just ended is closed now
    assert then.said == [("start", 4), ("epoch", 4), *steps(5, 8), ("epoch", 8), ("finish", 8)]
    untouched = Diary()
    run(SHORT, tmp_path, tmp_path, hooks=[untouched])
    assert untouched.said == []
