"""Markdown of the reports: a table, the heading of one, and a difference in a cell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from paper_repro.evidence.evidence import Evidence
from paper_repro.evidence.statistics import Summary

NOT_RUN = "Not run yet.\n"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; bars inside cells are escaped."""
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    lines += ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def heading(e: Evidence) -> str:
    """Which table at which tier, and what was trained there."""
    return f"Table `{e.table.name}`, tier `{e.tier}` ({e.setting}):"


def of_tier(e: Evidence, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table of one table at one tier, below its heading; a sentence where it has no rows."""
    return f"{heading(e)}\n\n{markdown_table(header, rows)}" if rows else NOT_RUN


def signed(difference: Summary | None) -> str:
    """A difference with its interval; a dash where nothing can be compared."""
    return "–" if difference is None else difference.signed()
