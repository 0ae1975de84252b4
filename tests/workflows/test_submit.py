"""The verbs submit and status where there is no SLURM, or a made-up one; ``tests/slurm`` has a real one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from paper_repro import tables
from paper_repro.errors import UserError
from paper_repro.runs import journal, slurm
from paper_repro.terminal import Console
from paper_repro.training import saved_state
from paper_repro.workflows import train
from paper_repro.workflows.job import Job
from paper_repro.workflows.status import show_status
from paper_repro.workflows.submit import submit
from tests.made_up_record import finished, leave
from tests.slurm import command
from tests.training.tiny import SPEC

ROWS = command.ROWS


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    """Four tiny runs, on a machine without SLURM."""
    command.set_up(monkeypatch)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return Job("resnet50", rows=("all",), runs=tmp_path / "runs", results=tmp_path / "results", data_root=tmp_path)


@pytest.fixture
def console(capsys: pytest.CaptureFixture[str]) -> Console:
    return Console(width=4000)


def has(tmp_path: Path, name: str, text: str) -> None:
    file = tmp_path / "bin" / name
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)


def has_slurm(tmp_path: Path, *tasks: tuple[object, ...]) -> None:
    """``tasks``: number, state, reason, restarts, and the array's folder."""
    lines = ""
    for number, state, reason, restarts, folder in tasks:
        cells = (12, number, state, reason, restarts, "n1", f"{folder}/{slurm.SCRIPT}")
        lines += "".join(f"{cell:<{width}}" for cell, width in zip(cells, slurm.COLUMNS.values(), strict=True)) + "\n"
    (tmp_path / "queue").write_text(lines)
    has(tmp_path, "squeue", f"while IFS= read -r task; do echo \"$task\"; done <'{tmp_path}/queue'")
    has(tmp_path, "sbatch", "echo '34;cluster'")


def test_without_slurm_it_says_what_to_do_instead(job: Job, console: Console) -> None:
    with pytest.raises(UserError, match=r"no sbatch.*`make run TABLE=resnet50 TIER=smoke` trains the same runs"):
        submit(job, None, False, console)


def test_a_dry_run_prints_the_script_and_queues_nothing(
    job: Job, console: Console, capsys: pytest.CaptureFixture[str]
) -> None:
    assert submit(replace(job, options="autocast=bf16 channels_last=true", gpus=2), None, True, console) == 0
    out = capsys.readouterr().out
    assert "there is no cluster.toml: SLURM's defaults" in out and "#SBATCH --array=0-3\n" in out
    words = "run resnet50 --tier smoke --seeds 1 --gpus 2 --autocast bf16 --channels-last --runs"
    assert words in out and f"--data-root {job.data_root} --only" in out
    assert slurm.arrays(job.runs) == []


