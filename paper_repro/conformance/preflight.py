"""The checks of ``conformance`` on one method, in a process of its own: a plug-in that crashes, hangs or leaves takes
nothing with it. This process runs none of the plug-in's code.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from paper_repro.errors import UserError
from paper_repro.methods.plugins import Plugin
from paper_repro.runs.events import Events, parsed

PATIENCE_S = 180.0  # without a word from the process: loading torch and compiling take a while on a busy machine
COMMAND = (sys.executable, "-m", "paper_repro.conformance.preflight")


@dataclass(frozen=True)
class Report:
    """What the checks found, as plain data: one dict per check with the fields of ``conformance.Outcome``."""

    outcomes: tuple[dict[str, Any], ...]
    sparsity_argument: str  # the argument that asks the method for a sparsity

    @property
    def broken(self) -> tuple[dict[str, Any], ...]:
        """The failures after which training would mean nothing."""
        return tuple(outcome for outcome in self.outcomes if outcome["passed"] is False and outcome["needed"])

    @property
    def warnings(self) -> tuple[dict[str, Any], ...]:
        """The other failures."""
        return tuple(outcome for outcome in self.outcomes if outcome["passed"] is False and not outcome["needed"])


def check(
    plugin: Plugin,
    sparsity_pct: float,
    arguments: Mapping[str, Any],
    say: Callable[[Mapping[str, Any]], None] = lambda outcome: None,
) -> Report:
    """Run all checks on a method that is asked for ``sparsity_pct``; ``say`` hears of each as it ends.

    Raises UserError for a plug-in that cannot be loaded or built, crashes the process, or hangs.
    """
    process = subprocess.Popen(
        COMMAND,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",  # a plug-in may print anything
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,  # so that those that it starts can be ended with it
    )
    assert process.stdin and process.stdout and process.stderr
    errors: deque[str] = deque(maxlen=100)  # and what the plug-in prints
    drain = threading.Thread(target=errors.extend, args=(process.stderr,), daemon=True)
    drain.start()
    order = {"source": plugin.source, "sparsity_pct": sparsity_pct, "arguments": dict(arguments)}
    events, doing, hung = [], "load", threading.Event()

    def give_up() -> None:
        hung.set()
        _end(process)

    try:
        process.stdin.write(json.dumps(order))
        process.stdin.close()
        while True:
            watch = threading.Timer(PATIENCE_S, give_up)
            watch.start()
            line = process.stdout.readline()
            watch.cancel()
            if not line:
                break
            event = parsed(line)
            if event is None:
                continue
            events.append(event)
            match event["event"]:
                case "error":
                    raise UserError(event["text"])
                case "begin":
                    doing = event["doing"]
                case "outcome":
                    say(event["outcome"])
        code = process.wait()
    except BrokenPipeError:
        code = process.wait()
    finally:
        _end(process)
        drain.join()
        process.stdout.close()
        process.stderr.close()
    if hung.is_set():
        raise UserError(f"{plugin} hangs: no word in {PATIENCE_S:.0f} s, while it was to {doing}; nothing was trained")
    if not events or events[-1]["event"] != "end":
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        last = errors[-1].strip() if errors else "without a word"
        raise UserError(f"{plugin} ended its process ({how}) while it was to {doing}: {last}; nothing was trained")
    outcomes = tuple(event["outcome"] for event in events if event["event"] == "outcome")
    return Report(outcomes, events[-1]["sparsity_argument"])


def _end(process: subprocess.Popen[str]) -> None:
    """End the process with all that it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def main() -> None:
    """The process: reads the order from standard input, sends events."""
    import torch

    from paper_repro.conformance.checks import CHECKS, Subject, perform
    from paper_repro.methods import plugins

    tell = Events().tell
    torch.set_num_threads(1)
    order = json.load(sys.stdin)
    try:
        plugin = plugins.find(order["source"])
        argument = plugins.sparsity_argument(plugin, plugins.load(plugin))
        arguments = {argument: order["sparsity_pct"], **order["arguments"]}
        subject = Subject(plugin.source, arguments)
        with plugins.explained(plugin if plugin.sha256 else None, "be built"):
            subject.build()
    except UserError as error:
        tell("error", text=str(error))
        return
    broken = False
    for item in CHECKS:
        if broken and not item.needed:
            continue  # it will not be trained anyhow
        tell("begin", doing=f"pass the check {item.name!r} ({item.sentence})")
        outcome = perform(item, subject)
        broken |= item.needed and not outcome.passed
        tell("outcome", outcome=asdict(outcome))
    tell("end", sparsity_argument=argument)


if __name__ == "__main__":
    main()
