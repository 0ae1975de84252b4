"""Several processes, started by torchrun (gloo), do what one does; and no fault of one leaves the others waiting."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from paper_repro.errors import UserError
from paper_repro.runs import launch
from paper_repro.spec import Spec
from paper_repro.training import distributed, saved_state
from tests.runs.test_launch import ROOT, WORKER, result
from tests.training import tiny_group
from tests.training.tiny import SPEC

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone")


# -- the same as one process -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return tiny_group.measure(distributed.ONE_PROCESS, tmp_path_factory.mktemp("one"))


@pytest.fixture(scope="module", params=[2, 3])
def group(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each process of a group says."""
    runs = tmp_path_factory.mktemp("group")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RUNS": str(runs), "OMP_NUM_THREADS": "1"}
    environment |= {"GLOO_SOCKET_IFNAME": "lo"}
    command = [*TORCHRUN, f"--nproc-per-node={request.param}", "-m", "tests.training.tiny_group"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads((runs / f"said-{rank}.json").read_text()) for rank in range(request.param)]


def flat(values: Any) -> list[float]:
    return [number for value in values for number in flat(value)] if isinstance(values, list) else [values]


@pytest.mark.slow
def test_every_image_is_counted_once(one: dict[str, Any], group: list[dict[str, Any]]) -> None:
    assert one["served"] == 40
    for said in group:
        assert said["served"] == 40
        assert said["evaluated"][0] == one["evaluated"][0]
        assert said["evaluated"][1] == pytest.approx(one["evaluated"][1], rel=1e-5)


@pytest.mark.slow
def test_processes_agree_on_what_one_of_them_has(group: list[dict[str, Any]]) -> None:
    """A signal may have reached one process alone."""
    last = len(group) - 1
    assert all(said["largest"] == [last, 0] and said["total"] == [last * (last + 1) / 2] for said in group)


@pytest.mark.slow
@pytest.mark.parametrize("step", [0, 1])  # a whole batch, and the last of an epoch, whose shares differ in size
def test_gradients_are_those_of_one_process(one: dict[str, Any], group: list[dict[str, Any]], step: int) -> None:
    expected = flat(one["gradients"][step])
    assert max(map(abs, expected)) > 1e-3
    for said in group:
        assert flat(said["gradients"][step]) == pytest.approx(expected, rel=1e-3, abs=1e-5 if step == 0 else 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("spec", tiny_group.NETWORKS, ids=["plain", "clipped", "adam"])
def test_weights_and_results_are_those_of_one_process(one: dict[str, Any], group: list[dict[str, Any]], spec) -> None:
    expected = one[spec.name]
    for said in group:
        assert said[spec.name]["weights"] == group[0][spec.name]["weights"]  # to the bit, among themselves
        for name, value in expected["weights"].items():
            assert flat(said[spec.name]["weights"][name]) == pytest.approx(flat(value), rel=1e-3, abs=1e-4), name
        values, wanted = said[spec.name]["result"], expected["result"]
        assert values["top1_pct"] == wanted["top1_pct"]
        assert values["sparsity_pct"] == pytest.approx(wanted["sparsity_pct"], abs=0.5) and values["sparsity_pct"] > 1
        losses = [[item["train_loss"] for item in run["history"]] for run in (said[spec.name], expected)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-3)
        assert said[spec.name]["provenance"]["processes"] == len(group)


# -- faults ----------------------------------------------------------------------------------------------------------


class Trained(NamedTuple):
    """What was heard of a training by several processes, and how it ended."""

    events: list[Mapping[str, Any]]
    failure: str
    signum: int | None
    seconds: float  # from the last sign of training to the end


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Trained]:
    """Train the tiny spec by the launcher. ``signum`` is sent to this process, which the launcher is of, at the second
    record.
    """
    monkeypatch.setattr(launch, "WORKER", WORKER)
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))

    def run(runs: Path, processes: int = 2, signum: int | None = None, **environment: str) -> Trained:
        events: list[Mapping[str, Any]] = []
        last = time.monotonic()

        def heard(_spec: Spec, event: Mapping[str, Any]) -> None:
            nonlocal last
            events.append(event)
            if event["event"] in ("progress", "epoch", "start"):
                last = time.monotonic()
            if event["event"] == "progress" and sum(one["event"] == "progress" for one in events) == 2 and signum:
                os.kill(os.getpid(), signum)

        work = launch.Launch(runs, Path(), {}, heard, 1, processes=processes)
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            failures = work.train([SPEC])
        return Trained(events, " ".join(failures.values()), work.signum, time.monotonic() - last)

    return run


