"""The files around the code agree with each other and with the code: versions, targets, citation, lock."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

import paper_repro

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
MAKE_TARGETS = ["setup", "list", "audit", "plan", "run", "check", "render", "reproduce", "regress", "data"]
TOOLS = ["ffcv", "dali", "lab", "test", "lint", "bench", "gpu-check", "lock", "clean"]
MAKE_TARGETS += TOOLS
MAKE_VARIABLES = {
    "TIER": "--tier",
    "MAX_GPU_HOURS": "--max-gpu-hours",
    "SEEDS": "--seeds",
    "ROWS": "--rows",
    "MODEL": "--model",
    "SITE": "--site",
    "METHOD": "--method",
    "DATA_ROOT": "--data-root",
    "JOBS": "--jobs",
    "MARGIN": "--margin",
    "TUNE": "--tune",
    "REUSE": "--reuse",
    "GPUS": "--gpus",
    "LOADER": "--loader",
    "AUTOCAST": "--autocast",
    "CHANNELS_LAST": "--channels-last",
    "COMPILE": "--compile",
    "STRICT": "--strict",
}
FLAGS = ("CHANNELS_LAST", "COMPILE", "STRICT")

needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def lock_module() -> Any:
    spec = importlib.util.spec_from_file_location("lock", ROOT / "ci/lock.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def requirements() -> list[str]:
    """Everything that pyproject.toml asks for, the extras included."""
    project = PYPROJECT["project"]
    extras = project["optional-dependencies"]
    named = [name for name in extras if name not in lock_module().EXTRAS]
    return project["dependencies"] + [item for name in named for item in extras[name]]


def name_of(requirement: str) -> str:
    return re.split(r"[\[<>=!~ ]", requirement, maxsplit=1)[0].lower()


def make(*arguments: str, cwd: Path = ROOT, **more: str) -> subprocess.CompletedProcess[str]:
    # MAKEFLAGS of an outer `make test -j` would change what this make prints.
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    for name in (*MAKE_VARIABLES, "TABLE", "NAME", "ARGS", "PYTHON", "FFCV"):
        environment.pop(name, None)
    environment |= more
    return subprocess.run(
        ["make", *arguments], cwd=cwd, env=environment, capture_output=True, encoding="utf-8", check=False
    )


class TestLock:
    def test_covers_every_requirement_in_the_asked_version(self) -> None:
        pins = lock_module().pins(LOCK)
        for requirement in requirements():
            lowest = requirement.split(">=")[1]
            pinned = pins[name_of(requirement)]
            parts = [tuple(int(part) for part in re.findall(r"\d+", text)) for text in (pinned, lowest)]
            assert parts[0] >= parts[1], requirement

    def test_one_version_of_each_package_and_every_file_hashed(self) -> None:
        blocks = re.findall(r"^[a-z0-9].*\n(?:    .*\n)*", LOCK, flags=re.MULTILINE)
        names = [block.split("==")[0] for block in blocks]
        assert len(names) > 50
        assert sorted(set(names)) == sorted(names)
        assert all("--hash=sha256:" in block and re.match(r"\S+==\S+", block) for block in blocks)

    def test_an_extra_of_one_target_has_a_lock_that_agrees(self) -> None:
        for name in lock_module().EXTRAS:
            text = (ROOT / "ci" / f"{name}.lock").read_text(encoding="utf-8")
            pins, common = lock_module().pins(text), lock_module().pins(LOCK)
            assert {item for item in pins if common.get(item, pins[item]) != pins[item]} == set()
            assert {name_of(item) for item in PYPROJECT["project"]["optional-dependencies"][name]} <= pins.keys()
            assert not re.search(r"index-url|find-links|://|@", text)

    def test_names_no_index_and_no_address(self) -> None:
        assert not re.search(r"index-url|find-links|://|@", LOCK)

    def test_environment_yml_has_exactly_its_versions(self) -> None:
        pins = lock_module().pins(LOCK)
        environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
        listed = next(item["pip"] for item in environment["dependencies"] if isinstance(item, dict))
        versions = {name_of(item): item.split("==")[1] for item in listed}
        assert versions == {name_of(item): pins[name_of(item)] for item in requirements()}

    def test_ffcv_lock_has_the_chosen_versions_and_hashes(self) -> None:
        lock = lock_module()
        text = lock.FFCV_LOCK.read_text(encoding="utf-8")
        assert lock.pins(text) == dict(item.split("==") for item in lock.FFCV)
        assert text.count("--hash=sha256:") >= len(lock.FFCV)
        assert not lock.pins(text).keys() & lock.pins(LOCK).keys(), "one version of a package, in one lock"
        assert not re.search(r"index-url|find-links|://|@", text)
        assert "-r ci/ffcv.lock" in (ROOT / "environment.yml").read_text(encoding="utf-8")

    def test_versions_are_carried_over(self) -> None:
        text = "  - pip:\n      - torch==1.0\n      - pandera[pandas]==0.1\n"
        assert lock_module().with_versions(text, {"torch": "2.0", "pandera": "0.2"}) == (
            "  - pip:\n      - torch==2.0\n      - pandera[pandas]==0.2\n"
        )

    def test_setup_finds_uv_with_its_hashes(self) -> None:
        """ci/setup.sh cuts uv's block out of the lock with this very expression."""
        expression = re.search(r"sed -n '(/\^uv==/.*?)' requirements\.lock", (ROOT / "ci/setup.sh").read_text("utf-8"))
        assert expression
        block = subprocess.run(
            ["sed", "-n", expression[1], "requirements.lock"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
        assert block.startswith("uv==")
        assert block.count("==") == 1
        assert block.count("--hash=sha256:") > 5


class TestPackage:
    def test_one_version(self) -> None:
        citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
        assert PYPROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "paper_repro.__version__"}
        assert str(citation["version"]) == paper_repro.__version__
        changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
        assert "## [Unreleased]" in changelog
        try:
            assert metadata.version("paper-repro") == paper_repro.__version__
        except metadata.PackageNotFoundError:  # conda users run the clone as it stands
            pytest.skip("the package is not installed")

    def test_every_import_is_a_requirement(self) -> None:
        asked = {name_of(item).replace("-", "_") for item in PYPROJECT["project"]["dependencies"]}
        asked |= {
            "paper_repro",
            "ffcv",
            "nvidia",
            "IPython",
            "onnxruntime",
            "optuna",
            "PIL",
        }  # FFCV, DALI and optuna are optional, imported where they are used, with an error that says so
        of_site = {name_of(item).replace("-", "_") for item in PYPROJECT["project"]["optional-dependencies"]["site"]}
        for path in sorted((ROOT / "paper_repro").rglob("*.py")):
            allowed = asked | of_site if "site" in path.parts else asked
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                for name in {name.partition(".")[0] for name in names}:
                    assert name in allowed or name in sys.stdlib_module_names, f"{path}: {name}"

    def test_data_files_are_packaged(self) -> None:
        packaged = PYPROJECT["tool"]["setuptools"]["package-data"]
        for path in sorted((ROOT / "paper_repro").rglob("*")):
            if path.is_dir() or path.suffix == ".py" or path.parent.name == "__pycache__":
                continue
            package = ".".join(path.parent.relative_to(ROOT).parts)
            assert any(path.match(pattern) for pattern in packaged.get(package, ())), f"{path} is not package data"


class TestCitation:
    def test_it_is_complete(self) -> None:
        citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
        assert citation["cff-version"] == "1.2.0"
        assert {"message", "title", "authors", "license", "version"} <= citation.keys()
        assert citation["license"] == PYPROJECT["project"]["license"]
        paper = citation["preferred-citation"]
        assert {"type", "title", "authors", "year", "conference"} <= paper.keys()
        assert paper["title"] == "Soft Threshold Weight Reparameterization for Learnable Sparsity"
        assert [author["family-names"] for author in paper["authors"]] == [
            "Kusupati", "Ramanujan", "Somani", "Wortsman", "Jain", "Kakade", "Farhadi",
        ]  # fmt: skip


@needs_make
class TestMake:
    def test_alone_fits_on_a_screen_and_shows_the_common_jobs(self) -> None:
        listed = make()
        assert (listed.returncode, listed.stderr) == (0, "")
        lines = listed.stdout.splitlines()
        assert len(lines) < 24 and max(map(len, lines)) <= 80
        assert all(f"  make {job} " in listed.stdout for job in ("reproduce", "regress", "plan"))

    def test_every_target_and_variable_is_listed(self) -> None:
        words = re.findall(r"^  ([\w-]+) ", make().stdout + make("more").stdout, flags=re.MULTILINE)
        assert {*MAKE_TARGETS, *MAKE_VARIABLES, "TABLE", "NAME", "ARGS", "PYTHON", "FFCV"} <= set(words)
        assert len(words) - words.count("make") == len({*words} - {"make"})

    @pytest.mark.parametrize("name", FLAGS)
    def test_a_flag_is_on_or_off_and_nothing_else(self, name: str) -> None:
        def passed(value: str) -> bool:
            done = make("-n", "regress", f"{name}={value}")
            assert done.returncode == 0, done.stderr
            return MAKE_VARIABLES[name] in done.stdout

        assert all(passed(value) for value in ("1", "yes", "True", "on"))
        assert not any(passed(value) for value in ("", "0", "no", "false", "OFF"))
        for value in ("maybe", "2", "1 0"):
            refused = make("-n", "regress", f"{name}={value}")
            assert refused.returncode != 0 and name in refused.stderr and f"{name}=0" in refused.stderr

    def test_ffcv_has_the_same_words(self) -> None:
        found = [re.findall(r"FFCV='(.*?)'", make("-n", "setup", *given).stdout) for given in ((), ["FFCV=no"])]
        assert found == [[""], ["0"]] and "FFCV='1'" in make("-n", "setup", "FFCV=true").stdout
        assert make("-n", "setup", "FFCV=perhaps").returncode != 0

    def test_the_environment_changes_no_command(self) -> None:
        """WSL has NAME; what cannot be there by chance is ignored with a word."""
        by_chance = dict.fromkeys([*MAKE_VARIABLES, "TABLE", "NAME", "ARGS", "PYTHON", "FFCV"], "1")
        for target in ("data", "reproduce", "regress", "setup"):
            assert make("-n", target, **by_chance).stdout == make("-n", target).stdout
        assert make("-n", "data", NAME="host", PYTHON="python3").stderr == ""
        assert "SEEDS" in make("-n", "reproduce", SEEDS="3").stderr

    def test_every_target_with_a_description_is_phony(self) -> None:
        text = (ROOT / "Makefile").read_text(encoding="utf-8")
        phony = re.search(r"^\.PHONY: (.*)$", text, flags=re.MULTILINE)
        assert phony
        assert set(re.findall(r"^([a-z-]+):", text, flags=re.MULTILINE)) == set(phony[1].split())

    def test_variables_are_passed_on_only_when_set(self) -> None:
        bare = make("-n", "reproduce").stdout
        assert "-m paper_repro reproduce\n" in re.sub(r" +\n", "\n", bare)
        given = make(
            "-n",
            "reproduce",
            "TABLE=resnet50",
            "TIER=audit",
            "SEEDS=3",
            "DATA_ROOT=/a b/c",
            "JOBS=2",
            "MAX_GPU_HOURS=3",
        ).stdout
        words = 'reproduce "resnet50" --tier "audit" --seeds "3" --data-root "/a b/c" --jobs "2" --max-gpu-hours "3"'
        assert words in re.sub(" +", " ", given)

    @pytest.mark.parametrize("verb", [name for name in MAKE_TARGETS if name not in ("setup", *TOOLS)])
    def test_targets_and_options_exist_in_the_command_line(self, verb: str) -> None:
        from paper_repro.cli import cli

        command = CliRunner().invoke(cli, [verb, "--help"])
        assert command.exit_code == 0
        taken = []
        for name in ("TABLE", "NAME", *MAKE_VARIABLES):
            done = make("-n", verb, f"{name}=1")
            if done.returncode:  # what it would drop, it refuses: a limit that is not passed on limits nothing
                assert f"{verb} takes no {name}." in done.stderr
            else:
                assert MAKE_VARIABLES.get(name, '"1"') in done.stdout or '"1"' in done.stdout
                taken.append(f"{name}=1")
        recipe = make("-n", verb, *taken).stdout
        for option in re.findall(r"--[a-z-]+", recipe.split("-m paper_repro", 1)[1]):
            assert option in command.output

    def test_a_misspelt_variable_is_refused(self) -> None:
        done = make("-n", "reproduce", "TABLE=resnet50", "SEED=3")
        assert done.returncode != 0 and "reproduce takes no SEED. Its variables: ARGS" in done.stderr

    def test_clean_keeps_runs_and_results(self, tmp_path: Path) -> None:
        shutil.copy(ROOT / "Makefile", tmp_path)
        for folder in (
            "runs/a",
            "results/a",
            "data/a",
            ".venv/bin",
            "paper_repro/__pycache__",
            "tests",
            "ci",
            "notebooks",
        ):
            (tmp_path / folder).mkdir(parents=True)
        assert make("clean", cwd=tmp_path).returncode == 0
        assert all((tmp_path / kept).is_dir() for kept in ("runs/a", "results/a", "data/a", "paper_repro", "tests"))
        assert not (tmp_path / ".venv").exists()
        assert not (tmp_path / "paper_repro/__pycache__").exists()


class TestSetup:
    def test_is_silent_and_quick_where_nothing_is_to_do(self) -> None:
        ready = ROOT / ".venv/.ready"
        if not ready.exists() or str(ROOT) not in ready.read_text(encoding="utf-8").splitlines():
            pytest.skip("this environment was not made by `make setup` here")  # a borrowed one would be made anew
        done = subprocess.run(["sh", "ci/setup.sh", "--quiet"], cwd=ROOT, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    @pytest.mark.parametrize(
        ("python", "message"),
        [("no-such-python", "there is no such program"), ("false", "is not CPython 3.11 to 3.14")],
    )
    def test_says_what_is_wrong_with_a_python(self, tmp_path: Path, python: str, message: str) -> None:
        (tmp_path / "ci").mkdir()
        for name in ("ci/setup.sh", "ci/uv.sh", "requirements.lock", "pyproject.toml"):
            shutil.copy(ROOT / name, tmp_path / name)
        environment = {**os.environ, "PYTHON": python}
        done = subprocess.run(
            ["sh", "ci/setup.sh"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 2
        assert message in done.stderr
        assert not (tmp_path / ".venv").exists()

    @pytest.mark.parametrize(
        ("mode", "gpu", "code", "message"),
        [
            (
                "",
                False,
                2,
                "sudo apt-get install --no-install-recommends g++ pkg-config libturbojpeg0-dev libopencv-dev",
            ),
            ("--auto", True, 0, "sudo apt-get install --no-install-recommends g++ pkg-config"),
            ("--auto", False, 0, "'make ffcv' does it; nothing else needs it"),
        ],
    )
    def test_ffcv_is_not_forced_on_anybody(self, tmp_path: Path, mode: str, gpu: bool, code: int, message: str) -> None:
        """Without root and without OpenCV, the command to run is printed; the set-up goes on."""
        for folder in ("ci", "bin", ".venv/bin"):
            (tmp_path / folder).mkdir(parents=True)
        for name in ("ci/ffcv.sh", "ci/uv.sh", "ci/ffcv.lock"):
            shutil.copy(ROOT / name, tmp_path / name)
        (tmp_path / ".venv/bin/python").symlink_to(sys.executable)
        for tool in ("sh", "cat", "cksum", "dirname"):
            (tmp_path / "bin" / tool).symlink_to(shutil.which(tool) or tool)
        for tool, body in {"id": "echo 1000", "nvidia-smi": "true"}.items():
            if gpu or tool != "nvidia-smi":
                (tmp_path / "bin" / tool).write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
                (tmp_path / "bin" / tool).chmod(0o755)
        command = [shutil.which("sh") or "sh", "ci/ffcv.sh", *([mode] if mode else [])]
        environment = {"PATH": str(tmp_path / "bin"), "HOME": str(tmp_path)}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        assert message in done.stdout + done.stderr
        assert not (tmp_path / ".venv/.ffcv").exists()


def tracked_files() -> list[Path]:
    """The committed files; without git, or outside a checkout, none."""
    try:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs git and a checkout")
    return [path for name in listed.split(b"\0") if name and (path := ROOT / os.fsdecode(name)).is_file()]


def test_no_committed_file_names_a_path_of_some_machine() -> None:
    """Results, notebooks and text are the same wherever they were made: no home or temporary folder, nor the clone."""
    personal = re.compile(
        rb"/(?:home|Users|root|work|tmp|private|mnt|scratch)/[\w.-]+|[A-Z]:\\\\?Users"
        + b"|"
        + re.escape(os.fsencode(ROOT))
        + rb"\b"
    )
    for path in tracked_files():
        if path.suffix in (".png", ".lock", ".gz") or path == Path(__file__).resolve():
            continue
        found = personal.search(path.read_bytes())
        assert found is None, f"{path.relative_to(ROOT)} names {os.fsdecode(found[0])}"
