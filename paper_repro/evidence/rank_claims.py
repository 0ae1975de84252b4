"""Checks of claims about learnt ranks (Table 3): against ranks that are given from the start, and against full rank.

How a claim is decided is said in ``claims.py``. Two rows are only compared where their runs are of one data set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from paper_repro import tables
from paper_repro.data.catalog import dataset
from paper_repro.evidence import statistics
from paper_repro.evidence.evidence import Evidence
from paper_repro.evidence.finding import Finding, Pair, ahead, few_seeds, interval, span, told
from paper_repro.evidence.statistics import PairedDifference
from paper_repro.evidence.tolerances import Tolerances
from paper_repro.verdict import Verdict, worst

FULL_RANK_MARGIN = 0.6  # points of accuracy, of the claim itself

VANILLA = "STR minus vanilla low rank at the same ranks"
FULL = "STR's learnt ranks minus full rank"


def vanilla_published(evidence: Evidence, _limits: Tolerances) -> Finding | None:
    """Table 3 as printed: STR beside low rank."""
    return _published(vanilla_pairs(evidence.table), VANILLA)


def vanilla_runs(evidence: Evidence, _limits: Tolerances) -> Finding | None:
    """The same on runs: more accurate at every pair of ranks."""
    return _runs(evidence, vanilla_pairs(evidence.table), VANILLA, 0.0)


def full_published(evidence: Evidence, _limits: Tolerances) -> Finding | None:
    """Table 3 as printed: STR beside full rank."""
    return _published(_full_pairs(evidence.table), FULL)


def full_runs(evidence: Evidence, _limits: Tolerances) -> Finding | None:
    """The same on runs: at most the claim's margin less accurate."""
    return _runs(evidence, _full_pairs(evidence.table), FULL, FULL_RANK_MARGIN)


def vanilla_pairs(table: tables.Table) -> list[Pair]:
    """(STR's row, the row of the same ranks and data that is low rank from the start), in table order."""
    vanilla = {(row.dataset, row.ranks): row for row in table.rows if row.method == "low-rank"}
    return [(row, vanilla[row.dataset, row.ranks]) for row in _learnt(table) if (row.dataset, row.ranks) in vanilla]


def _full_pairs(table: tables.Table) -> list[Pair]:
    full = {row.dataset: row for row in table.rows if row.method == "dense"}
    return [(row, full[row.dataset]) for row in _learnt(table) if row.dataset in full]


def _learnt(table: tables.Table) -> list[tables.Row]:
    return [row for row in table.rows if row.method == "str-rank"]


def paired(evidence: Evidence, pair: Pair) -> PairedDifference | None:
    """The difference in accuracy, paired by seed; None without a seed in common, and for runs on two data sets, unless
    these are the same examples.
    """
    ours, theirs = pair
    of_ours, of_theirs = (
        {dataset(name).same_as or name for name in evidence.row_runs(row.id)["dataset"]} for row in pair
    )
    if of_ours != of_theirs:
        return None
    return statistics.paired_difference(evidence.by_seed(ours.id, "top1_pct"), evidence.by_seed(theirs.id, "top1_pct"))


def _published(pairs: Sequence[Pair], what: str) -> Finding | None:
    lines: list[dict[str, Any]] = [
        {"row": ours.id, "other": theirs.id, "data": dataset(ours.dataset).title, "difference": a - b}
        for ours, theirs in pairs
        if (a := ours.reported.top1_pct) is not None and (b := theirs.reported.top1_pct) is not None
    ]
    if not lines:
        return None
    sentence = f"Printed accuracies, {what}: {'; '.join(_range(lines))} points. They are single runs without a spread."
    return Finding(Verdict.INCONCLUSIVE, _all(lines), sentence, lines)


def _runs(evidence: Evidence, pairs: Sequence[Pair], what: str, margin: float) -> Finding | None:
    lines: list[dict[str, Any]] = []
    without: list[str] = []
    for ours, theirs in pairs:
        if not {ours.id, theirs.id} <= set(evidence.trained_rows):
            continue
        found = paired(evidence, (ours, theirs))
        if found is None:
            without.append(ours.id)
            continue
        line = {"row": ours.id, "other": theirs.id, "data": evidence.setting_of(ours.id)}
        verdict = str(ahead(found.difference, margin))
        lines.append({**line, **interval(found.difference), "p": found.p, "verdict": verdict})
    if not lines:
        return None
    decided = [Verdict(line["verdict"]) for line in lines] + [Verdict.MISSING] * len(without)
    sentence = (
        f"{what}, top-1 points, paired by seed [95 % interval]: {'; '.join(told(line) for line in lines)}. "
        f"Means: {'; '.join(_range(lines))}."
    )
    if margin:
        sentence += f" Allowed are {margin:g} points less."
    if without:
        sentence += f" Nothing to compare (not run, ranks not reached, or other data) for: {', '.join(without)}."
    return Finding(worst(decided), _all(lines), sentence + few_seeds(lines), lines)


def _all(lines: Sequence[Mapping[str, Any]]) -> str:
    return f"{span([line['difference'] for line in lines], 2, sign=True)} points"


def _range(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """The smallest and the largest difference on each data set."""
    by_data: dict[str, list[float]] = {}
    for line in lines:
        by_data.setdefault(line["data"], []).append(line["difference"])
    return [f"{data} {min(found):+.2f} to {max(found):+.2f}" for data, found in by_data.items()]
