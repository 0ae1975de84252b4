"""The checks of ``conformance`` on one method, in a process of its own: a plug-in that crashes, hangs or leaves takes
nothing with it. This process runs none of the plug-in's code.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from paper_repro.errors import UserError
from paper_repro.methods.plugins import Plugin
from paper_repro.runs.child import Child

PATIENCE_S = 180.0  # without a word from the process: loading torch and compiling take a while on a busy machine
COMMAND = (sys.executable, "-m", "paper_repro.conformance.worker")


@dataclass(frozen=True)
class Findings:
    """The outcomes of the checks as plain data: one dict per check, with the fields of ``protocol.Outcome``."""

    outcomes: tuple[dict[str, Any], ...]
    sparsity_argument: str  # the argument that asks the method for a sparsity; "" for one whose rows decide it
    ranges: Mapping[str, Any] = field(default_factory=dict)  # that the method declares
    defaults: Mapping[str, Any] = field(default_factory=dict)  # argument -> its default, where that is a number

    @property
    def broken(self) -> tuple[dict[str, Any], ...]:
        """The failures after which training would mean nothing."""
        return tuple(outcome for outcome in self.outcomes if outcome["passed"] is False and outcome["needed"])


def findings(
    plugin: Plugin,
    sparsity_pct: float,
    arguments: Mapping[str, Any],
    say: Callable[[Mapping[str, Any]], None] = lambda outcome: None,
) -> Findings:
    """Run all checks on a method that is asked for ``sparsity_pct``; ``say`` hears of each as it ends.

    Raises UserError for a plug-in that cannot be loaded or built, crashes the process, or hangs.
    """
    what = {"source": plugin.source, "sparsity_pct": sparsity_pct, "arguments": dict(arguments)}
    told, doing = [], "load"
    with Child(COMMAND, what) as child:
        try:
            for event in child.events(PATIENCE_S):
                told.append(event)
                match event["event"]:
                    case "error":
                        raise UserError(event["text"])
                    case "begin":
                        doing = event["doing"]
                    case "outcome":
                        say(event["outcome"])
        finally:
            child.end()
        if child.hung:
            raise UserError(
                f"{plugin} hangs: no word in {PATIENCE_S:.0f} s, while it was to {doing}; nothing was trained"
            )
        if not told or told[-1]["event"] != "end":
            when = f"({child.how}) while it was to {doing}: {child.last_words or 'without a word'}"
            raise UserError(f"{plugin} ended its process {when}; nothing was trained")
    outcomes = tuple(event["outcome"] for event in told if event["event"] == "outcome")
    return Findings(outcomes, told[-1]["sparsity_argument"], told[-1]["ranges"], told[-1]["defaults"])
