"""Printed numbers that are wrong, with the evidence: ``results/errata.csv``, and what it makes of a comparison."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

from paper_repro.audit.comparison import UNITS, Comparison
from paper_repro.paper.printed import File, Name, Printed
from paper_repro.paper.quantity import parse
from paper_repro.reading import read_rows
from paper_repro.verdict import Verdict


class Erratum(File):
    """A line of ``results/errata.csv``: a printed number that is wrong, what it should be (in the audit's unit), and
    why we say so.
    """

    table: Name
    row: Name
    quantity: Name
    printed: Name
    recomputed: Printed
    evidence: Name

    def as_stale(self) -> Comparison:
        """The failure of an erratum that names nothing that is audited."""
        unit, note = UNITS.get(self.quantity, ""), "stale erratum: it names nothing that is audited"
        key = (self.table, self.row, self.quantity)
        return Comparison(*key, unit, self.printed, math.nan, math.nan, Verdict.FAIL, note)


def read_errata(path: Path) -> dict[tuple[str, str, str], Erratum]:
    """(paper table, row, quantity) -> erratum."""
    rows = read_rows(path, Erratum, "table", "row", "quantity", may_be_empty=True)
    return {(row.table, row.row, row.quantity): row for row in rows}


def settled(comparison: Comparison, erratum: Erratum | None) -> Comparison:
    """The comparison, with the erratum on file taken into account."""
    if erratum is None:
        return comparison
    stated = parse(erratum.recomputed)
    if comparison.verdict is not Verdict.FAIL:
        problem = "stale erratum: the printed number is confirmed"
    elif erratum.printed != comparison.printed:
        problem = f"stale erratum: it is about {erratum.printed}, printed is {comparison.printed}"
    elif not stated.matches(comparison.recomputed):
        problem = f"stale erratum: it states {erratum.recomputed}"
    elif stated.half_unit > parse(comparison.printed).half_unit:
        problem = f"erratum too coarse: {erratum.recomputed} has fewer digits than the printed {comparison.printed}"
    else:
        return replace(comparison, verdict=Verdict.ERRATUM, note=erratum.evidence)
    note = f"{problem} ({comparison.note})" if comparison.note else problem
    return replace(comparison, verdict=Verdict.FAIL, note=note)