def test_what_is_refused_is_refused_before_anything_is_queued(
    job: Job, tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_slurm(tmp_path)
    with pytest.raises(UserError, match="more than the 0 that"):
        submit(replace(job, max_gpu_hours=0.0), None, False, console)
    with pytest.raises(UserError, match="batch of 4 examples cannot be shared equally by 3 processes"):
        submit(replace(job, gpus=3), None, False, console)
    with pytest.raises(UserError, match=r"nowhere\.toml does not exist; it holds the settings of the cluster"):
        submit(job, tmp_path / "nowhere.toml", False, console)
    dense = replace(SPEC, method_args={"s_init": -3200.0})
    monkeypatch.setattr(tables.Table, "specs", lambda table, *_: [(table.row(ROWS[0]), dense)])
    with pytest.raises(UserError, match="would stay dense"):
        submit(job, None, False, console)
    assert slurm.arrays(job.runs) == []


def test_it_does_not_matter_how_many_gpus_this_machine_has(
    job: Job, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    assert submit(replace(job, gpus=2), None, True, console) == 0
    with pytest.raises(UserError, match="this machine has 1"):
        train.unfinished(replace(job, gpus=2), console)


def test_there_is_room_for_all_tasks_that_run_at_once(
    job: Job, tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(train, "require_room", lambda folder, room=0: asked.append(room))
    submit(replace(job, gpus=2), None, True, console)
    (tmp_path / "cluster.toml").write_text("at_once = 2")
    submit(replace(job, gpus=2), None, True, console)
    assert asked[1] == 2 * asked[3] > 0
    for _, spec in job.specs()[1:]:
        leave(job.runs, spec, finished(spec))
    submit(replace(job, gpus=2), None, True, console)  # one run is missing
    (tmp_path / "cluster.toml").unlink()
    submit(replace(job, gpus=2), None, True, console)
    assert asked[5] == asked[7] == asked[3] / 2


def test_what_is_finished_or_queued_is_not_submitted(
    job: Job, tmp_path: Path, console: Console, capsys: pytest.CaptureFixture[str]
) -> None:
    has_slurm(tmp_path)
    pairs = job.specs()
    leave(job.runs, pairs[0][1], finished(pairs[0][1]))
    assert submit(job, None, False, console) == 0
    assert "3 to queue, 0 are" in (out := capsys.readouterr().out) and "queued as job 34" in out
    (array,) = slurm.arrays(job.runs)
    assert array.runs == tuple(spec.name for _, spec in pairs[1:])
    elsewhere = tmp_path / "other" / "runs" / "slurm" / array.folder.name
    has_slurm(tmp_path, (0, "RUNNING", "None", 0, array.folder), (2, "PENDING", "Priority", 0, array.folder),
              (1, "PENDING", "Priority", 0, elsewhere))  # fmt: skip
    assert submit(job, None, True, console) == 0
    out = capsys.readouterr().out
    assert "1 to queue, 2 are" in out and pairs[2][1].name in out and pairs[1][1].name not in out


def test_what_slurm_says_of_a_job_that_it_does_not_take_is_passed_on(
    job: Job, tmp_path: Path, console: Console
) -> None:
    has_slurm(tmp_path)
    has(tmp_path, "sbatch", "echo 'sbatch: error: invalid partition specified: gpuu' >&2; exit 1")
    with pytest.raises(UserError, match="invalid partition specified: gpuu"):
        submit(job, None, False, console)
    assert slurm.arrays(job.runs) == [] and [path.name for path in (job.runs / "slurm").iterdir()] == ["lock"]


def test_a_task_trains_the_one_run_that_is_named(job: Job) -> None:
    name = job.specs()[2][1].name
    assert [row.id for row, _ in replace(job, rows=(), only=name).specs()] == [ROWS[2]]
    with pytest.raises(UserError, match="is called nosuch"):
        replace(job, only="nosuch").specs()


def status(job: Job, console: Console, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    assert show_status(job, console) == 0
    lines = capsys.readouterr().out.splitlines()
    said = {line.split()[0]: line.partition("  s0  ")[2] for line in lines if "  s0  " in line}
    return said | {"first": lines[0], "last": lines[-1]}


PROGRESS = {"event": "progress", "step": 18, "total_steps": 72, "epoch": 0.75, "epochs": 3, "seconds": 9000.0,
            "steps_here": 9, "seconds_here": 1800.0, "train_loss": 1.5, "sparsity_pct": 12.0}  # fmt: skip


def test_without_a_queue_the_runs_speak_for_themselves(
    job: Job, console: Console, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    specs = [spec for _, spec in job.specs()]
    assert set(list(status(job, console, capsys).values())[:4]) == {"to do"}
    leave(job.runs, specs[0], finished(specs[0], top1_pct=88.0, sparsity_pct=80.0))
    journal.note(job.runs / specs[1].name, PROGRESS)
    journal.note(job.runs / specs[2].name, {"event": "failed", "text": "an image is broken", "how": "error"})
    saved_state.save(job.runs / specs[3].name, 24, {})
    journal.note(job.runs / specs[3].name, {"event": "stopped", "text": "stopped"})
    said = status(job, console, capsys)
    assert "there is no SLURM here (no squeue)" in said["first"]
    assert said[ROWS[0]] == "finished: finished: top-1 88.00 %, sparsity 80.00 %"
    running = (
        rf"running on {os.uname().nodename}, outside of the queue: epoch 0\.8/3  loss 1\.500 .*, about 3\.0 h left"
    )
    assert re.match(running, said[ROWS[1]])
    assert said[ROWS[2]] == "failed: an image is broken"
    assert said[ROWS[3]] == "stopped, saved at step 24; `make submit` or `make run` goes on"
    assert said["last"] == "4 runs: 1 finished, 1 running, 1 failed, 1 stopped"


def test_a_run_whose_process_is_gone_is_not_called_running(
    job: Job, console: Console, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed without a word: the last that was heard of it is progress. Of a process elsewhere nobody knows."""
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    spec = job.specs()[0][1]
    journal.note(job.runs / spec.name, PROGRESS)
    saved_state.save(job.runs / spec.name, 24, {})
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    here, owner = os.uname().nodename, job.runs / spec.name / "owner"
    for pid, host, said in (
        (gone.pid, here, "stopped, saved at step 24"),
        (os.getpid(), here, "running on"),
        (gone.pid, "elsewhere", "running on"),
    ):
        owner.write_text(f"pid {pid} on {host}\n", encoding="utf-8")
        assert status(job, console, capsys)[ROWS[0]].startswith(said)


def test_the_queue_says_what_waits_and_what_runs(
    job: Job, tmp_path: Path, console: Console, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    has_slurm(tmp_path)
    submit(job, None, False, console)
    (array,) = slurm.arrays(job.runs)
    specs = [spec for _, spec in job.specs()]
    has_slurm(tmp_path, (0, "RUNNING", "None", 0, array.folder), (1, "PENDING", "BeginTime", 2, array.folder),
              (2, "PENDING", "Resources", 0, array.folder))  # fmt: skip
    saved_state.save(job.runs / specs[1].name, 24, {})
    monkeypatch.setenv("SLURM_JOB_ID", "40")  # what a task notes that has gone since
    journal.note(job.runs / specs[3].name, PROGRESS)
    capsys.readouterr()
    said = status(job, console, capsys)
    assert said[ROWS[0]] == "running on n1 (12_0), nothing heard yet"
    assert said[ROWS[1]] == "waiting for requeue (12_1, BeginTime), saved at step 24"
    assert said[ROWS[2]] == "queued (12_2, Resources)"
    assert said[ROWS[3]].startswith("stopped: nothing is saved yet") and said[ROWS[3]].endswith("/3.log")
    array.starts(specs[3].name).write_text('{"step": 0, "fruitless": 3, "failure": "3 starts in a row"}')
    assert status(job, console, capsys)[ROWS[3]].startswith("failed: 3 starts in a row; log: ")


def test_a_run_that_trains_outside_of_the_queue_is_not_called_failed_for_an_older_task(
    job: Job, tmp_path: Path, console: Console, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    has_slurm(tmp_path)
    submit(job, None, False, console)
    (array,) = slurm.arrays(job.runs)
    folder, starts = job.runs / job.specs()[3][1].name, array.starts(job.specs()[3][1].name)
    starts.write_text('{"step": 0, "fruitless": 3, "failure": "3 starts in a row"}')
    decided_ns = starts.stat().st_mtime_ns
    has_slurm(tmp_path)
    capsys.readouterr()
    for event, later_ns, said in (
        (PROGRESS, -1, "failed: 3 starts in a row"),
        (PROGRESS, 1, "running on "),
        ({"event": "stopped", "text": "stopped"}, 1, "stopped"),
        ({"event": "failed", "text": "an image is broken"}, 1, "failed: an image is broken"),
    ):
        journal.note(folder, event)
        os.utime(folder / journal.FILE, ns=(decided_ns + later_ns, decided_ns + later_ns))
        assert status(job, console, capsys)[ROWS[3]].startswith(said)
