"""Files that are complete or not there, written beside their place and moved into it; and locks."""

from __future__ import annotations

import csv
import io
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from paper_repro.errors import UserError

LOCK_TIMEOUT_S = 60.0


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path``; moved to ``path`` when the block ends well, removed when it does not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write(path: Path, content: str | bytes) -> Path:
    """Write ``content`` (text as UTF-8) to ``path``; whoever reads sees the old file or the new one, never a part.

    Raises UserError (exit code 3) when the folder cannot be written or the disk is full; the old file is
    then untouched.
    """
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}", exit_code=3) from error
    return path


def write_csv(path: Path, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> Path:
    """Write a CSV file with LF line ends; complete or not there, as by ``write``."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return write(path, text.getvalue())


def replace_between(path: Path, begin: str, end: str, content: str, check: bool = False) -> bool:
    """Replace what stands between two marker lines of a text file; whether it stood there already. With ``check``,
    nothing is written. Raises UserError when a marker is missing.
    """
    text = path.read_text(encoding="utf-8")
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise UserError(f"{path} needs the lines {begin!r} and {end!r} once each, in this order")
    new = f"{text.split(begin)[0]}{begin}\n{content}{end}{text.split(end)[1]}"
    if new != text and not check:
        write(path, new)
    return new == text


def require_room(folder: Path, room_bytes: int = 0) -> None:
    """Raises UserError (exit code 3) unless files can be made in ``folder`` and that many bytes are free there: better
    known before hours of work than after them.
    """
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())  # nothing is made yet
    try:
        with tempfile.TemporaryFile(dir=there):
            free = shutil.disk_usage(there).free
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror or error}", exit_code=3) from error
    if free < room_bytes:
        raise UserError(
            f"{folder} has {free / 2**20:,.0f} MiB of free space, and {room_bytes / 2**20:,.0f} MiB are needed: make "
            "room, or name another folder",
            exit_code=3,
        )


@contextmanager
def locked(
    path: Path,
    wait_s: float = LOCK_TIMEOUT_S,
    busy: Callable[[], UserError] | None = None,
    unusable: Callable[[OSError], UserError] | None = None,
) -> Iterator[None]:
    """Hold the lock file ``path``, which stays where it is; the system frees the lock when a process dies.

    Raises the UserError of ``busy`` (by default one of exit code 3) when another process holds it for more than
    ``wait_s`` seconds (-1: waits for as long as it takes), and the one of ``unusable`` where the file cannot be made or
    locked.
    """
    lock = filelock.FileLock(path, timeout=wait_s)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except filelock.Timeout as error:
        by_default = f"{path} has been held by another process for {wait_s:.0f} s: wait for it to end, or stop it"
        raise busy() if busy else UserError(by_default, exit_code=3) from error
    except OSError as error:
        if unusable is not None:
            raise unusable(error) from error
        raise UserError(f"cannot lock {path}: {error.strerror or error}", exit_code=3) from error
    try:
        yield
    finally:
        lock.release()
