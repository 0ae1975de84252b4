"""What is planned and looked for before a job trains, and how its runs are started."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from paper_repro import tables
from paper_repro.errors import UserError
from paper_repro.interchange.networks import parameter_count
from paper_repro.runs import cost, launch
from paper_repro.runs.cost import Cost, Rate
from paper_repro.spec import Spec
from paper_repro.terminal import Console
from paper_repro.training import distributed, saved_state
from paper_repro.training.forecast import steps_per_epoch
from paper_repro.training.optimizer import values_each
from paper_repro.workflows import reproduce, train
from paper_repro.workflows.job import Job
from paper_repro.workflows.plan import disk_mb, show_plan, state, what_it_takes
from paper_repro.workflows.train import costs, require_trainable, side_by_side, train_named, unfinished
from tests.made_up_record import finished, leave
from tests.training.tiny import SPEC

SPECS = [replace(SPEC, seed=seed) for seed in range(3)]


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job("resnet50", rows=("dense", "gmp-80"), runs=tmp_path / "runs", results=tmp_path / "results")


def test_a_job_that_names_no_row_trains_the_headline_rows() -> None:
    headline = tables.load("resnet50").tier("smoke").headline
    asked = {row.id for row, _ in Job("resnet50").specs()}
    assert asked == set(headline) and "dense" in asked
    everything = {row.id for row, _ in Job("resnet50", rows=("all",)).specs()}
    assert everything == set(tables.load("resnet50").tier("smoke").rows) > asked
    assert {row.id for row, _ in Job("resnet50", rows=("rigl-90", "dense")).specs()} == {"rigl-90", "dense"}
    assert {row.method for row, _ in Job("resnet50", method="rigl").specs()} == {"rigl"}  # all of a method's rows
    assert {row.id for row, _ in Job("transfer").specs()} == set(tables.load("transfer").tier("smoke").rows)


@pytest.fixture
def made_up_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "rate_of", lambda spec: Rate(1.0, "GPU", "made up"))


@pytest.mark.parametrize(
    "gpus, spec, message",
    [
        (8, SPEC, "this machine has 7; ask for at most 7"),
        (3, SPEC, "batch of 4 examples cannot be shared equally by 3 processes"),
        (7, replace(SPEC, batch_size=7), "has 3 of 60,000 examples, fewer than there are processes"),
        (1, replace(SPEC, loader="ffcv"), "leave --loader out"),
    ],
)
def test_what_cannot_be_trained_is_refused_at_once(
    job: Job, monkeypatch: pytest.MonkeyPatch, gpus: int, spec: Spec, message: str
) -> None:
    monkeypatch.setattr(distributed.torch.cuda, "device_count", lambda: 7)
    require_trainable(job, [SPEC])
    with pytest.raises(UserError, match=message):
        require_trainable(replace(job, gpus=gpus), [spec])


def test_there_is_room_for_all_that_are_trained_at_once(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    each = saved_state.room_bytes(parameter_count(SPEC), values_each(SPEC))
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=2.5 * each))
    require_trainable(replace(job, jobs=2), SPECS)
    require_trainable(replace(job, jobs=3), SPECS[:2])
    with pytest.raises(UserError, match="of free space"):
        require_trainable(replace(job, jobs=3), SPECS)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=each))
    require_trainable(job, [SPEC])
    with pytest.raises(UserError, match="of free space"):
        require_trainable(job, [replace(SPEC, optimizer="adam")])


def test_runs_side_by_side(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as the machine takes, or the job says; never more than there are, and one alone on several GPUs."""
    monkeypatch.setattr(launch, "side_by_side", lambda specs: 2)
    assert [side_by_side(job, SPECS[:count]) for count in (1, 2, 3)] == [1, 2, 2]
    assert side_by_side(replace(job, jobs=1), SPECS) == 1
    assert side_by_side(replace(job, jobs=9), SPECS) == 3
    assert side_by_side(replace(job, jobs=9, gpus=2), SPECS) == 1


def test_the_processes_of_a_job_train_each_of_its_runs(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[int, int]] = []

    class Started(launch.Launch):
        def train(self, specs: Sequence[Spec]) -> dict[str, Any]:
            started.append((self.jobs, self.count))
            return {specs[0].name: "it failed"}

    monkeypatch.setattr(launch, "Launch", Started)
    todo = {f"dense s{spec.seed}": spec for spec in SPECS}
    assert train_named(todo, replace(job, gpus=4), Console(quiet=True)) == {"dense s0": "it failed"}
    train_named(todo, replace(job, jobs=2), Console(quiet=True))
    assert started == [(1, 4), (2, 1)]


@pytest.mark.parametrize("ask", [show_plan, unfinished])
def test_options_that_mean_nothing_are_refused_by_the_plan_and_by_the_run(job: Job, made_up_rate: None, ask) -> None:
    with pytest.raises(UserError, match="leave --loader out"):
        ask(replace(job, options="loader=ffcv"), Console(quiet=True))


def test_the_plan_has_the_disk_of_what_is_trained_at_once(job: Job, made_up_rate: None) -> None:
    sizes, done = (5.0, 30.0, 10.0, 20.0), (0.0, 1.0, 0.0, 0.5)
    specs = [replace(SPEC, seed=seed) for seed in range(4)]
    prices = {
        spec.name: Cost(1, size, 1.0, share, Rate(1.0, "core", "made up"))
        for spec, size, share in zip(specs, sizes, done, strict=True)
    }
    data, checkpoints_mb = disk_mb(specs, prices, jobs=2)
    assert list(data) == ["Fashion-MNIST"] and checkpoints_mb == 30.0
    said = " ".join(what_it_takes(specs, prices, jobs=2))
    assert "4 core-hours, of which 1.5 are done and 2.5 are to do: about 1.25 hours, 2 side by side" in said


def test_what_is_trained_already_costs_nothing_more(
    job: Job, made_up_rate: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    (_, dense), (_, gmp) = job.specs()
    assert [state(job, spec) for spec in (dense, gmp)] == ["to do", "to do"]
    assert [item.done for item in costs(job).values()] == [0.0, 0.0]
    leave(job.runs, dense, finished(dense))
    half = steps_per_epoch(gmp) * gmp.epochs // 2
    saved_state.save(job.runs / gmp.name, half, {})
    found = costs(job)
    assert [found[spec.name].done for spec in (dense, gmp)] == [1.0, pytest.approx(0.5, abs=0.01)]
    assert [state(job, spec) for spec in (dense, gmp)] == ["finished", f"stopped at step {half:,}"]
    limit = sum(item.hours_to_do for item in found.values())
    monkeypatch.setattr(train, "require_trainable", lambda *_: None)
    with pytest.raises(UserError, match="the 1 runs to do take about"):
        unfinished(replace(job, max_gpu_hours=0.99 * limit), Console(quiet=True))


@pytest.mark.parametrize("sound", [True, False])
def test_runs_that_failed_are_listed_whatever_the_audit_says(
    job: Job, sound: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reproduce, "unfinished", lambda job, console: ([], {"ImageNet-1K": "its rows were left out"}))
    monkeypatch.setattr(reproduce, "write_audit", lambda job, console: sound)
    monkeypatch.setattr(reproduce, "train", lambda job, todo, console: {"gmp-80 s0": "an image is broken"})
    monkeypatch.setattr(reproduce, "collect", lambda job: None)
    monkeypatch.setattr(reproduce, "show", lambda job, console: None)
    assert reproduce.reproduce(job, Console(width=200)) == 1
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "FAILED  ImageNet-1K: its rows were left out",
        "FAILED  gmp-80 s0: an image is broken",
    ]
