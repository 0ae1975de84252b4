"""``make gpu-check``: its pieces, what it keeps of them, and all of it on a CPU."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from paper_repro import checks
from paper_repro.errors import UserError
from paper_repro.evidence import results
from paper_repro.evidence.lines import SpeedLine
from paper_repro.workflows.job import Job
from tests import gpu_check
from tests.benchmarks import kept

LINE = SpeedLine(
    device="A100", what="step", compared="str / dense", ratio=1.01, at_most=1.02, rounds=7, seconds=1.5,
    commit="abc", dirty="false", torch="2", cpu="made up",
)  # fmt: skip
LATER, PAST = 600.0, -1.0


def other(**values: object) -> SpeedLine:
    return LINE.model_copy(update=values)


def test_a_piece_that_is_done_is_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_check, "PYTEST", (sys.executable, "-c"))
    good, bad = "print('well')", "raise SystemExit('badly')"

    def ran(code: str, seconds: float = LATER, fresh: bool = False) -> str:
        return gpu_check.piece(tmp_path / "piece", (code,), time.monotonic() + seconds, fresh, on_cpu=False)

    log = tmp_path / "piece.log"
    assert ran(good, PAST) == gpu_check.CUT and not log.exists()
    assert ran(bad) == f"FAILED (see {log})" and log.read_text(encoding="utf-8") == "badly\n"
    assert ran(good) == gpu_check.DONE
    assert ran(bad) == gpu_check.DONE  # it was not run
    assert ran(bad, fresh=True).startswith("FAILED") and ran(good) == gpu_check.DONE


def test_what_takes_too_long_is_stopped(tmp_path: Path) -> None:
    began = time.monotonic()
    assert gpu_check.ended([sys.executable, "-c", "import time; time.sleep(600)"], began + 0.2) is None
    assert time.monotonic() - began < gpu_check.STOPPING_S + 10
    assert gpu_check.ended([sys.executable, "-c", "raise SystemExit(3)"], began + LATER) == 3
    job = Job("resnet50", "small", data_root=tmp_path, runs=tmp_path / "runs", results=tmp_path / "results")
    assert gpu_check.grid(job, time.monotonic() - 1).startswith("not finished; 0 of ")
    assert not list(tmp_path.iterdir())


def test_figures_of_a_gpu_replace_its_own_and_no_others(tmp_path: Path) -> None:
    file = tmp_path / "speed.csv"
    kept.keep([LINE, other(what="wait", ratio=1.5), other(device="H100")], file)
    kept.keep([other(ratio=1.03)], file)
    lines = {(line.device, line.what): line for line in results.read_lines(file, SpeedLine)}
    assert {at: (line.ratio, line.met) for at, line in lines.items()} == {
        ("A100", "step"): (1.03, False),
        ("A100", "wait"): (1.5, False),
        ("H100", "step"): (1.01, True),
    }
    first, second = checks.speed_figures(checks.Committed(tmp_path))
    assert first[0] == second[0] == "OK" and second[1].endswith("1 figures of H100; goals missed: none")
    assert "goals missed: step: str / dense is 1.030; wait: str / dense is 1.500" in first[1]
    kept.keep([other(dirty="true")], file)
    assert [status for status, _ in checks.speed_figures(checks.Committed(tmp_path))] == ["FAIL", "OK", "OK"]
    file.write_text(file.read_text(encoding="utf-8").replace("1.0100", "fast"), encoding="utf-8")
    with pytest.raises(UserError, match=r"speed\.csv, line 2, column 'ratio'"):
        list(checks.speed_figures(checks.Committed(tmp_path)))


@pytest.mark.parametrize(("dirty", "count"), [("false", 1), ("true", 0)])
def test_bench_keeps_what_a_commit_timed(
    dirty: str, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def timing(command: Sequence[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        assert command[-2:] == ["-k", "full and [str]"]
        (measured,) = (item.partition("=")[2] for item in command if item.startswith("--benchmark-json="))
        info = {"label": "str", "beside": "dense", "ratio": 1.02, "low": 1.01, "high": None, "at_most": 1.1}
        one = {"group": "step", "extra_info": info, "stats": {"rounds": 7, "median": 9.0}}
        Path(measured).write_text(json.dumps({"benchmarks": [one]}), encoding="utf-8")
        return subprocess.CompletedProcess(command, 0)

    made_by = {"device": "cpu", "commit": "abc", "dirty": dirty, "torch": "2", "cpu": "slow"}
    monkeypatch.setattr(kept, "provenance", lambda device: made_by)
    monkeypatch.setattr(kept.subprocess, "run", timing)
    assert CliRunner().invoke(kept.main, ["--results", str(tmp_path), "-k", "full and [str]"]).exit_code == 0
    file = tmp_path / "speed.csv"
    lines: list[SpeedLine] = results.read_lines(file, SpeedLine) if file.exists() else []
    assert [(line.device, line.compared, line.ratio, line.high) for line in lines] == [
        ("slow", "str / dense", 1.02, None)
    ] * count


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    made_by = {"device": "made up", "commit": "abc", "dirty": "false", "torch": "2", "cpu": "slow"}
    monkeypatch.setattr(gpu_check, "provenance", lambda device: made_by)
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)  # the benchmarks that are called are no worker's
    folders = [f"--{name}={tmp_path / name}" for name in ("runs", "results", "data-root")]
    return lambda *options: CliRunner().invoke(gpu_check.main, [*folders, *options])


@pytest.mark.slow
def test_all_of_it_on_a_cpu(call: Callable[..., Result], tmp_path: Path) -> None:
    arguments = ("--on-cpu", "--only", "step-32")
    whole = call(*arguments)
    assert whole.exit_code == 0 and "step-32: done" in whole.output, whole.output
    lines = results.read_lines(tmp_path / "results/speed.csv", SpeedLine)
    assert [(line.device, line.compared, line.at_most, line.rounds) for line in lines] == [
        ("made up", "str / dense", 1.05, 1)
    ] * 2
    shown = {line.split("  ")[0]: line.split()[-1] for line in whole.output.splitlines()}
    assert {shown[line.what] for line in lines} <= {"yes", "NO"} and shown["dali"] == "measured"
    again = call("--on-cpu", "--minutes", "0")
    assert again.exit_code == 0 and "step-32: done" in again.output and "step-256: not finished" in again.output
    assert "tests, step-256, dense, dali, ffcv, folder, fastgrnn, grid: the time was over; the same" in again.output


def test_what_cannot_be_is_said(call: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert "PyTorch finds no GPU here" in call().output
    wrong = call("--on-cpu", "--only", "step-7")
    assert wrong.exit_code == 1 and "unknown piece 'step-7'; there are tests, step-256," in wrong.output
