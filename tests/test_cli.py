"""The command line: every verb, and what it says to mistakes: one sentence and exit code 2, no traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from paper_repro import cli, machine, tables
from paper_repro.data import sources
from paper_repro.data.dataset import InMemory
from paper_repro.data.readers.optional import LIBRARIES
from paper_repro.data.sets.har2 import OfficialHAR2
from paper_repro.errors import UserError
from paper_repro.runs import cost, launch
from paper_repro.workflows.job import Job
from paper_repro.workflows.train import unfinished
from tests.runs.test_launch import ROOT, WORKER
from tests.tables_copy import use_copy
from tests.training.tiny import install


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Exit code of ``python -m paper_repro ARGUMENTS``, run in this process."""
    monkeypatch.setattr(sys, "argv", ["paper-repro", *arguments])
    with pytest.raises(SystemExit) as done:
        cli.main()
    return int(done.value.code or 0)


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Away from the repository's own runs and results, in a folder whose name is a test of its own."""
    folder = tmp_path / "a folder with spaces, é and 中"
    (folder / "results").mkdir(parents=True)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("DATA_ROOT", raising=False)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["reproduce"], "TABLE is one of: extensions, family, frontier, mobilenetv1"),
        (["reproduce", "resnt50"], "Did you mean 'resnet50'"),
        (["reproduce", "resnet50", "--tier", "smok"], "Did you mean 'smoke'"),
        (["reproduce", "mobilenetv1", "--tier", "small"], "it has: audit, smoke, checkpoint, paper"),
        (["reproduce", "resnet50", "--method", "st"], "Did you mean 'str'"),
        (["reproduce", "resnet50", "--seeds", "0"], "not in the range"),
        (["reproduce", "resnet50", "--jobs", "two"], "not a valid integer"),
        (["plan", "resnet50", "--tier", "paper", "--max-gpu-hours", "100"], "more than the 100 that --max-gpu-hours"),
        (["run", "resnet50", "dense", "--tier", "small", "--max-gpu-hours", "0"], "nothing was started"),
        (["reproduce", "resnet50", "--max-gpu-hours", "-1"], "not in the range"),
        (["plan", "resnet50", "--tier", "paper", "--max-gpu-hours", "9"], "take about 1,576 GPU-hours"),
        (["reproduce", "resnet50", "--tier", "paper"], "there is no ImageNet-1K in"),
        (["run", "resnet50", "gmp-80", "--tier", "paper", "--gpus", "4"], "with --data-root DIR (DATA_ROOT=DIR)"),
        (["run", "resnet50", "gmp-80", "--gpus", "0"], "not in the range"),
        (["run", "resnet50", "gmp-80", "--gpus", "3"], "take a number of processes that divides 64"),
        (["plan", "resnet50", "--gpus", "3"], "take a number of processes that divides 64"),
        (["plan", "resnet50", "--tier", "paper", "--gpus", "7"], "that divides 256"),
        (["regress", "gmp", "--gpus", "zwei"], "not a valid integer"),
        (["plan", "resnet50", "--loader", "ffvc"], "is not one of 'folder', 'ffcv', 'dali'"),
        (["plan", "resnet50", "--loader", "ffcv"], "which is kept in memory; leave --loader out"),
        (["run", "resnet50", "dense", "--loader", "ffcv"], "which is kept in memory; leave --loader out"),
        (["plan", "resnet50", "--autocast", "fp8"], "is not one of 'float32', 'bf16', 'fp16'"),
        (["run", "resnet50", "rigl-90", "--autocast", "fp16"], "take --autocast bf16"),
        (["plan", "rnn", "--channels-last"], "leave --channels-last out"),
        (["run", "rnn", "--autocast", "bf16"], "leave --autocast out"),
        (["plan", "resnet50", "--tier", "audit", "--compile"], "leave out: --compile (COMPILE=)"),
        (["reproduce", "resnet50", "--tier", "audit", "--gpus", "4"], "leave out: --gpus (GPUS=)"),
        (
            ["reproduce", "resnet50", "--tier", "checkpoint", "--channels-last", "--max-gpu-hours", "1"],
            "leave out: --max-gpu-hours (MAX_GPU_HOURS=), --channels-last (CHANNELS_LAST=)",
        ),
        (["data", "imagenet", "--root", "nowhere"], "It is free for research, from https://image-net.org"),
        (["data", "imagenet", "--root", "nowhere"], "nowhere does not exist"),
        (["data", "imagenet", "--root", "."], "it has neither train nor val, nor has "),
        (["data", "imagenet", "--skip-unreadable"], "goes with --decode"),
        (["data", "fashion_mnist", "--write-ffcv"], "apply to `data imagenet` alone"),
        (["run", "resnet50", "--tier", "audit"], "trains nothing"),
        (["reproduce", "resnet50", "--tier", "audit", "--method", "str"], "trains nothing; leave out: --method"),
        (
            ["plan", "resnet50", "--tier", "audit", "--rows", "nosuch", "--seeds", "7"],
            "leave out: --rows (ROWS=), --seeds",
        ),
        (["run", "resnet50", "--tier", "checkpoint"], "trains nothing; take one of: smoke, small, paper"),
        (["reproduce", "resnet50", "--tier", "checkpoint"], "no checkpoint of table resnet50"),
        (["reproduce", "resnet50", "--tier", "checkpoint", "--seeds", "2"], "it has no seeds"),
        (["checkpoint", "import", "nowhere.pth"], "nowhere.pth does not exist"),
        (["checkpoint", "export", "nowhere"], "neither a finished run"),
        (["run", "resnet50", "str-90"], "Did you mean 'str-90."),
        (["run", "resnet50", "gmp-81"], "Did you mean 'gmp-80'"),
        (["run", "resnet50", "str-81.27"], "is not trained at tier smoke"),
        (["run", "resnet50", "--rows", "dense", "--method", "gmp"], "no row is both among dense and of method gmp"),
        (["run"], "which table"),
        (["plan", "resnet"], "Did you mean 'resnet50'"),
        (["audit", "resnet"], "Did you mean 'resnet50'"),
        (["render", "resnet50", "--tier", "audits"], "Did you mean 'audit'"),
        (["data", "fashion"], "Did you mean 'fashion_mnist'"),
        (["check", "--results", "nowhere"], "nowhere"),
        (["regres"], "No such command"),
        (["list", "--frob"], "No such option"),
    ],
)
def test_mistakes(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert call(monkeypatch, *arguments) == 2
    out, err = capfd.readouterr()
    assert message in err and "Traceback" not in out + err


def test_missing_data_says_what_was_tried(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sources.shutil, "which", lambda name: None)
    monkeypatch.setattr("paper_repro.data.sets.fashion_mnist.MIRROR", "http://127.0.0.1:9")
    monkeypatch.setattr("paper_repro.data.sets.fashion_mnist.DEBIAN_FOLDER", "no/such/folder")
    assert call(monkeypatch, "reproduce", "resnet50", "--data-root", "some where") == 2
    assert "Put train-images-idx3-ubyte" in capfd.readouterr().err
    assert not Path("runs").exists()


def test_a_folder_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    Path("results/resnet50").write_text("a file where a folder belongs")
    assert call(monkeypatch, "audit", "resnet50") in (2, 3)
    assert "results/resnet50" in capfd.readouterr().err


def test_a_reference_number_changed_by_hand(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Even one that is too small to show in any sum: the smallest layer of one budget."""
    budgets = use_copy(tmp_path / "tables", monkeypatch) / "paper" / "resnet50_budgets.csv"
    budgets.write_text(budgets.read_text(encoding="utf-8").replace("87.57", "86.57", 1), encoding="utf-8")
    assert call(monkeypatch, "audit", "resnet50") == 2
    assert "resnet50_budgets.csv" in capfd.readouterr().err


def test_list_plan_and_audit(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(monkeypatch, "list") == 0
    out = capsys.readouterr().out
    assert all(name in out for name in (*tables.names(), "fashion_mnist", "gmp", "str-98.05"))
    assert call(monkeypatch, "plan", "resnet50", "--tier", "paper", "--method", "str") == 0
    out = capsys.readouterr().out
    assert "epoch 27.99" in out and "epoch 38.06" in out and out.count("  to do  ") == 16
    (total,) = (line.split() for line in out.splitlines() if line.startswith("in total"))
    assert total[2:5] == ["1,600", "8,008,000", "2,049,867,200"] and total[-4:] == ["0", "of", "16", "finished"]
    assert float(total[5].replace(",", "")) == 154_643 + round(min(machine.cores(), 16) * 3 * 8 * 25.556032)
    assert "ImageNet-1K 154,643 MB" in out and "one A100 80GB" in out
    assert call(monkeypatch, "plan", "resnet50", "--tier", "audit") == 0
    assert call(monkeypatch, "plan", "resnet50", "--tier", "checkpoint") == 0
    assert "released networks are evaluated, of rows str-81.27" in capsys.readouterr().out
    assert call(monkeypatch, "audit", "mobilenetv1") == 0
    assert "PASS" in capsys.readouterr().out and Path("results/mobilenetv1/audit.csv").exists()


def test_plan_with_several_gpus_and_the_options_of_a_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """GPUs change how long it takes and nothing else; options make other runs."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    paper = ("plan", "resnet50", "--tier", "paper", "--method", "str")
    names, said = [], []
    for options in ((), ("--gpus", "4"), ("--loader", "ffcv", "--autocast", "bf16", "--channels-last", "--compile")):
        assert call(monkeypatch, *paper, *options) == 0
        said.append(capsys.readouterr().out)
        names.append({line.split()[-1] for line in said[-1].splitlines() if "  to do  " in line})
    assert names[0] == names[1] and len(names[0] | names[2]) == 32
    assert "615 are to do: at least 154 hours, 4 GPUs on each run" in said[1] and "at least" not in said[0] + said[2]
    for place in (None, object()):
        for kind in ("folder", "ffcv", "dali"):
            with monkeypatch.context() as looked_up:
                looked_up.setattr("importlib.util.find_spec", lambda name, found=place: found)
                assert call(monkeypatch, *paper[:-1], "dense", "--loader", kind) == 0
            absent = f"{LIBRARIES[kind][0]} is not installed here" if kind != "folder" else "is not installed here"
            assert (absent in capsys.readouterr().out) == (kind != "folder" and place is None)
    monkeypatch.setattr(cost, "MEASURED_S", 0.01)
    assert call(monkeypatch, "plan", "resnet50", "--method", "dense", "--gpus", "2", "--max-gpu-hours", "1000") == 0
    assert "hours, 2 cores on each run" in capsys.readouterr().out


def test_ctrl_c_before_anything_has_started(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    def pressed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "job", pressed)
    assert call(monkeypatch, "plan", "resnet50") == 130
    assert capfd.readouterr().err.strip() == "interrupted"


def test_plan_counts_a_run_that_several_rows_show_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Table 3's rows of different ranks are milestones of one run."""
    monkeypatch.setattr(cost, "MEASURED_S", 0.01)
    assert call(monkeypatch, "plan", "rnn", "--method", "str-rank") == 0
    out = capsys.readouterr().out
    rows = [row for row, _ in tables.load("rnn").specs("smoke", [0]) if row.method == "str-rank"]
    assert len(rows) == 3 and out.count("the run of ") == 2 and "0 of 1 finished" in out
    (own,) = (line.split() for line in out.splitlines() if "  to do  " in line)
    (total,) = (line.split() for line in out.splitlines() if line.startswith("in total"))
    assert own[5] == total[2] and "core-hours" in out


def test_a_stand_in_takes_the_place_of_data_that_is_not_there_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("data/har2").mkdir(parents=True)
    arguments = ("plan", "rnn", "--tier", "paper", "--method", "dense", "--data-root", "data")
    assert call(monkeypatch, *arguments) == 0
    assert "dense-fastgrnn-har2-" in capsys.readouterr().out  # neither is there: the official one would be fetched
    Path("data/har2/uci_har_rebuilt.npz").write_bytes(b"there")
    assert call(monkeypatch, *arguments) == 0
    assert "dense-fastgrnn-har2_rebuilt-" in capsys.readouterr().out
    with pytest.raises(UserError, match="not the file that is meant"):  # before anything is trained
        unfinished(Job("rnn", "paper", rows=("har2-full",), data_root=Path("data")), cli.console)
    assert "HAR-2 (reconstructed UCI HAR) is, and stands in for it" in capsys.readouterr().out
    Path("data/UCI HAR Dataset").mkdir()
    assert call(monkeypatch, *arguments) == 0
    assert "dense-fastgrnn-har2-" in capsys.readouterr().out


def test_rows_without_data_are_left_out_and_the_others_trained(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def ensure(data: InMemory, root: Path, say: object, loader: str) -> None:
        if data.name == "google12":
            raise UserError("could not fetch Speech Commands")

    for kind in (InMemory, OfficialHAR2):
        monkeypatch.setattr(kind, "ensure", ensure)
    todo, left_out = unfinished(Job("rnn", "paper", rows=("har2-full", "google12-full")), cli.console)
    assert [row.id for row, _ in todo] == ["har2-full"]
    assert left_out == {"Google-12": "its rows (google12-full) were left out. could not fetch Speech Commands"}
    assert "Google-12: its rows are left out, the others trained" in capsys.readouterr().out
    with pytest.raises(UserError, match="could not fetch Speech Commands"):  # nothing would be left
        unfinished(Job("rnn", "paper", rows=("google12-full",)), cli.console)


def test_plan_refuses_what_would_stay_dense(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The paper's hyperparameters on the smoke schedule."""
    table = tables.load("resnet50")
    specs = {row.id: spec for row, spec in table.specs("smoke", [0])}
    dense = [(table.row("str-90.23"), type(specs["dense"])(**{
        **specs["dense"].to_dict(), "method": "str", "method_args": {"s_init": -3200.0}, "weight_decay": 2.25e-5,
    }))]  # fmt: skip
    monkeypatch.setattr(tables.Table, "specs", lambda self, tier, seeds, stand_ins=None: dense)
    assert call(monkeypatch, "plan", "resnet50") == 2
    out = capsys.readouterr().out
    assert "would stay dense" in out and "take s_init = " in out and "never" in out


@pytest.mark.slow
def test_reproduce_from_end_to_end(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """On a tiny data set, one of its rows: results, notebook and table say so; a second call does nothing."""
    install(monkeypatch)
    monkeypatch.setattr(launch, "WORKER", WORKER)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    assert call(monkeypatch, "run", "resnet50", "dense") == 0
    assert call(monkeypatch, "reproduce", "resnet50", "--method", "dense") == 0
    out = capsys.readouterr().out
    assert "1 of 1 are finished already" in out and "MISSING" in out and "str-98.05" in out
    (line,) = (line for line in out.splitlines() if line.startswith("dense "))
    assert "77.01" in line and "25.556" in line
    for name in ("smoke.csv", "smoke_budgets.csv", "smoke_history.csv", "audit.csv", "smoke.ipynb"):
        assert (Path("results/resnet50") / name).exists()
    cells = json.loads(Path("results/resnet50/smoke.ipynb").read_text(encoding="utf-8"))["cells"]
    assert not [o for cell in cells for o in cell.get("outputs", []) if o["output_type"] == "error"]
    assert "INCOMPLETE" in json.dumps(cells)
    written = Path("results/resnet50/smoke.ipynb").stat().st_mtime_ns
    assert call(monkeypatch, "reproduce", "resnet50", "--method", "dense") == 0
    assert Path("results/resnet50/smoke.ipynb").stat().st_mtime_ns == written


def test_the_module_runs_in_a_locale_without_utf8() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUTF8"}
    environment |= {"LC_ALL": "C", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "paper_repro", "list"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "iso-8859-1"])
def test_a_terminal_that_is_not_utf8_gets_all_there_is(encoding: str) -> None:
    """Paths included; what it cannot show is written in ASCII."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUTF8"}
    environment |= {"PYTHONIOENCODING": encoding, "PYTHONPATH": str(ROOT)}
    for verb in (["status", "st3", "--runs", "r–"], ["reproduce", "st3", "--tier", "audit"]):
        command = [sys.executable, "-m", "paper_repro", *verb]
        done = subprocess.run(command, env=environment, capture_output=True, check=False)
        assert done.returncode == 0 and done.stderr == b""
        done.stdout.decode(encoding)
