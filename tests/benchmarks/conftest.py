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
        info = item.extra_info
        if "ratio" in info:  # of steps that took turns
            ratio, beside = info["ratio"], info["beside"]
        elif item.group in reference and item is not reference[item.group]:
            base = reference[item.group]
            ratio, beside = item.stats.min / base.stats.min, base.extra_info["label"]
        else:
            continue
        goal = f"  (goal: at most {info['at_most']:.2f})" if info.get("at_most") else ""
        terminalreporter.write_line(f"{item.group}: {info['label']} / {beside} = {ratio:.3f}{goal}")
