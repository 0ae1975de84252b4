"""Writing results: atomically, under a lock, and with errors for people."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from paper_repro.errors import UserError
from paper_repro.files import replacing

LOCK_TIMEOUT_S = 60.0


def write_atomically(path: Path, content: str | bytes) -> Path:
    """Write ``content`` (text as UTF-8) to ``path``; whoever reads sees the old file or the new one, never a part.

    Raises UserError (exit code 3) when the folder cannot be written or the disk is full; the old file is then
    untouched.
    """
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}", exit_code=3) from error
    return path


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file ``path``, which stays where it is; the system frees the lock when a process dies.

    Raises UserError (exit code 3) when another process holds it for more than a minute.
    """
    lock = filelock.FileLock(path, timeout=LOCK_TIMEOUT_S)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except filelock.Timeout as error:
        raise UserError(
            f"{path} has been held by another process for {LOCK_TIMEOUT_S:.0f} s: wait for it to end, or stop it",
            exit_code=3,
        ) from error
    except OSError as error:
        raise UserError(f"cannot lock {path}: {error.strerror or error}", exit_code=3) from error
    try:
        yield
    finally:
        lock.release()
