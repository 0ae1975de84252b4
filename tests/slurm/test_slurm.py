"""On a real SLURM, with made-up nodes and GPUs: arrays, and every way in which a task is stopped and goes on.

However it was stopped, a run ends with the network and the record of one that was not.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from paper_repro import cli, tables
from paper_repro.record import FILE
from paper_repro.terminal import Console
from paper_repro.training import saved_state
from tests.slurm import daemons
from tests.slurm.command import COMMAND, ROWS, set_up, specs

ROOT = Path(__file__).parents[2]
NAMES = {row.id: spec.name for row, spec in specs(tables.load("resnet50"), "smoke", [0])}
SITE = {"partition": "normal", "gres": "gpu:made_up", "gpus_per_node": 1, "cpus_per_gpu": 1, "time": "00:30:00"}
SLOW = 0.15  # seconds for each of 72 steps
PATIENCE_S = 300.0  # on a machine that does much else

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(daemons.missing()), reason=daemons.missing() or "SLURM is here"),
]


@dataclass
class Cluster:
    """SLURM, and the runs of a test in a folder of their own."""

    slurm: daemons.Slurm
    folder: Path
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def call(self, verb: str, *arguments: str) -> str:
        """What the command line says."""
        command = [verb, "resnet50", "--runs", str(self.folder / "runs"), *arguments]
        if verb != "status":
            command += ["--results", str(self.folder / "results")]
        assert cli.cli.main([*command, "--data-root", str(self.folder)], standalone_mode=False) == 0
        return self.capsys.readouterr().out

    def submit(self, *rows: str, seconds_per_step: float = 0.0, gpus: int = 1, **site: object) -> str:
        """Queue these rows; what is said."""
        settings = self.folder / "cluster.toml"
        settings.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in {**SITE, **site}.items()))
        self.monkeypatch.setenv("SECONDS_PER_STEP", str(seconds_per_step))
        return self.call("submit", "--rows", ",".join(rows), "--site", str(settings), "--gpus", str(gpus))

    def status(self, *rows: str) -> dict[str, str]:
        """Row -> what is said of it."""
        lines = self.call("status", "--rows", ",".join(rows)).splitlines()
        return {text.split()[0]: text.partition("  s0  ")[2] for text in lines if text.split()[0] in rows}

    def run(self, row: str) -> Path:
        return self.folder / "runs" / NAMES[row]

    def step(self, row: str) -> int:
        """The last step that was heard of."""
        heard = json.loads(self.read(self.run(row) / "progress.json") or "{}")
        return heard.get("step", 0)

    def read(self, file: Path) -> str:
        return file.read_text() if file.exists() else ""

    def log(self, task: int = 0) -> str:
        return "".join(self.read(file) for file in sorted((self.folder / "runs" / "slurm").glob(f"*/{task}.log")))

    def tasks(self) -> list[list[str]]:
        """State and restarts of every task in the queue, by number."""
        said = self.slurm.ask("squeue", "-h", "-r", "-O", "ArrayTaskID:9,State:20,RestartCnt:9,NodeList:20")
        return sorted(text.split() for text in said.splitlines())

    def wait(self, condition: Callable[[], bool], otherwise: str) -> None:
        self.slurm.wait_for(condition, otherwise + self.log(), PATIENCE_S)

    def wait_for_step(self, row: str, step: int = 2) -> None:
        self.wait(lambda: self.step(row) >= step, f"{row} does not train")

    def wait_for_end(self, *rows: str) -> None:
        self.wait(lambda: all((self.run(row) / FILE).exists() for row in rows), f"{rows} did not end")
        self.wait(lambda: not self.tasks(), "the queue is not empty")


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[daemons.Slurm]:
    try:
        with daemons.running(tmp_path_factory.mktemp("slurm"), nodes=2) as slurm:
            yield slurm
    except TimeoutError as error:
        pytest.skip(f"SLURM's daemons do not start here: {error}")
    assert slurm.processes() == []


@pytest.fixture
def cluster(
    slurm: daemons.Slurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Cluster]:
    set_up(monkeypatch)
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for name in ("SLURM_CONF", "PATH"):
        monkeypatch.setenv(name, slurm.environment[name])
    monkeypatch.setattr(cli, "console", Console(width=4000))
    yield Cluster(slurm, tmp_path, monkeypatch, capsys)
    slurm.cancel()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the last row's run, trained on this machine in one go."""
    folder = tmp_path_factory.mktemp("undisturbed")
    command = [sys.executable, *COMMAND, "run", "resnet50", ROWS[-1], "--runs", str(folder / "runs")]
    command += ["--results", str(folder / "results"), "--data-root", str(folder)]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True, capture_output=True)
    return folder / "runs" / NAMES[ROWS[-1]]


