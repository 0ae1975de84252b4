"""How many seeds the rows of each table have, in docs/."""

from __future__ import annotations

from pathlib import Path

from paper_repro import tables
from paper_repro.evidence import evidence, tolerances
from paper_repro.report.markdown import NOT_RUN, markdown_table
from paper_repro.report.summary import few
from paper_repro.tables import CHECKPOINT

MOST_NAMES = 6


def seeds_of_rows(results_dir: Path) -> str:
    """For every table and tier with results: how many of its own rows have no run, one seed, two seeds, or more. The
    tables and tiers without any are named below.
    """
    lines, without, enough = [], [], tolerances.load().seeds
    for table in tables.names():
        for tier in tables.load(table).tiers:
            e = evidence.load(table, tier, results_dir)
            holders = tables.holders(e.table, tier)
            seeds = {row: len(e.row_runs(row)) for row in e.trained_rows if holders[row][0] == table}
            if any(seeds.values()):
                lines.append([f"`{table}`", f"`{tier}`", *_by_count(seeds, enough)])
            elif seeds and tier != CHECKPOINT:
                without.append(f"`{table}` at `{tier}`")
    header = ["Table", "Tier", "Not trained yet", "1 seed", "2 seeds", f"{enough} seeds or more"]
    none = f"\nTables with recipes that were not trained at all: {', '.join(without)}.\n" if without else ""
    return markdown_table(header, lines) + none if lines else NOT_RUN


def _by_count(seeds: dict[str, int], enough: int) -> list[str]:
    """The rows with 0, 1, 2, ... seeds; of those with enough, only how many there are."""
    cells = []
    for count in range(enough):
        rows = [f"`{row}`" for row, number in seeds.items() if number == count]
        cells.append(f"{len(rows)}: {few(rows, MOST_NAMES)}" if rows else "–")
    return [*cells, str(sum(number >= enough for number in seeds.values()) or "–")]
