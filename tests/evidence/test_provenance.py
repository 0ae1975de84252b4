from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from paper_repro import checks
from paper_repro.errors import UserError
from paper_repro.evidence import provenance, tolerances
from paper_repro.record import Provenance
from paper_repro.report import notebook
from paper_repro.terminal import Console
from paper_repro.workflows.audit import write_audit
from paper_repro.workflows.job import Job


def git(folder: Path, *arguments: str) -> None:
    name = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *name, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q")
    (tmp_path / "paper_repro").mkdir()
    (tmp_path / "paper_repro" / "a.py").write_text("a = 1\n", encoding="utf-8")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    return tmp_path


def test_clean_and_dirty(checkout: Path) -> None:
    commit, dirty = provenance.code_version(checkout)
    assert len(commit) == 40
    assert dirty == "false"
    (checkout / "results").mkdir()
    (checkout / "results" / "smoke.csv").write_text("new", encoding="utf-8")
    (checkout / "README.md").write_text("new", encoding="utf-8")
    assert provenance.code_version(checkout) == (commit, "false")  # cannot change a run
    (checkout / "paper_repro" / "a.py").write_text("a = 2\n", encoding="utf-8")
    assert provenance.code_version(checkout) == (commit, "true")


def test_untracked_code_is_dirty(checkout: Path) -> None:
    (checkout / "paper_repro" / "new_method.py").write_text("", encoding="utf-8")
    assert provenance.code_version(checkout)[1] == "true"


def test_no_checkout_no_commit_no_git(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside")
    assert provenance.code_version(outside) == ("unknown", "unknown")
    assert provenance.code_version(checkout / "paper_repro") == ("unknown", "unknown")  # inside another checkout
    git(outside, "init", "-q")
    assert provenance.code_version(outside) == ("unknown", "unknown")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(outside))
        assert provenance.code_version(checkout) == ("unknown", "unknown")


def test_inside_a_hook_git_is_not_misled(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = provenance.code_version(checkout)
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    assert provenance.code_version(checkout) == before


def test_all_is_there() -> None:
    found = provenance.provenance(threads=3)
    assert list(found) == ["commit", "dirty", "torch", "python", "device", "cpu", "processor", "threads", "platform"]
    assert found["torch"] == torch.__version__.split("+")[0]
    assert (found["device"], found["threads"]) == ("cpu", 3)
    assert provenance.library_version("no-such-library") == "unknown"


@pytest.mark.parametrize(
    "ask",
    [
        lambda results: write_audit(Job("resnet50", "audit", results=results), Console(quiet=True)),
        lambda results: notebook.render("st3", "smoke", results),
        lambda results: tolerances.load(),
        lambda results: checks.main(results),
    ],
)
def test_a_package_without_its_repository_says_where_things_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: Callable[[Path], object]
) -> None:
    monkeypatch.setattr(provenance, "repository", lambda: tmp_path / "site-packages")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    with pytest.raises(UserError) as error:
        ask(Path("results"))
    text = str(error.value)
    assert "installed without its repository" in text and str(tmp_path / "results") in text and "notebooks" in text
    assert "restore" not in text


def test_runs_of_one_arithmetic_have_one_processor_library_and_number_of_threads() -> None:
    made_by = Provenance(
        device="cpu", cpu="EPYC", processor="family 25, avx2", threads=1, torch="2.1", platform="Linux"
    )
    assert made_by.arithmetic == "EPYC, family 25, avx2, 1 thread, torch 2.1 on Linux"
    for change in ({"processor": "family 26, avx2"}, {"threads": 2}, {"torch": "2.2"}, {"processes": 2}):
        assert made_by.model_copy(update=change).arithmetic != made_by.arithmetic
    assert made_by.machine == "EPYC, family 25, avx2, 1 thread, torch 2.1"
    on_gpu = made_by.model_copy(update={"device": "H100", "processes": 4})
    assert on_gpu.arithmetic == "4 x H100, torch 2.1 on Linux"  # whatever processor feeds it


def test_the_processor_is_told_by_what_linux_says(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        "processor\t: 0\ncpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD  EPYC\nstepping\t: 1\n"
        "flags\t\t: fpu avx2 sse\n"
        "\nprocessor\t: 1\nmodel\t\t: 99\n"
    )
    monkeypatch.setattr(Path, "read_text", lambda *given, **more: text)
    assert provenance.processor() == "family 25, model 17, stepping 1, avx2" and provenance.cpu_name() == "AMD EPYC"
    monkeypatch.setattr(Path, "read_text", lambda *given, **more: "")
    assert provenance.processor() == ""
