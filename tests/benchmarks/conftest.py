"""Benchmarks are read as ratios within one run: each against the member of its group marked as the reference, or
against the dense steps that it took turns with.
"""

from __future__ import annotations

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """After the table of times, one line per benchmark: its ratio."""
    session = getattr(config, "_benchmarksession", None)
    measured = [item for item in session.benchmarks if item.stats.rounds] if session else []
    if not measured:
        return
    terminalreporter.section("ratios (this run)")
    reference = {item.group: item for item in measured if item.extra_info.get("reference")}
    for item in measured:
        if "ratio" in item.extra_info:  # of steps that took turns
            info = item.extra_info
            terminalreporter.write_line(
                f"{item.group}: {info['label']} / {info['beside']} = {info['ratio']:.3f}  {info.get('goal', '')}"
            )
        elif item.group in reference and item is not reference[item.group]:
            base = reference[item.group]
            ratio = item.stats.min / base.stats.min
            goal = item.extra_info.get("goal", "")
            terminalreporter.write_line(
                f"{item.group}: {item.extra_info['label']} / {base.extra_info['label']} = {ratio:.3f}  {goal}"
            )
