"""What this process may use of its machine, and how it is asked to stop."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)  # the last is what clusters send before they preempt


def nodes() -> tuple[int, int]:
    """(how many machines train one run together, which of them this one is, from 0), as the task of a cluster says."""
    if "MASTER_ADDR" not in os.environ:
        return 1, 0
    return int(os.environ.get("SLURM_STEP_NUM_NODES", "1")), int(os.environ.get("SLURM_NODEID", "0"))


def cores() -> int:
    """The cores that this process may use, which can be fewer than the machine has."""
    return len(os.sched_getaffinity(0))


@contextmanager
def on_stop_signals(handler: Callable[[int, object], None]) -> Iterator[None]:
    """Call ``handler`` with the number of a stop signal, and the frame; in the end the former handlers are put back."""
    previous = {number: signal.signal(number, handler) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)
