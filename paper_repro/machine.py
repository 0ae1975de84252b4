"""What this process may use of its machine, and how it is asked to stop."""

from __future__ import annotations

import os
import signal

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)  # the last is what clusters send before they preempt


def nodes() -> tuple[int, int]:
    """(how many machines train one run together, which of them this one is, from 0), as the task of a cluster says."""
    if "MASTER_ADDR" not in os.environ:
        return 1, 0
    return int(os.environ.get("SLURM_STEP_NUM_NODES", "1")), int(os.environ.get("SLURM_NODEID", "0"))


def cores() -> int:
    """The cores that this process may use, which can be fewer than the machine has."""
    return len(os.sched_getaffinity(0))
