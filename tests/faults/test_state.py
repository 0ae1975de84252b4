"""Faults of the machine and of what a run has stored, as a person meets them; ``test_index.py`` lists all."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import signal
import sys
import time
import tomllib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from paper_repro import cli
from paper_repro.errors import UserError
from paper_repro.machine import on_stop_signals
from paper_repro.spec import Spec
from paper_repro.training import saved_state
from paper_repro.training.guards import Interrupted
from paper_repro.training.loop import run
from paper_repro.workflows import train
from paper_repro.workflows.job import Job
from tests.runs.test_launch import ROOT
from tests.training.test_loop import kill_at, without_time
from tests.training.tiny import SPEC, install

SHORT = replace(SPEC, epochs=2, batch_size=12, weight_decay=0.45)  # 16 steps


@pytest.fixture(autouse=True)
def tiny_data(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)


def stopped(tmp_path: Path, spec: Spec = SHORT, step: int = 10) -> Path:
    """The folder of a run that was stopped, with two checkpoints."""
    with pytest.raises(Interrupted):
        run(spec, tmp_path, tmp_path, report=kill_at(step))
    return tmp_path / spec.name


def test_checkpoints_that_are_gone_stop_the_run_at_once(tmp_path: Path) -> None:
    folder = stopped(tmp_path)
    for path in folder.glob("step-*.pt"):
        path.unlink()
    began: list[dict] = []
    with pytest.raises(UserError, match=r"every checkpoint in .* is damaged or gone; restore one of") as error:
        run(SHORT, tmp_path, tmp_path, report=began.append)
    assert error.value.exit_code == 3
    assert [event["event"] for event in began] == ["note", "note"]  # nothing was trained


def test_no_room_is_said_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job("resnet50", runs=tmp_path / "runs", results=tmp_path / "results")
    spec = Spec.from_dict({**SPEC.to_dict(), "model": "resnet50", "model_args": {}})
    needed = 3 * 8 * 23_522_240  # ResNet50 for one channel and 10 classes; weights and momentum, three times
    for free, enough in ((needed - 1, False), (needed, True)):
        monkeypatch.setattr(shutil, "disk_usage", lambda folder, free=free: SimpleNamespace(free=free))
        if enough:
            train.require_trainable(replace(job, jobs=1), [spec])
            continue
        with pytest.raises(UserError, match=r"runs has 538 MiB of free space, and 538 MiB are needed") as error:
            train.require_trainable(replace(job, jobs=1), [spec])
        assert error.value.exit_code == 3
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write to .*file"):
        train.require_trainable(replace(job, results=tmp_path / "file"), [spec])


def test_a_disk_that_fills_up_while_training_keeps_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(SHORT, tmp_path / "whole", tmp_path)
    save = torch.save

    def full(state: dict, path: Path) -> None:
        if state["step"] == 16:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(state, path)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(UserError, match=r"cannot write .*No space left"):
        run(SHORT, tmp_path / "runs", tmp_path)
    assert saved_state.newest_step(tmp_path / "runs" / SHORT.name) == 8
    monkeypatch.setattr(torch, "save", save)
    assert without_time(run(SHORT, tmp_path / "runs", tmp_path)) == without_time(whole)


def test_a_layer_without_weights_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    spec = replace(SHORT, method_args={"s_init": 5.0}, weight_decay=0.0)  # thresholds of 0.99
    result = run(spec, tmp_path, tmp_path, report=lambda event: said.append(event.get("text", "")))
    empty = [layer.layer for layer in result.layers if layer.sparsity_pct == 100.0]
    assert empty and result.result.empty_layers == empty
    (warning,) = (text for text in said if text.startswith("warning"))
    assert all(name in warning for name in empty)


def test_a_clock_that_jumps_changes_no_duration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count(1e9, -86_400.0)  # back by a day whenever it is read
    monkeypatch.setattr(time, "time", lambda: next(clock))
    assert 0.0 < run(SHORT, tmp_path, tmp_path).result.seconds < 600.0


@pytest.mark.parametrize("signum, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 138)])
def test_the_exit_code_names_the_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], signum: int, code: int
) -> None:
    from paper_repro.runs import launch

    class Stopped(launch.Launch):
        def train(self, specs: list[Spec]) -> dict[str, str]:
            with on_stop_signals(self._forward):
                os.kill(os.getpid(), signum)
            return {spec.name: "stopped" for spec in specs}

    monkeypatch.setattr(launch, "Launch", Stopped)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["paper-repro", "run", "resnet50", "dense"])
    with pytest.raises(SystemExit) as done:
        cli.main()
    assert done.value.code == code and "the same command goes on from there" in capsys.readouterr().err


def test_benchmarks_are_compared_within_one_run_alone() -> None:
    """There is no stored baseline, and so none of another machine."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pytest"]["ini_options"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for words in ("benchmark-compare", "benchmark-save", "benchmark-autosave"):
        assert words not in " ".join(settings["addopts"]) + makefile
    assert ".benchmarks" in (ROOT / ".gitignore").read_text(encoding="utf-8")
