"""A child process that runs other people's code, and the protocol between it and the one that started it.

The child takes one order, JSON in its environment, and sends events, one JSON object a line, over its standard output.
A method, or a library, prints when it likes: the child keeps its standard output for events alone, and whatever else is
written there, by Python or by anything below it, goes to standard error. It leads a process group of its own: Ctrl-C
does not reach it, and what it starts can be ended with it. How it ended can be told in words.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from paper_repro.machine import nodes

ORDER = "PAPER_REPRO_ORDER"  # in the environment, because torchrun's processes share no standard input
KEPT_LINES = 100  # of standard error
DRAIN_S = 5.0
Event = Mapping[str, Any]


def order() -> Any:
    """What this process, a child, was ordered to do."""
    return json.loads(os.environ[ORDER])


class Events:
    """The sending end. Made once in a child, before any code that is not the project's own."""

    def __init__(self) -> None:
        sys.stdout.flush()
        self.stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        self.stream.write("\n")  # ends a line that was begun before

    def tell(self, event: str, **values: Any) -> None:
        """Send one event, in one piece: several processes may write to one pipe."""
        self.stream.write(json.dumps({"event": event, **values}) + "\n")
        self.stream.flush()


class Child:
    """A child that has been started. As a context manager it closes its pipes and waits until it has ended."""

    def __init__(self, command: Sequence[str], order: Any, threads: int = 1) -> None:
        """``order``: what can be JSON; ``threads``: of each process, on the CPU."""
        # processes on one machine need no network, and find each other in a container without one
        alone = {"GLOO_SOCKET_IFNAME": "lo"} if nodes()[0] == 1 else {}
        environment = {**alone, **os.environ, "OMP_NUM_THREADS": str(threads)}
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            env={**environment, ORDER: json.dumps(order)},
            start_new_session=True,
        )
        self.hung = False
        self.errors: deque[str] = deque(maxlen=KEPT_LINES)  # the last lines of standard error, and of what it prints
        assert self.process.stderr
        self._drain = threading.Thread(target=self.errors.extend, args=(self.process.stderr,), daemon=True)
        self._drain.start()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, error: object, *_details: object) -> None:
        if error is not None:  # nobody listens any more: it would wait for ever to tell more than the pipe holds
            self.send_signal(signal.SIGTERM)
            assert self.process.stdout
            for _line in self.process.stdout:
                pass
        self.process.wait()
        self._drain.join(DRAIN_S)
        if self._drain.is_alive():  # it has left a process behind, whose last words would be waited for
            self.end()
            self._drain.join()
        self.process.__exit__(None, None, None)

    def events(self, patience_s: float | None = None) -> Iterator[Event]:
        """What it tells until it has ended. When it is silent for longer than ``patience_s``, it is ended: ``hung``."""
        assert self.process.stdout
        line = "\n"
        while line:
            with self._watched(patience_s):
                line = self.process.stdout.readline()
            event = _parsed(line)
            if event is not None:
                yield event
        with self._watched(patience_s):
            self.process.wait()

    def send_signal(self, signum: int) -> None:
        """Send it a signal; nothing where it has ended."""
        if self.process.poll() is None:
            self.process.send_signal(signum)

    def end(self) -> None:
        """End it at once, with all that it has started."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    @property
    def how(self) -> str:
        """How it ended: by which signal, or with which exit code."""
        code = self.process.wait()
        if code >= 0:
            return f"exit code {code}"
        name = signal.Signals(-code).name
        return f"{name}, as the system does when memory runs out" if -code == signal.SIGKILL else name

    @property
    def last_words(self) -> str:
        """The last line that it wrote to standard error; "" where there is none."""
        self._drain.join(DRAIN_S)  # what it started may live on, and keep its standard error open
        return self.errors[-1].strip() if self.errors else ""

    @contextmanager
    def _watched(self, patience_s: float | None) -> Iterator[None]:
        if patience_s is None:
            yield
            return
        watch = threading.Timer(patience_s, self._give_up)
        watch.start()
        try:
            yield
        finally:
            watch.cancel()

    def _give_up(self) -> None:
        self.hung = True
        self.end()


def _parsed(line: str) -> Event | None:
    """The event in a line; None for what was printed before ``Events`` was made, such as the words of a site hook."""
    if not line.startswith('{"event": '):
        return None
    try:
        event: Event = json.loads(line)
    except ValueError:
        return None
    return event
