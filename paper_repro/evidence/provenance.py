"""Where a result comes from: the code, the libraries and the machine."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path

import paper_repro
from paper_repro.errors import UserError

UNKNOWN = "unknown"
# What can change the outcome of a run. Results and notebooks are rewritten by every `make reproduce`: counting them
# would mark the second run of a clean checkout as dirty.
CODE = ("paper_repro", "pyproject.toml", "requirements.lock")
VECTORS = ("avx2", "avx512f", "avx512_bf16", "amx_tile")  # instructions for which libraries have kernels of their own


def repository() -> Path:
    """The folder that holds the package: the root of the checkout, where there is one."""
    return Path(paper_repro.__file__).resolve().parents[1]


def of_repository(*parts: str) -> Path:
    """A file or folder of the repository; UserError where the package is installed without it."""
    path = repository().joinpath(*parts)
    if path.exists() or (repository() / "pyproject.toml").exists():
        return path
    raise UserError(
        f"paper_repro is installed without its repository, and needs {'/'.join(parts)} of it. Results, figures and "
        f"executed notebooks go to {Path('results').absolute()} (--results DIR names another folder) and runs to "
        f"{Path('runs').absolute()}; what they are made and judged with (notebooks/, ci/, results/errata.csv) is in "
        "the repository: clone it and run there. Methods, models, tables and accounting work without it"
    )


def provenance(device: str = "cpu", threads: int | None = None) -> dict[str, str | int]:
    """What belongs beside every result: commit, dirty, torch, python, device, cpu, processor, threads, platform.

    ``device`` is where the run trains ("cpu", "cuda", "cuda:1"); it is replaced by the GPU's name.
    ``threads`` is what torch uses in this process, unless given. Nothing here fails: what cannot be found is "unknown".
    """
    commit, dirty = code_version()
    return {
        "commit": commit,
        "dirty": dirty,
        "torch": library_version("torch"),
        "python": platform.python_version(),
        "device": device_name(device),
        "cpu": cpu_name(),
        "processor": processor(),
        "threads": _threads() if threads is None else threads,
        "platform": f"{platform.system()} {platform.machine()}",
    }


def code_version(root: Path | None = None) -> tuple[str, str]:
    """Commit and "true" or "false" for dirty: whether anything that can change a run (``CODE``) differs from the
    commit.

    Both are "unknown" where git is missing, where ``root`` is not the root of a git checkout (an installed package may
    lie inside another one), and before the first commit.
    """
    root = root or repository()
    top = _git(root, "rev-parse", "--show-toplevel")
    commit = _git(root, "rev-parse", "--verify", "HEAD")
    if top is None or commit is None or Path(top).resolve() != root.resolve():
        return UNKNOWN, UNKNOWN
    changes = _git(root, "status", "--porcelain", "--untracked-files=all", "--", *CODE)
    return commit, UNKNOWN if changes is None else "true" if changes else "false"


def library_version(name: str) -> str:
    """The installed version of a library, without importing it."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return UNKNOWN


def cpu_name() -> str:
    """The processor's model name, such as "AMD EPYC 7B13"."""
    return _cpuinfo().get("model name") or platform.processor() or platform.machine() or UNKNOWN


def processor() -> str:
    """What a model name leaves open ("AMD EPYC" is several generations) and results depend on: "family 25, model 1,
    stepping 1, avx2". Empty where the system does not say.
    """
    known = _cpuinfo()
    parts = [f"{key.removeprefix('cpu ')} {known[key]}" for key in ("cpu family", "model", "stepping") if key in known]
    return ", ".join([*parts, *(name for name in VECTORS if name in known.get("flags", "").split())])


def _cpuinfo() -> dict[str, str]:
    """What Linux says of the first core."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.split("\n\n")[0].splitlines())
    return {key.strip(): " ".join(value.split()) for key, _, value in pairs}


def device_name(device: str) -> str:
    """The name of the GPU; "cpu" stays "cpu". Torch is asked only where the caller has it loaded already."""
    if device.startswith("cuda") and "torch" in sys.modules:
        return str(sys.modules["torch"].cuda.get_device_name(device))
    return device


def _threads() -> int:
    if "torch" in sys.modules:
        return int(sys.modules["torch"].get_num_threads())
    return int(os.environ.get("OMP_NUM_THREADS", "").strip() or os.cpu_count() or 1)


def _git(root: Path, *arguments: str) -> str | None:
    """Output of a git command in ``root``; None when it fails or there is no git."""
    # GIT_DIR and its like (set inside hooks) would point git at another repository
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=root,
            env=environment,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
