"""Checks of claims that set one method beside another, or beside itself under another budget.

How a claim is decided is said in ``claims.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from paper_repro.evidence import statistics
from paper_repro.evidence.evidence import Evidence
from paper_repro.evidence.finding import Finding, Pair, ahead, between, few_seeds, interval, span, told, unequal
from paper_repro.evidence.tolerances import Tolerances
from paper_repro.verdict import Verdict, worst

# -- one method under STR's budget and under a uniform one (Tables 4 and 5) -------------------------------------------


def dnw_budget_published(evidence: Evidence, _limits: Tolerances) -> Finding | None:
    """Table 4, as printed."""
    return _published(_budget_pairs(evidence, "dnw"), "DNW with STR's budget minus DNW with a uniform one")


def dnw_budget_runs(evidence: Evidence, limits: Tolerances) -> Finding | None:
    """Table 4, on runs: at least as accurate, with fewer multiply-adds."""
    return _budget_runs(evidence, limits, "dnw", limits.accuracy_margin)


def gmp_budget_published(evidence: Evidence, _limits: Tolerances) -> Finding | None:
    """Table 5, as printed."""
    return _published(_budget_pairs(evidence, "gmp"), "GMP with STR's budget minus GMP with a uniform one")


def gmp_budget_runs(evidence: Evidence, limits: Tolerances) -> Finding | None:
    """Table 5, on runs: more accurate, with fewer multiply-adds."""
    return _budget_runs(evidence, limits, "gmp", 0.0)


def _budget_pairs(evidence: Evidence, method: str) -> list[Pair]:
    """(row with a budget of STR's, row with the uniform one) of the same method and regime."""
    rows = [row for row in evidence.table.rows if row.method == method]
    return [
        (ours, theirs)
        for theirs in rows
        if f"{method}-uniform-" in theirs.id
        for ours in rows
        if f"{method}-str-" in ours.id and ours.regime_pct == theirs.regime_pct
    ]


def _budget_runs(evidence: Evidence, limits: Tolerances, method: str, margin: float) -> Finding | None:
    compared = [_on_runs(evidence, pair, margin, limits.density_slack) for pair in _budget_pairs(evidence, method)]
    lines = [line for line in compared if line is not None]
    if not lines:
        return None
    decided = [Verdict(line["verdict"]) for line in lines] + [Verdict.MISSING] * (len(compared) - len(lines))
    more = [line["row"] for line in lines if line["macs_ratio"] >= 1]
    if more:
        decided.append(Verdict.FAIL)
    name = method.upper()
    sentence = (
        f"{name} with STR's budget minus {name} with a uniform one, top-1 points on {evidence.setting}, paired by seed "
        f"[95 % interval]: {'; '.join(told(line) for line in lines)}. Its MACs are "
        f"{100 * min(line['macs_ratio'] for line in lines):.0f} to "
        f"{100 * max(line['macs_ratio'] for line in lines):.0f} % of uniform's."
    )
    if more:
        sentence += f" It needs more in: {', '.join(more)}."
    return Finding(worst(decided), _leads(lines), sentence + unequal(lines, limits) + few_seeds(lines), lines)


# -- ST-3 beside STR ---------------------------------------------------------------------------------------------------


def st3_published(evidence: Evidence, _limits: Tolerances) -> Finding | None:
    """ST-3's README beside Table 1."""
    return _published(_regime_pairs(evidence), "ST-3's row minus STR's of the same regime")


def st3_runs(evidence: Evidence, limits: Tolerances) -> Finding | None:
    """ST-3 and STR on the same protocol."""
    pairs = [pair for pair in _regime_pairs(evidence) if set(_ids(pair)) <= set(evidence.trained_rows)]
    compared = [_on_runs(evidence, pair, 0.0, limits.density_slack) for pair in pairs]
    lines = [line for line in compared if line is not None]
    if not lines:
        return None
    decided = [Verdict(line["verdict"]) for line in lines] + [Verdict.MISSING] * (len(compared) - len(lines))
    sentence = (
        f"ST-3 minus STR in top-1 points on {evidence.setting}, paired by seed [95 % interval]: "
        f"{'; '.join(told(line) for line in lines)}."
    )
    return Finding(worst(decided), _leads(lines), sentence + unequal(lines, limits) + few_seeds(lines), lines)


def st3_macs_published(evidence: Evidence, _limits: Tolerances) -> Finding | None:
    """ST-3-sigma's printed accuracy against STR's at the same printed FLOPs."""
    curve = {row.id: (row.reported.macs_m, row.reported.top1_pct) for row in evidence.table.rows if row.method == "str"}
    lines = []
    for row in evidence.table.rows:
        macs, top1 = row.reported.macs_m, row.reported.top1_pct
        if row.method != "st3-sigma" or macs is None or top1 is None:
            continue
        at = between([(x, y) for x, y in curve.values() if x is not None and y is not None], macs)
        if at is not None:
            lines.append({"row": row.id, "macs_m": macs, "difference": top1 - at})
    if not lines:
        return None
    told = "; ".join(f"{line['row']} ({line['macs_m']:g} M): {line['difference']:+.2f}" for line in lines)
    return Finding(
        Verdict.INCONCLUSIVE,
        _leads(lines),
        f"Printed accuracies, ST-3-sigma minus STR at the same FLOPs (between STR's printed rows): {told} points. "
        "They are single runs without a spread, of two training recipes.",
        lines,
    )


def st3_macs_runs(evidence: Evidence, _limits: Tolerances) -> Finding | None:
    """ST-3-sigma's runs against STR's at the same multiply-adds, seed by seed."""
    ours, theirs = (
        [id for id in evidence.trained_rows if evidence.table.row(id).method == m] for m in ("st3-sigma", "str")
    )
    lines: list[dict[str, Any]] = []
    for id in ours:
        macs, top1 = evidence.by_seed(id, "sparse_macs_m"), evidence.by_seed(id, "top1_pct")
        differences = {}
        for seed in sorted(set(macs) & set(top1)):
            at = between(_of_seed(evidence, theirs, seed), macs[seed])
            if at is not None:
                differences[seed] = top1[seed] - at
        if differences:
            summary = statistics.summarise(differences.values())
            mean = statistics.summarise(macs.values()).mean
            lines.append({"row": id, "macs_m": mean, **interval(summary), "verdict": str(ahead(summary, 0.0))})
    if not lines:
        return None
    all_told = "; ".join(told(line) for line in lines)
    sentence = f"ST-3-sigma minus STR at the same MACs, top-1 points on {evidence.setting} [95 % interval]: {all_told}."
    left_out = [id for id in ours if id not in [line["row"] for line in lines] and len(evidence.row_runs(id))]
    if left_out:
        sentence += f" Outside of the range of STR's MACs: {', '.join(left_out)}."
    verdict = worst(Verdict(line["verdict"]) for line in lines)
    return Finding(verdict, _leads(lines), sentence + few_seeds(lines), lines)


def _regime_pairs(evidence: Evidence) -> list[Pair]:
    """(ST-3's row, STR's row of the nearest printed sparsity in the same regime)."""
    pairs = []
    for ours in (row for row in evidence.table.rows if row.method == "st3"):
        near = [row for row in evidence.table.rows if row.method == "str" and row.regime_pct == ours.regime_pct]
        if near:
            pairs.append(
                (ours, min(near, key=lambda row: abs((row.reported.sparsity_pct or 0) - (ours.regime_pct or 0))))
            )
    return pairs


def _of_seed(evidence: Evidence, rows: Sequence[str], seed: int) -> list[tuple[float, float]]:
    """(multiply-adds, accuracy) of the rows' runs with one seed."""
    points = []
    for id in rows:
        macs, top1 = evidence.by_seed(id, "sparse_macs_m"), evidence.by_seed(id, "top1_pct")
        if seed in macs and seed in top1:
            points.append((macs[seed], top1[seed]))
    return points


# -- common ----------------------------------------------------------------------------------------------------------


def _published(pairs: Sequence[Pair], what: str) -> Finding | None:
    """Differences of printed accuracies, with those of FLOPs and weights: told, and not decided."""
    lines = []
    for ours, theirs in pairs:
        a, b = ours.reported, theirs.reported
        if a.top1_pct is None or b.top1_pct is None:
            continue
        line: dict[str, Any] = {"row": ours.id, "other": theirs.id, "difference": a.top1_pct - b.top1_pct}
        line["weights_ratio"] = (100 - (a.sparsity_pct or 0)) / (100 - (b.sparsity_pct or 0))
        line["macs_ratio"] = a.macs_m / b.macs_m if a.macs_m and b.macs_m else None
        lines.append(line)
    if not lines:
        return None
    told = "; ".join(f"{line['row']}: {line['difference']:+.2f} points{_at_macs(line)}" for line in lines)
    sentence = f"Printed accuracies, {what}: {told}. They are single runs without a spread."
    return Finding(Verdict.INCONCLUSIVE, _leads(lines), sentence, lines)


def _leads(lines: Sequence[Mapping[str, Any]]) -> str:
    return f"{span([line['difference'] for line in lines], 2, sign=True)} points"


def _at_macs(line: Mapping[str, Any]) -> str:
    return "" if line["macs_ratio"] is None else f" at {100 * line['macs_ratio']:.0f} % of the FLOPs"


def _on_runs(evidence: Evidence, pair: Pair, margin: float, slack: float) -> dict[str, Any] | None:
    """One pair on runs. A lead with more weights decides nothing, and so does falling behind with fewer."""
    ours, theirs = _ids(pair)
    paired = statistics.paired_difference(evidence.by_seed(ours, "top1_pct"), evidence.by_seed(theirs, "top1_pct"))
    if paired is None:
        return None
    weights = _ratio(evidence, pair, "nonzero_params_m", paired.seeds)
    verdict = ahead(paired.difference, margin)
    if (verdict is Verdict.PASS and weights > 1 + slack) or (verdict is Verdict.FAIL and weights < 1 / (1 + slack)):
        verdict = Verdict.INCONCLUSIVE
    return {
        "row": ours,
        "other": theirs,
        **interval(paired.difference),
        "p": paired.p,
        "weights_ratio": weights,
        "macs_ratio": _ratio(evidence, pair, "sparse_macs_m", paired.seeds),
        "verdict": str(verdict),
    }


def _ids(pair: Pair) -> tuple[str, str]:
    return pair[0].id, pair[1].id


def _ratio(evidence: Evidence, pair: Pair, column: str, seeds: Sequence[int]) -> float:
    def mean(id: str) -> float:
        values = evidence.by_seed(id, column)
        return statistics.summarise(values[seed] for seed in seeds).mean

    return mean(pair[0].id) / mean(pair[1].id)
