"""Children of tests are forked from a server that has imported PyTorch. A fresh Python takes three seconds for that,
and three more for its compiler, which every optimizer imports; the tests start more than a hundred of them.

Only what runs one of ``MODULES`` is forked. A child is a process like any other: it has its own environment, pipes and
group, and can be killed.
"""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from multiprocessing import connection, get_context
from pathlib import Path
from typing import Any

MODULES = (
    "paper_repro.runs.worker",
    "paper_repro.conformance.worker",
    "paper_repro.conformance.two_processes",
    "tests.training.tiny_worker",
)
SERVER = get_context("forkserver")
SERVER.set_forkserver_preload([*MODULES, "torch._dynamo"])


class Forked:
    """As much of ``subprocess.Popen`` as ``Child`` needs."""

    def __init__(self, module: str, env: Mapping[str, str]) -> None:
        (out, child_out), (err, child_err) = SERVER.Pipe(duplex=False), SERVER.Pipe(duplex=False)
        settings = (module, dict(env), str(Path.cwd()), child_out, child_err)
        self.process = SERVER.Process(target=_become, args=settings)
        self.process.start()
        self.stdout, self.stderr = (
            os.fdopen(os.dup(end.fileno()), encoding="utf-8", errors="replace") for end in (out, err)
        )
        for end in (out, err, child_out, child_err):
            end.close()
        assert self.process.pid is not None
        self.pid = self.process.pid
        self.lock = threading.RLock()  # the status of a process can be read once

    def poll(self) -> int | None:
        with self.lock:
            return self.process.exitcode

    def wait(self) -> int | None:
        connection.wait([self.process.sentinel])
        return self.poll()

    returncode = property(poll)

    def send_signal(self, signum: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, signum)

    def __exit__(self, *_details: object) -> None:
        self.stdout.close()
        self.stderr.close()
        self.wait()


def popen(command: Sequence[str], **settings: Any) -> Any:
    """Stands in for ``subprocess.Popen``."""
    *start, module = command
    if start == [sys.executable, "-m"] and module in MODULES:
        return Forked(module, settings["env"])
    return subprocess.Popen(command, **settings)


def _become(
    module: str, env: dict[str, str], folder: str, out: connection.Connection, err: connection.Connection
) -> None:
    """Be the process that ``python -m module`` would be."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    os.dup2(out.fileno(), 1)
    os.dup2(err.fileno(), 2)
    out.close()
    err.close()
    sys.argv = [module]
    sys.exit(importlib.import_module(module).main())