def number(said: str) -> str:
    """Of the job that was queued."""
    return said.partition("queued as job ")[2].split(";")[0]


def same(run: Path, other: Path) -> bool:
    """Whether both ended with the same network, bit by bit, and the same record of all that was measured."""
    records = [json.loads((folder / FILE).read_text()) for folder in (run, other)]
    assert all(record["result"].pop("seconds") and record.pop("provenance") for record in records)
    weights = [(folder / "model.safetensors").read_bytes() for folder in (run, other)]
    return records[0] == records[1] and weights[0] == weights[1]


def test_an_array_of_four_two_at_a_time(cluster: Cluster) -> None:
    """Queued once, however often it is submitted; followed while it trains; collected when it has."""
    said = cluster.submit(*ROWS, at_once=2, seconds_per_step=0.05)
    assert "4 to queue, 0 are queued or at work already" in said
    cluster.wait(lambda: "RUNNING" in str(cluster.tasks()), "nothing starts")
    assert "0 to queue, 4 are queued or at work already" in cluster.submit(*ROWS)
    assert sorted(state for _, state, *_ in cluster.tasks()) == ["PENDING"] * 2 + ["RUNNING"] * 2
    cluster.wait_for_step(ROWS[0])
    said = cluster.status(*ROWS)
    assert "running on n" in said[ROWS[0]] and "loss" in said[ROWS[0]] and "h left" in said[ROWS[0]]
    assert "queued (" in said[ROWS[3]] and "JobArrayTaskLimit" in said[ROWS[3]]
    most = 0
    while tasks := cluster.tasks():
        most = max(most, sum(state == "RUNNING" for _, state, *_ in tasks))
    cluster.wait_for_end(*ROWS)
    assert most == 2
    assert all(text.startswith("finished: ") and "top-1" in text for text in cluster.status(*ROWS).values())
    assert "0 to queue" in cluster.submit(*ROWS)
    lines = (cluster.folder / "results" / "resnet50" / "smoke.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines[1:]] == list(ROWS)


def test_stopped_in_every_way_it_ends_as_if_it_had_not_been(cluster: Cluster, undisturbed: Path) -> None:
    row = ROWS[-1]
    said = cluster.submit(row, seconds_per_step=SLOW)

    # preempted, it saves its state, and SLURM queues it again
    cluster.wait_for_step(row, 2)
    cluster.slurm.ask("sbatch", "-p", "urgent", "-N2", "--ntasks-per-node=2", "-o", "/dev/null", "--wrap", "sleep 1")
    cluster.wait(lambda: ["0", "PENDING", "1"] in [task[:3] for task in cluster.tasks()], "it was not preempted")
    step = saved_state.newest_step(cluster.run(row))
    assert step and step < 24  # the end of its first epoch
    assert cluster.status(row)[row].startswith("waiting for requeue (")

    # its process is killed, as the system does when memory runs out, and the task queues itself again
    cluster.wait_for_step(row, 26)
    os.kill(int((cluster.run(row) / "owner").read_text().split()[1]), signal.SIGKILL)
    cluster.wait(lambda: "queued again" in cluster.log(), "it was not queued again")

    # its node goes down, and it goes on on the other one
    cluster.wait(lambda: "resumed at step 24 of 72" in cluster.log(), "it did not go on")
    cluster.wait_for_step(row, 26)
    ((*_, node),) = cluster.tasks()
    cluster.slurm.ask("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test")
    cluster.wait(lambda: ["0", "RUNNING", "3"] in [task[:3] for task in cluster.tasks()], "it was not queued again")
    ((*_, other),) = cluster.tasks()
    assert {node, other} == {"n1", "n2"}
    cluster.slurm.ask("scontrol", "update", f"NodeName={node}", "State=RESUME")

    # cancelled, it saves its state, and is not queued again before somebody does
    cluster.wait_for_step(row, 40)
    cluster.slurm.ask("scancel", number(said))
    cluster.wait(lambda: not cluster.tasks(), "it is not gone")
    step = saved_state.newest_step(cluster.run(row))
    assert step and 40 <= step < 48 and f"stopped, saved at step {step}" in cluster.status(row)[row]
    assert "1 to queue" in cluster.submit(row, seconds_per_step=SLOW)

    # all of the task is killed: nobody is left to queue it again, and that is said
    cluster.wait_for_step(row, 50)
    cluster.slurm.ask("scancel", "--signal=KILL", "--full", "--user", str(os.getuid()))
    cluster.wait(lambda: not cluster.tasks(), "it is not gone")
    text = cluster.status(row)[row]
    saved = re.match(r"stopped, saved at step (\d+);.*0\.log", text)
    assert saved and 48 <= int(saved[1]) < 72, text  # a process that SLURM has overlooked saves its state, and ends
    assert "1 to queue" in cluster.submit(row)

    cluster.wait_for_end(row)
    assert same(cluster.run(row), undisturbed)


def test_at_its_time_limit_it_is_queued_again(cluster: Cluster, undisturbed: Path) -> None:
    """However long it takes to start here: the limit is set when it trains, and SLURM, which looks every half minute,
    sends the signal at once. Only the first start is slow.
    """
    row, began = ROWS[-1], time.monotonic()
    quicker = 'if [ "$SLURM_RESTART_COUNT" ]; then export SECONDS_PER_STEP=0; fi'
    said = cluster.submit(row, seconds_per_step=1.0, signal_s=200, setup=[quicker])
    cluster.wait_for_step(row)
    minutes = int((time.monotonic() - began) / 60) + 2
    cluster.slurm.ask("scontrol", "update", f"JobId={number(said)}", f"TimeLimit={minutes}")
    cluster.wait(lambda: "queued again" in cluster.log(), "it was not queued again")
    cluster.slurm.ask("scontrol", "update", f"JobId={number(said)}", "TimeLimit=30")
    cluster.wait_for_end(row)
    assert "resumed at step" in cluster.log() and same(cluster.run(row), undisturbed)


def test_a_run_that_fails_for_a_reason_of_its_own_is_not_queued_again(cluster: Cluster) -> None:
    row = ROWS[-1]
    cluster.run(row).mkdir(parents=True)
    (cluster.run(row) / saved_state.INDEX).write_text('[{"file": "step-0000024.pt", "sha256": "", "step": 24}]')
    cluster.submit(row)
    cluster.wait(lambda: not cluster.tasks(), "it is not gone")
    assert "not queued again: exit code 1" in cluster.log()
    said = cluster.status(row)[row]
    assert said.startswith("failed: every checkpoint in ") and "0.log" in said


def test_two_nodes_train_one_run(cluster: Cluster) -> None:
    row = ROWS[-1]
    cluster.submit(row, gpus=2, setup=["export GLOO_SOCKET_IFNAME=lo MASTER_ADDR=127.0.0.1"], seconds_per_step=0.05)
    cluster.wait_for_end(row)
    record = json.loads((cluster.run(row) / FILE).read_text())
    assert record["provenance"]["processes"] == 2
