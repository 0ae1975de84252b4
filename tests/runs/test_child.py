"""The protocol with a child process: what is printed is no event, and however a child ends, it can be told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from paper_repro.conformance import preflight
from paper_repro.runs import child as module
from paper_repro.runs import launch
from paper_repro.runs.child import Child, Event

ROOT = Path(__file__).parents[2]
START = "from paper_repro.runs.child import Events, order\ntell = Events().tell\n"


@contextmanager
def child(script: str, order: Any = None) -> Iterator[Child]:
    with Child([sys.executable, "-c", script], order) as started:
        try:
            yield started
        finally:
            started.end()


@pytest.fixture(autouse=True)
def at_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def told(script: str, order: Any = None, patience_s: float | None = None) -> tuple[list[Event], str, str, bool]:
    """(events, how it ended, its last words, whether it hung)."""
    with child(script, order) as started:
        events = list(started.events(patience_s))
        return events, started.how, started.last_words, started.hung


def test_it_takes_an_order_and_tells_events() -> None:
    order = {"name": "é", "values": [1, 2.5, None]}
    events, how, *_ = told(START + "tell('begin', got=order())\ntell('end')\n", order)
    assert events == [{"event": "begin", "got": order}, {"event": "end"}] and how == "exit code 0"


def test_what_is_printed_is_no_event() -> None:
    """Before ``Events`` is made, by Python, by a process below it, and half a line."""
    script = (
        "print('{\"event\": 1}', end='', flush=True)\n"
        + START
        + 'import os, sys\nprint(\'{"event": "printed"}\')\nos.system(\'echo \\\'{"event": "echoed"}\\\'\')\n'
        + "tell('mine')\nprint('the last words', end='', flush=True)\nsys.exit(3)\n"
    )
    events, how, last_words, hung = told(script)
    assert [event["event"] for event in events if event["event"] != 1] == ["mine"] and not hung
    assert (how, last_words) == ("exit code 3", "the last words")


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGSEGV])
def test_a_child_that_is_killed_is_explained(signum: signal.Signals) -> None:
    events, how, *_ = told(START + f"import os\ntell('begin')\nos.kill(os.getpid(), {int(signum)})\n")
    assert len(events) == 1 and how.startswith(signum.name)
    assert ("memory" in how) == (signum == signal.SIGKILL)


def test_bytes_that_are_no_text_do_not_stop_the_reading() -> None:
    script = START + "import os\nos.write(2, b'\\xff\\xfe\\n' * 50_000)\ntell('end')\n"
    assert [event["event"] for event in told(script, patience_s=20.0)[0]] == ["end"]


def test_one_that_hangs_is_ended_with_all_that_it_has_started(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    script = START + (
        "import subprocess, time\n"
        "below = subprocess.Popen(['sleep', '60'])\n"
        f"open({str(note)!r}, 'w').write(str(below.pid))\n"
        "tell('begin')\ntime.sleep(60)\n"
    )
    began = time.monotonic()
    with child(script) as started:
        events = started.events(patience_s=20.0)
        assert next(events)["event"] == "begin"
        assert list(started.events(patience_s=0.3)) == [] and started.hung
    assert time.monotonic() - began < 30
    pid = int(note.read_text())
    for _ in range(100):  # the system takes a moment
        if not Path(f"/proc/{pid}").exists() or "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text():
            break
        time.sleep(0.05)
    else:
        os.kill(pid, signal.SIGKILL)
        pytest.fail("what the child had started lives on")


def test_a_signal_to_one_that_has_ended_is_nothing() -> None:
    with child("") as started:
        list(started.events())
        started.send_signal(signal.SIGTERM)
        assert started.how == "exit code 0"


@pytest.mark.parametrize(
    ("command", "order", "answer"),
    [
        (launch.WORKER, {"threads": 1, "spec": {"epoch": 1}}, "'epoch'"),
        (preflight.COMMAND, {"source": "strr", "sparsity_pct": 90.0, "arguments": {}}, "strr"),
    ],
)
def test_the_commands_start_in_a_fresh_python(
    monkeypatch: pytest.MonkeyPatch, command: Sequence[str], order: Any, answer: str
) -> None:
    """Elsewhere tests fork what these commands run."""
    monkeypatch.setattr(module, "subprocess", subprocess)
    with Child(command, order) as started:
        (event,) = started.events()
    assert event["event"] == "error" and answer in event["text"]
