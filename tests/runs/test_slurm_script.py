"""The settings of a cluster, and the script of its tasks, which is run here by a shell that finds made-up commands in
place of SLURM's and of training.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from paper_repro.errors import UserError
from paper_repro.runs import journal, requeue, site, slurm
from paper_repro.runs.site import Site
from paper_repro.training import saved_state

ROOT = Path(__file__).parents[2]


def test_the_example_has_every_setting_with_its_default() -> None:
    text = (ROOT / "ci" / "cluster.example.toml").read_text()
    there = [part.partition(" = ") for part in text.splitlines() if part and not part.startswith("#")]
    assert [key for key, _, _ in there] == list(Site.model_fields)
    site.load(ROOT / "ci" / "cluster.example.toml")
    defaults = Site()
    for key, _, value in there:
        said, default = value.partition("# ")[2], getattr(defaults, key)
        assert said.startswith(f'"{default}"' if isinstance(default, str) and default else str(default or "")), key


@pytest.mark.parametrize(
    "text, said",
    [
        ('partitoin = "gpu"', "unknown key 'partitoin'. Did you mean 'partition'"),
        ('time = "1 day"', "key 'time'"),
        ("gpus_per_node = 0", "key 'gpus_per_node': 0 must be greater than or equal to 1"),
        ('account = "my lab"', "key 'account'"),
        ('setup = ["a\\nb"]', "key 'setup.0'"),
        ('sbatch = ["-x node7"]', "key 'sbatch.0'"),
        ("time =", "is not valid TOML"),
    ],
)
def test_what_is_wrong_with_a_setting_is_said_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "cluster.toml").write_text(text)
    with pytest.raises(UserError) as error:
        site.load(tmp_path / "cluster.toml")
    assert said in str(error.value) and "cluster.toml" in str(error.value)


def work(folder: Path, gpus: int = 4, **more: object) -> slurm.Work:
    given = {"title": "resnet50 paper", "names": ["a-s0", "b-s0"], "arguments": ["resnet50"], "gpus": gpus}
    return slurm.Work(**{**given, "runs": folder / "runs", "data_root": folder / "it's data", **more})  # type: ignore[arg-type]


def options(text: str) -> set[str]:
    return {part.removeprefix("#SBATCH --") for part in text.splitlines() if part.startswith("#SBATCH ")}


def test_the_settings_are_options_of_the_job(tmp_path: Path) -> None:
    plain = options(slurm.script(work(tmp_path), Site(), tmp_path))
    assert {"requeue", "array=0-1", "gres=gpu:4", "nodes=1", "cpus-per-task=32", "signal=B:USR1@300"} <= plain
    assert not [option for option in plain if option.startswith(("partition", "account", "qos", "constraint", "mem"))]
    settings = Site(
        partition="p", account="a", qos="q", constraint="c", time="2-00:00:00", signal_s=60, gres="gpu:a100",
        gpus_per_node=4, cpus_per_gpu=6, memory_gb_per_gpu=50, at_once=3, sbatch=["--exclude=n7"],
    )  # fmt: skip
    assert options(slurm.script(work(tmp_path, 8), settings, tmp_path)) >= {
        "partition=p", "account=a", "qos=q", "constraint=c", "time=2-00:00:00", "signal=B:USR1@60", "gres=gpu:a100:4",
        "nodes=2", "ntasks-per-node=1", "cpus-per-task=24", "mem=200G", "array=0-1%3", "exclude=n7",
    }  # fmt: skip
    assert not [item for item in options(slurm.script(work(tmp_path), Site(gres=""), tmp_path)) if "gres" in item]
    with pytest.raises(UserError, match="9 GPUs cannot be shared equally by 2 nodes"):
        slurm.script(work(tmp_path, 9), Site(), tmp_path)


class Task:
    """A task in a shell: ``python`` is what trains, and what decides whether it is queued again."""

    def __init__(self, folder: Path, train: str, state: str = "RUNNING", decides: int = 0) -> None:
        self.folder, self.said = folder, folder / "said"
        self._command("python", f'case "$*" in *requeue*) echo "$*" >>{self.said}; exit {decides};; esac\n{train}')
        self._command("squeue", f"echo {state}")
        self._command("scontrol", f'echo "scontrol $*" >>{self.said}')
        self._command("srun", 'echo "srun $*"; shift 2; exec "$@"')
        self.environment = {
            **os.environ,
            "PATH": f"{folder}:{os.environ['PATH']}",
            "SLURM_ARRAY_JOB_ID": "7",
            "SLURM_ARRAY_TASK_ID": "1",
            "SLURM_JOB_ID": "8",
        }

    def _command(self, name: str, text: str) -> None:
        (self.folder / name).write_text(f"#!/bin/bash\n{text}\n")
        (self.folder / name).chmod(0o755)

    def run(self, gpus: int = 4, signum: int | None = None, more: dict[str, object] | None = None, **settings: object):
        text = slurm.script(
            work(self.folder, gpus, **(more or {})), Site(python=str(self.folder / "python"), **settings), self.folder
        )
        script = self.folder / "task.sh"
        script.write_text(text)
        with subprocess.Popen(
            ["bash", script], env=self.environment, stdout=subprocess.PIPE, text=True, start_new_session=True
        ) as process:
            assert process.stdout
            try:
                out = process.stdout.readline() if signum else ""
                if signum:
                    process.send_signal(signum)
                out += process.communicate(timeout=30)[0]
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        return process.returncode, out, self.said.read_text() if self.said.exists() else ""


def test_a_task_trains_the_run_of_its_number(tmp_path: Path) -> None:
    code, out, said = Task(tmp_path, 'printf "%s|" "$@"').run(setup=["echo set up"])
    command = ["-m", "paper_repro", "run", "resnet50", "--data-root", str(tmp_path / "it's data"), "--only", "b-s0"]
    assert (code, said) == (0, "") and out == "set up\n" + "".join(f"{word}|" for word in command)


def test_it_is_put_behind_the_container(tmp_path: Path) -> None:
    _, out, _ = Task(tmp_path, 'echo "$CONTAINED $*"').run(container="env CONTAINED=yes")
    assert out.startswith("yes -m paper_repro run")


def test_on_several_nodes_srun_starts_it_on_each(tmp_path: Path) -> None:
    code, out, _ = Task(tmp_path, 'echo "$MASTER_PORT $MASTER_ADDR"').run(gpus=16)
    assert code == 0 and out.startswith("srun --ntasks-per-node=1 --cpus-per-task=64 bash -c train\n20008 ")


def test_a_run_that_failed_or_died_is_asked_about_and_queued_again(tmp_path: Path) -> None:
    code, _, said = Task(tmp_path, "exit 9").run()
    asked, queued = said.splitlines()
    assert code == 9 and asked.endswith(f"requeue {tmp_path}/runs/b-s0 {tmp_path}/1.json 9")
    assert queued == "scontrol requeue 7_1"


@pytest.mark.parametrize("state, decides", [("RUNNING", 1), ("COMPLETING", 0), ("", 0)])
def test_it_is_not_where_that_is_no_use_or_slurm_has_decided(tmp_path: Path, state: str, decides: int) -> None:
    code, _, said = Task(tmp_path, "exit 9", state, decides).run()
    assert code == 9 and "scontrol" not in said


@pytest.mark.parametrize("signum", [signal.SIGUSR1, signal.SIGTERM])
def test_a_signal_is_passed_on_and_waited_for(tmp_path: Path, signum: signal.Signals) -> None:
    train = f"trap 'sleep 1; echo saved; exit 77' {signum.name}\necho begun\nwhile true; do sleep 0.1; done"
    code, out, said = Task(tmp_path, train).run(signum=signum)
    assert code == 77 and out == "begun\nsaved\n" and "scontrol requeue 7_1" in said


def test_a_signal_that_comes_too_early_is_not_lost(tmp_path: Path) -> None:
    code, out, said = Task(tmp_path, "sleep 20 >/dev/null 2>&1; echo trained").run(setup=["kill -s USR1 $$"])
    assert code == 128 + signal.SIGUSR1 and out == "" and "scontrol requeue 7_1" in said


def test_files_are_copied_to_scratch_once(tmp_path: Path) -> None:
    betons = [tmp_path / "train.beton", tmp_path / "val.beton"]
    for file in betons:
        file.write_text(f"images of {file.stem}")
        file.with_name(f"{file.name}.json").write_text(f"record of {file.stem}")
    scratch = tmp_path / "scratch of me"
    task = Task(tmp_path, 'echo "$*"')
    task.environment["WHO"] = "me"
    more = {"betons": betons, "scratch": f"{tmp_path}/scratch of $WHO"}

    def run() -> str:
        return task.run(more={"betons": betons}, scratch=more["scratch"])[1]

    assert f"--data-root {scratch} --only b-s0" in run()
    copy = scratch / "train.beton"
    assert copy.read_text() == "images of train" and (scratch / "val.beton.json").read_text() == "record of val"
    before = copy.stat().st_mtime_ns
    time.sleep(0.01)
    run()
    assert copy.stat().st_mtime_ns == before
    betons[0].write_text("other images")
    betons[0].with_name("train.beton.json").write_text("record of others")
    run()
    assert copy.read_text() == "other images"


# -- whether a task is queued again ------------------------------------------------------------------------------------


def ended(folder: Path, code: int, step: int, **heard: object) -> str:
    saved_state.save(folder, step, {})
    journal.note(folder, {"event": "failed", "text": "why", **heard})
    return requeue.decide(folder, folder / "starts.json", code)


def test_a_run_that_was_stopped_or_died_goes_on_as_long_as_it_gets_further(tmp_path: Path) -> None:
    assert [ended(tmp_path, 138, step) for step in (10, 20, 20, 20)] == ["", "", "", ""]
    assert ended(tmp_path, 1, 30, how="died") == ""  # the count begins anew
    assert [ended(tmp_path, 137, 30), ended(tmp_path, 1, 30, how="died")] == ["", ""]
    assert "3 starts in a row that got no further than step 30" in ended(tmp_path, 138, 30)


def test_one_that_never_begins_fails_too(tmp_path: Path) -> None:
    decided = [requeue.decide(tmp_path, tmp_path / "starts.json", 137) for _ in range(3)]
    assert decided[:2] == ["", ""] and "no further than step 0" in decided[2]


@pytest.mark.parametrize("code, how", [(1, "error"), (1, "busy"), (2, "died"), (70, "error")])
def test_one_that_fails_for_a_reason_of_its_own_has_failed(tmp_path: Path, code: int, how: str) -> None:
    expected = f"exit code {code}" if how != "died" else ""
    assert ended(tmp_path, code, 10, how=how) == expected
