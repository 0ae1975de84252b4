"""Several runs side by side, in real processes: progress, failures that are reported and stay where they are, and
signals.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from paper_repro import tables
from paper_repro.errors import UserError
from paper_repro.runs import journal, launch, worker
from paper_repro.runs.launch import Launch, cores, side_by_side
from paper_repro.training import distributed, guards
from tests.training.tiny import SPEC

ROOT = Path(__file__).parents[2]
WORKER = (sys.executable, "-m", "tests.training.tiny_worker")
GMP = replace(SPEC, method="gmp", method_args={"sparsity_pct": 80.0})


@pytest.fixture(autouse=True)
def tiny_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "WORKER", WORKER)
    monkeypatch.chdir(ROOT)


def start(tmp_path: Path, specs: list, jobs: int = 2) -> tuple[dict, list]:
    events = []
    work = Launch(
        tmp_path / "runs", tmp_path, {"commit": "abc"}, lambda spec, event: events.append((spec.name, event)), jobs
    )
    return work.train(specs), events


def result(tmp_path: Path, spec) -> dict:
    return json.loads((tmp_path / "runs" / spec.name / "result.json").read_text())


def test_two_at_once(tmp_path: Path) -> None:
    failures, events = start(tmp_path, [SPEC, GMP])
    assert failures == {}
    assert result(tmp_path, SPEC)["provenance"]["commit"] == "abc"
    for spec in (SPEC, GMP):
        kinds = [event["event"] for name, event in events if name == spec.name]
        assert kinds[0] == "start" and kinds[-2:] == ["result", "end"] and kinds.count("epoch") == 3
    again, events = start(tmp_path, [SPEC])
    assert again == {} and [event["event"] for _, event in events] == ["result", "end"]  # nothing was trained


def test_a_run_that_dies_is_listed_and_the_others_finish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRASH_AT_STEP", "40")
    failures, events = start(tmp_path, [GMP, SPEC])
    assert list(failures) == [GMP.name] and "the training process died" in failures[GMP.name]
    assert result(tmp_path, SPEC)["result"]["status"] == "finished"
    heard = journal.last(tmp_path / "runs" / GMP.name)
    assert heard and (heard["event"], heard["how"], heard["text"]) == ("failed", "died", failures[GMP.name])
    assert journal.last(tmp_path / "runs" / SPEC.name) is None  # it has its record
    assert (GMP.name, {"event": "failed", "text": failures[GMP.name], "how": "died"}) in events
    monkeypatch.delenv("CRASH_AT_STEP")
    failures, events = start(tmp_path, [GMP])  # it goes on from its last checkpoint
    assert failures == {} and any("resumed at step 24" in event.get("text", "") for _, event in events)


def test_a_run_that_another_process_is_at_keeps_what_was_heard_of_it(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / SPEC.name
    journal.note(folder, {"event": "progress", "step": 7})
    with guards.locked(folder):
        failures, _ = start(tmp_path, [SPEC])
    heard = journal.last(folder)
    assert "is already running (pid" in failures[SPEC.name] and heard and heard["step"] == 7


def test_a_machine_without_a_gpu_says_so_and_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver of the wrong CUDA looks the same to PyTorch: no GPU is available."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "finds no GPU" in launch.where() and "slower" in launch.where()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert start(tmp_path, [SPEC])[0] == {} and result(tmp_path, SPEC)["result"]["status"] == "finished"


def test_a_mistake_is_reported_in_its_own_words(tmp_path: Path) -> None:
    failures, _ = start(tmp_path, [replace(SPEC, method_args={"s_init": -3200.0}), GMP])
    (reason,) = failures.values()
    assert "would stay dense" in reason and result(tmp_path, GMP)["result"]["status"] == "finished"


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_all_with_their_state_saved(tmp_path: Path, signum: int) -> None:
    """It comes once both have trained some steps: on a busy machine one can begin seconds after the other."""
    script = tmp_path / "script.py"
    script.write_text(
        "from pathlib import Path\n"
        "from paper_repro.runs import launch\n"
        "from tests.runs.test_launch import GMP, SPEC, WORKER\n"
        "from dataclasses import replace\n"
        "launch.WORKER = WORKER\n"
        "tell = lambda spec, event: print(spec.name, event['event'], flush=True)\n"
        f"work = launch.Launch(Path({str(tmp_path / 'runs')!r}), Path('.'), {{}}, tell, 2)\n"
        "print(work.train([SPEC, GMP, replace(SPEC, seed=1)]), work.signum)\n"
    )
    environment = {**os.environ, "SECONDS_PER_STEP": "0.5", "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, str(script)], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        lines, began = [], None
        for line in process.stdout:
            lines.append(line)
            if began is None and {f"{spec.name} progress\n" for spec in (SPEC, GMP)} <= set(lines):
                process.send_signal(signum)
                began = time.monotonic()
        process.wait()
    assert time.monotonic() - began < 30
    assert (
        lines[-1].endswith(f"{int(signum)}\n")
        and lines[-1].count("stopped; the same command") == 2
        and "not started" in lines[-1]
    )
    for spec in (SPEC, GMP):
        names = [path.name for path in (tmp_path / "runs" / spec.name).iterdir()]
        assert "checkpoints.json" in names and "result.json" not in names


@pytest.mark.parametrize(("gigabytes", "of_cores", "expected"), [(150, 16, 32), (150, 64, 37), (24, 16, 6), (3, 8, 1)])
def test_as_many_as_a_gpu_holds(monkeypatch: pytest.MonkeyPatch, gigabytes: int, of_cores: int, expected: int) -> None:
    class Gpu:
        total_memory = int(gigabytes * 1e9)

    monkeypatch.setattr(launch, "cores", lambda: of_cores)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: Gpu)
    assert side_by_side([SPEC]) == expected
    assert side_by_side([spec for _, spec in tables.load("resnet50").specs("paper", [0])]) == 1  # 224 px fill it


def test_one_a_core_where_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert side_by_side([SPEC]) == cores()


TALKATIVE = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
for _ in range(2000):
    print('{"event": "progress", "text": "' + 300 * "x" + '"}', flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize(
    ("error", "why"), [(OSError(28, "No space left on device"), "No space left"), (SystemExit(1), "nobody reads it")]
)
def test_when_nothing_can_be_shown_any_more_the_runs_are_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, why: str
) -> None:
    """A run must not wait for ever to tell what nobody takes from it: `make run | head`, a log on a full disk."""
    monkeypatch.setattr(launch, "WORKER", (sys.executable, "-c", TALKATIVE))
    shown: list[str] = []

    def show(_spec: object, event: Mapping[str, Any]) -> None:
        shown.append(event["event"])
        if len(shown) == 2:
            raise error

    work = Launch(tmp_path, tmp_path, {}, show, 1)
    began = time.monotonic()
    with pytest.raises(UserError, match=f"could not be written.*{why}.*goes on from there"):
        work.train([SPEC, GMP])
    assert time.monotonic() - began < 60 and len(shown) == 2 and not work.children
    heard = journal.last(tmp_path / SPEC.name)
    assert heard and heard["event"] == "stopped"


def test_an_error_while_listening_ends_what_is_listened_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "WORKER", (sys.executable, "-c", TALKATIVE))

    def show(_spec: object, _event: object) -> None:
        raise ZeroDivisionError

    began = time.monotonic()
    with pytest.raises(ZeroDivisionError):
        Launch(tmp_path, tmp_path, {}, show, 1).train([SPEC, GMP])
    assert time.monotonic() - began < 60


@pytest.mark.parametrize("content", ["[]", "3", "null", '{"event": "failed"}', "{"])
def test_what_is_no_event_was_not_heard(tmp_path: Path, content: str) -> None:
    (tmp_path / journal.FILE).write_text(content, encoding="utf-8")
    assert journal.last(tmp_path) is None


@pytest.mark.parametrize("own", [False, True])
def test_a_lost_process_is_told_from_a_fault_of_a_plugin(monkeypatch: pytest.MonkeyPatch, own: bool) -> None:
    """Of a run with a plug-in, whatever goes wrong in training comes as a UserError; that a partner died stays what it
    is, so that a cluster queues the run again.
    """
    told: list[dict[str, Any]] = []
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    group = distributed.Processes()
    monkeypatch.setattr(group, "end_others", lambda: ended.append(-1))
    error: Exception = RuntimeError("[gloo] Connection closed by peer [127.0.0.1]:1234")
    if own:
        try:
            raise UserError("net.py: RuntimeError: Connection closed by peer, while it was to train") from error
        except UserError as raised:
            error = raised
    worker.abandon(error, group, told.append)
    assert told[0]["event"] == "lost" and told[0]["text"].startswith("another process of this run died")
    assert ended == [-1, 1]
    worker.abandon(UserError("no such data"), group, told.append)
    assert told[1] == {"event": "error", "text": "no such data"} and ended == [-1, 1, 2]
