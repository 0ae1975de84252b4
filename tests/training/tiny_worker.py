"""The training process, on the tiny data set. In the environment ``CRASH_AT_STEP`` makes a run of GMP die there, as if
killed by the system; ``KILL_AT_STEP`` and ``HANG_AT_STEP`` make the second of several processes die or hang.
"""

from __future__ import annotations

import os
import signal
import sys
import time

import pytest

from paper_repro.runs import worker
from paper_repro.training.hooks import Hook
from paper_repro.training.run import Run
from tests.training.tiny import install


class Trouble(Hook):
    """What the environment asks for."""

    def __init__(self) -> None:
        self.crash_at, self.hang_at, self.kill_at = (
            int(os.environ.get(f"{what}_AT_STEP", "-1")) for what in ("CRASH", "HANG", "KILL")
        )
        self.slow = float(os.environ.get("SECONDS_PER_STEP", "0"))

    def on_step(self, run: Run) -> None:
        time.sleep(self.slow)
        if run.step == self.crash_at and run.spec.method == "gmp":
            os.kill(os.getpid(), signal.SIGKILL)
        for at, signum in ((self.kill_at, signal.SIGKILL), (self.hang_at, signal.SIGSTOP)):
            if run.step == at and os.environ.get("RANK") == "1":
                os.kill(os.getpid(), signum)


def main() -> int:
    """The exit code."""
    install(pytest.MonkeyPatch())
    return worker.main([Trouble()])


if __name__ == "__main__":
    sys.exit(main())
