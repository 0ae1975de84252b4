"""What a check of a claim finds, and the words that all checks share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from paper_repro import tables
from paper_repro.evidence.evidence import Evidence
from paper_repro.evidence.statistics import Summary
from paper_repro.evidence.tolerances import Tolerances
from paper_repro.verdict import Verdict

Pair = tuple[tables.Row, tables.Row]  # the row that is said to be ahead, and the other one


class Finding(NamedTuple):
    """``figure``: the evidence in a few words, for a line of the summary. ``numbers``: the lines of a table that stands
    behind the sentence.
    """

    verdict: Verdict
    figure: str
    sentence: str
    numbers: Sequence[Mapping[str, Any]] = ()


Checker = Callable[[Evidence, Tolerances], Finding | None]


def who(line: Mapping[str, Any]) -> str:
    """The row of a line, and its seed where it has one."""
    return f"{line['row']} seed {line['seed']}" if "seed" in line else str(line["row"])


def span(values: Sequence[float], digits: int = 0, sign: bool = False) -> str:
    """The range of some numbers: "17 to 40", or the number where they all read the same."""
    low, high = (f"{value:{'+' if sign else ''}.{digits}f}" for value in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def interval(difference: Summary) -> dict[str, Any]:
    """The columns of a difference in the numbers behind a claim."""
    return {"difference": difference.mean, "low": difference.low, "high": difference.high, "n": difference.n}


def ahead(difference: Summary, margin: float) -> Verdict:
    """PASS when the interval lies above minus the margin, FAIL when below it, INCONCLUSIVE otherwise."""
    if difference.low is None or difference.high is None:
        return Verdict.INCONCLUSIVE
    if difference.low > -margin:
        return Verdict.PASS
    return Verdict.FAIL if difference.high < -margin else Verdict.INCONCLUSIVE


def told(line: Mapping[str, Any]) -> str:
    """A difference in words."""
    interval = "" if line["low"] is None else f" [{line['low']:+.2f}, {line['high']:+.2f}]"
    return f"{line['row']}: {line['difference']:+.2f}{interval}, n = {line['n']}, {line['verdict']}"


def unequal(lines: Sequence[Mapping[str, Any]], limits: Tolerances) -> str:
    """Which pairs are not equally sparse, and by how much."""
    slack = limits.density_slack
    found = [line for line in lines if not 1 / (1 + slack) <= line["weights_ratio"] <= 1 + slack]
    if not found:
        return ""
    told = ", ".join(f"{line['row']} ({100 * line['weights_ratio']:.0f} %)" for line in found)
    return f" Not at equal sparsity (weights left, as a share of the other's): {told}."


def few_seeds(lines: Sequence[Mapping[str, Any]]) -> str:
    """What to say where one seed decides nothing."""
    few = any(line["n"] < 2 for line in lines)
    return " One seed gives no interval: more seeds are needed to decide." if few else ""


def between(points: Sequence[tuple[float, float]], x: float) -> float | None:
    """The y of the line through the points next to ``x`` on either side; None outside of their range."""
    below = max((point for point in points if point[0] <= x), default=None)
    above = min((point for point in points if point[0] >= x), default=None)
    if below is None or above is None:
        return None
    if above[0] == below[0]:
        return below[1]
    return below[1] + (above[1] - below[1]) * (x - below[0]) / (above[0] - below[0])


def of_nearest_sparsity(row: tables.Row, others: Sequence[tables.Row]) -> tables.Row | None:
    """The row among ``others`` of the same regime whose printed sparsity is the nearest; None where none is."""
    same = [other for other in others if other.regime_pct == row.regime_pct]
    sparsity = row.reported.sparsity_pct or row.regime_pct or 0.0
    return min(same, key=lambda other: abs((other.reported.sparsity_pct or 0.0) - sparsity), default=None)
