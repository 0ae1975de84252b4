"""What surrounds a run: the lock on its folder, the signals that stop it, and what methods advise meanwhile."""

from __future__ import annotations

import os
import re
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from paper_repro import files
from paper_repro.errors import Advice, UserError
from paper_repro.machine import on_stop_signals

OWNER = "owner"  # in a run's folder: who holds it
LOCK_WAIT = "PAPER_REPRO_LOCK_WAIT_S"  # in the environment of a cluster, which notices late that a node has died


class Interrupted(BaseException):  # like KeyboardInterrupt: no handler of errors may take it for one
    """The run was asked to stop and has saved its state; ``signum`` says how."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum


class AlreadyRunning(UserError):
    """Another process is at this run."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a run's folder, or say who does. The operating system frees the lock of a process that died."""
    owner = folder / OWNER

    def busy() -> UserError:
        there = owner.read_text(encoding="utf-8").strip() if owner.exists() else "another process"
        return AlreadyRunning(f"{folder} is already running ({there})", exit_code=3)

    def unusable(error: OSError) -> UserError:
        return UserError(f"cannot write to {folder}: {error.strerror}")

    with files.locked(folder / "lock", float(os.environ.get(LOCK_WAIT, "0")), busy, unusable):
        owner.write_text(f"pid {os.getpid()} on {os.uname().nodename}\n", encoding="utf-8")
        yield


def may_be_at_work(folder: Path) -> bool:
    """Whether the process that last held a run's folder may still be at it: not one of this machine that is gone."""
    try:
        known = re.fullmatch(r"pid (\d+) on (.*)\n", (folder / OWNER).read_text(encoding="utf-8"))
    except OSError:
        return True
    if known is None or known[2] != os.uname().nodename:
        return True
    try:
        os.kill(int(known[1]), 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        pass
    return True


class StopRequest:
    """The signal that asked this process to stop, or 0."""

    signum = 0


@contextmanager
def stop_signals() -> Iterator[StopRequest]:
    """Take note of Ctrl-C and of the cluster's signals, so that the run can end after a step with its state saved."""
    request = StopRequest()

    def stop(signum: int, _frame: object) -> None:
        request.signum = signum

    with on_stop_signals(stop):
        yield request


@contextmanager
def advice_to(note: Callable[[str], None]) -> Iterator[None]:
    """Make a note of what a method advises, which would be lost among the warnings of libraries."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", Advice)
        show = warnings.showwarning

        def tell(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, Advice):
                note(f"warning: {message}")
            else:
                show(message, category, *where, **more)

        warnings.showwarning = tell
        yield
