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

if __name__ == "__main__":
    install(pytest.MonkeyPatch())
    crash_at = int(os.environ.get("CRASH_AT_STEP", "-1"))
    hang_at = int(os.environ.get("HANG_AT_STEP", "-1"))
    kill_at = int(os.environ.get("KILL_AT_STEP", "-1"))
    slow = float(os.environ.get("SECONDS_PER_STEP", "0"))

    class Trouble(Hook):
        def on_step(self, run: Run) -> None:
            time.sleep(slow)
            if run.step == crash_at and run.spec.method == "gmp":
                os.kill(os.getpid(), signal.SIGKILL)
            for at, signum in ((kill_at, signal.SIGKILL), (hang_at, signal.SIGSTOP)):
                if run.step == at and os.environ.get("RANK") == "1":
                    os.kill(os.getpid(), signum)

    sys.exit(worker.main([Trouble()]))
