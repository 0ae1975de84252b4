"""The process that performs the checks on one method: takes its order and sends events (``paper_repro.runs.child``)."""

from __future__ import annotations

import inspect
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from paper_repro import methods
from paper_repro.conformance.protocol import CHECKS, perform
from paper_repro.conformance.trial import Subject
from paper_repro.errors import UserError, require_known
from paper_repro.experiments import ranges
from paper_repro.methods import plugins
from paper_repro.runs import child


def main() -> None:
    """Take the order, perform the checks."""
    tell = child.Events().tell
    torch.set_num_threads(1)
    ordered = child.order()
    try:
        plugin = plugins.find(ordered["source"])
        cls = plugins.load(plugin)
        argument = plugins.sparsity_argument(plugin, cls)
        declared = said_of_search(plugin, cls, argument)
        asked = {argument: ordered["sparsity_pct"]} if argument else {}
        arguments = asked | ordered["arguments"]
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
    tell("end", sparsity_argument=argument, **declared)


def said_of_search(plugin: plugins.Plugin, cls: type[methods.Method], argument: str) -> dict[str, Any]:
    """What a method says of a search for its settings, as plain data: "ranges", and the "defaults" of its arguments.
    UserError for a range of what it does not take. ``argument`` asks it for a sparsity, and has no range.
    """
    place = plugins.defined_at(cls)
    declared = ranges.parsed(Path(place), "ranges,", cls.ranges)
    known = {*inspect.signature(cls).parameters, *ranges.OF_SPEC} - {argument}
    require_known("argument in ranges", declared, known, place)
    preset = {} if plugin.sha256 else methods.METHODS[plugin.name].preset
    return {
        "ranges": {name: item.model_dump() for name, item in ranges.fitted(declared, cls).items()},
        "defaults": {**ranges.defaults(cls), **preset},
    }


if __name__ == "__main__":
    main()
