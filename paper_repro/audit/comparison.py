"""One printed number beside the recomputed one, and whether they agree."""

from __future__ import annotations

from dataclasses import dataclass

from paper_repro.audit.recompute import Estimate
from paper_repro.paper.quantity import Quantity
from paper_repro.verdict import Verdict

UNITS = {
    "top1_pct": "%",
    "sparsity_pct": "%",
    "backbone_sparsity_pct": "%",
    "params_m": "M",
    "macs_m": "M",
    "params": "1",
    "macs": "1",
    "size_kb": "KB",
}


@dataclass(frozen=True)
class Comparison:
    """One printed number beside the recomputed one; ``difference`` is recomputed - printed, both in ``unit``.

    NaN where there is nothing to recompute: an erratum that names nothing that is audited. ``printed`` is empty where
    the paper leaves out a number that follows from what it prints. ``convention``: the one that gives the number, where
    it is not the usual one.
    """

    paper_table: str
    row: str
    quantity: str
    unit: str
    printed: str
    recomputed: float
    difference: float
    verdict: Verdict
    note: str
    convention: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """What number it is: table of the paper, row, quantity."""
        return self.paper_table, self.row, self.quantity


def compare(printed: Quantity, estimate: Estimate) -> tuple[Verdict, str]:
    """Whether a recomputed value is the printed one, and by what reading."""
    excess = printed.excess(estimate.value)
    if excess == 0.0:
        return Verdict.PASS, "rounds" if "~" not in printed.text else "rounds, by the digits that ~ leaves"
    if excess <= estimate.spread:
        within = f"within the rounding of its inputs (+-{estimate.spread:.2g})"
        return (Verdict.PASS if estimate.spread <= printed.half_unit else Verdict.INCONCLUSIVE), within
    return (
        Verdict.FAIL,
        f"does not round to the printed value; the rounding of its inputs leaves +-{estimate.spread:.2g}",
    )


def compared(
    paper_table: str, row: str, quantity: str, printed: Quantity, estimate: Estimate, unit: str = ""
) -> Comparison:
    """The line of the audit about one printed number."""
    verdict, how = compare(printed, estimate)
    note = f"{how}; {estimate.note}" if estimate.note else how
    unit = unit or UNITS[quantity.split()[0]]
    difference = estimate.value - printed.value
    return Comparison(paper_table, row, quantity, unit, printed.text, estimate.value, difference, verdict, note)
