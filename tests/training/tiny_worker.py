"""The training process, on the tiny data set. ``CRASH_AT_STEP`` in the environment makes it die there, as if killed
by the system.
"""

from __future__ import annotations

import os
import signal
import sys
import time

import pytest

from paper_repro.training import worker
from paper_repro.training.loop import Run
from tests.training.tiny import install

if __name__ == "__main__":
    install(pytest.MonkeyPatch())
    crash_at = int(os.environ.get("CRASH_AT_STEP", "-1"))
    hang_at = int(os.environ.get("HANG_AT_STEP", "-1"))
    rank = os.environ.get("RANK", "0")
    slow = float(os.environ.get("SECONDS_PER_STEP", "0"))
    train_step = Run._train_step

    def step(self: Run, images, labels):
        time.sleep(slow)
        if self.step == crash_at and self.spec.method == "gmp":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.step == hang_at and rank == "1":
            os.kill(os.getpid(), signal.SIGSTOP)
        return train_step(self, images, labels)

    Run._train_step = step
    sys.exit(worker.main())