@pytest.mark.slow
def test_a_run_that_lost_processes_again_and_again_ends_as_if_it_had_not(
    train: Callable[..., Trained], tmp_path: Path
) -> None:
    """Killed, hung, stopped by a signal: each time all processes are gone within a minute, and the next command goes
    on. In the end everything is as in one go.
    """
    runs = tmp_path / "runs"
    folder = runs / SPEC.name
    killed = train(runs, KILL_AT_STEP="30")
    # said by the process that is left, or by the launcher, whichever notices first
    who, said = killed.failure.split(" died; ")
    assert who in ("another process of this run", "the training processes") and killed.seconds < 60
    assert said == "the same command goes on from the last checkpoint"
    assert saved_state.newest_step(folder) == 24

    hung = train(runs, HANG_AT_STEP="40")
    assert any(event.get("text") == "resumed at step 24 of 72" for event in hung.events)
    assert "hangs" in hung.failure and distributed.PATIENCE in hung.failure
    assert distributed.PATIENCE_S <= hung.seconds < 60
    assert saved_state.newest_step(folder) == 24

    stopped = train(runs, signum=signal.SIGUSR1, SECONDS_PER_STEP="0.2")
    assert stopped.signum == signal.SIGUSR1 and "stopped; the same command" in stopped.failure
    stopped_at = saved_state.newest_step(folder)
    assert stopped_at is not None and 24 < stopped_at < 72

    ended = train(runs)
    assert any(event.get("text") == f"resumed at step {stopped_at} of 72" for event in ended.events)
    assert ended.failure == "" and train(tmp_path / "whole").failure == ""
    resumed, whole = result(tmp_path, SPEC), json.loads((tmp_path / "whole" / SPEC.name / "result.json").read_text())
    assert resumed["result"].pop("seconds") and whole["result"].pop("seconds")
    assert resumed == whole


@pytest.mark.slow
def test_an_error_of_all_processes_is_said_once(train: Callable[..., Trained], tmp_path: Path) -> None:
    """Three processes cannot share a batch of 4."""
    assert "cannot be shared equally by 3 processes" in train(tmp_path, processes=3).failure


def test_too_few_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed.torch.cuda, "device_count", lambda: 2)
    distributed.require_gpus(2)
    with pytest.raises(UserError, match="this machine has 2; ask for at most 2"):
        distributed.require_gpus(4)
    monkeypatch.setattr(distributed.torch.cuda, "device_count", lambda: 0)
    distributed.require_gpus(4)


def test_patience_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(distributed.PATIENCE, "60")
    assert distributed.patience_s() == 60.0
    monkeypatch.setenv(distributed.PATIENCE, "a minute")
    with pytest.raises(UserError, match="is a number of seconds"):
        distributed.patience_s()


def test_errors_of_a_lost_partner_are_told_from_others() -> None:
    lost, waited = "Connection closed by peer [127.0.0.1]:1234", "Timed out waiting 20000ms for recv operation"
    assert distributed.explanation(RuntimeError(lost)) == (distributed.explanation(RuntimeError(lost))[0], True)
    assert "hangs" in distributed.explanation(RuntimeError(waited))[0]
    assert distributed.explanation(ValueError("no")) == ("ValueError: no", False)


def test_a_process_that_noticed_ends_the_others_of_its_machine_alone() -> None:
    with subprocess.Popen(["sleep", "60"]) as other, subprocess.Popen(["sleep", "60"]) as elsewhere:
        try:
            group, here = distributed.Processes(), os.uname().nodename
            group.pids = [(here, os.getpid()), (here, other.pid), ("another machine", elsewhere.pid)]
            group.end_others()
            assert other.wait(10) == -signal.SIGKILL and elsewhere.poll() is None
            group.end_others()  # it is gone already, and nothing is raised
        finally:
            other.kill()
            elsewhere.kill()


def test_several_processes_are_started_by_torchrun() -> None:
    work = launch.Launch(Path(), Path(), {}, lambda spec, event: None, 1, processes=4)
    assert work.command()[1:3] == ["-m", "torch.distributed.run"] and "--nproc-per-node=4" in work.command()
    assert launch.Launch(Path(), Path(), {}, lambda spec, event: None, 1).command() == list(launch.WORKER)


def test_on_several_nodes_each_starts_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    task = {"SLURM_STEP_NUM_NODES": "2", "SLURM_NODEID": "1", "MASTER_ADDR": "n7", "MASTER_PORT": "20017"}
    for name, value in task.items():
        monkeypatch.setenv(name, value)
    words = launch.Launch(Path(), Path(), {}, lambda spec, event: None, 1, processes=8).command()
    assert {"--nnodes=2", "--node-rank=1", "--master-addr=n7", "--master-port=20017", "--nproc-per-node=4"} <= set(
        words
    )
    assert "--standalone" not in words
    monkeypatch.setattr(distributed.torch.cuda, "device_count", lambda: 4)
    distributed.require_gpus(8)
    monkeypatch.delenv("MASTER_ADDR")  # no task of ours
    with pytest.raises(UserError, match="this machine has 4"):
        distributed.require_gpus(8)
