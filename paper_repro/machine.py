"""What this process may use of its machine."""

from __future__ import annotations

import os


def cores() -> int:
    """The cores that this process may use, which can be fewer than the machine has."""
    return len(os.sched_getaffinity(0))
