"""Checks of claims that set STR beside the baselines of its own table: accuracy, and multiply-adds at some accuracy.

How a claim is decided is said in ``claims.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from paper_repro import tables
from paper_repro.evidence import statistics
from paper_repro.evidence.budget_claims import full_size
from paper_repro.evidence.evidence import Evidence
from paper_repro.evidence.finding import (
    Finding,
    ahead,
    between,
    few_seeds,
    interval,
    of_nearest_sparsity,
    span,
    told,
    unequal,
    who,
)
from paper_repro.evidence.tolerances import Tolerances
from paper_repro.verdict import Verdict, worst

SINGLE_RUNS = "They are single runs without a spread."
UNIFORM = ("gmp", "dnw")  # methods of Table 1 with the same sparsity in every layer


# -- fewer multiply-adds at the same accuracy -------------------------------------------------------------------------

SAME_ACCURACY_PCT = (80.0, 95.0)  # the regimes of the claim
ABOUT_20_PCT = 15.0  # what rounds to 20 % or more

Points = list[tuple[float, float]]  # (accuracy, MACs)


def equal_accuracy_published(evidence: Evidence, _limits: Tolerances) -> Finding | None:
    """Table 1: the FLOPs that STR needs at the accuracy of each uniform row, between its own rows."""
    points = [
        (row.reported.top1_pct, row.reported.macs_m)
        for row in evidence.table.rows
        if row.method == "str" and row.reported.top1_pct is not None and row.reported.macs_m is not None
    ]
    lines: list[dict[str, Any]] = []
    for row in _uniform_rows(evidence):
        top1, macs = row.reported.top1_pct, row.reported.macs_m
        ours = None if top1 is None else between(_front(points), top1)
        if ours is not None and macs is not None:
            line = {"row": row.id, "top1_pct": top1, "macs_m": macs, "str_macs_m": ours}
            lines.append({**line, "saved_pct": 100 * (1 - ours / macs)})
    if not lines:
        return None
    each = "; ".join(f"{line['row']}: {line['str_macs_m']:.0f} M for {line['macs_m']:.0f} M" for line in lines)
    saved = [line["saved_pct"] for line in lines]
    sentence = (
        f"At the printed accuracy of each uniform row, STR (on the line between its printed rows) needs {span(saved)} "
        f"% fewer FLOPs: {each}."
    )
    verdict = Verdict.PASS if min(saved) >= ABOUT_20_PCT else Verdict.FAIL
    return Finding(verdict, f"saves {span(saved)} % of the FLOPs", sentence, lines)


def equal_accuracy_runs(evidence: Evidence, _limits: Tolerances) -> Finding | None:
    """The same on runs, seed by seed: the network's own MACs decide, those of the full-size network are told."""
    own = _curves(evidence, at_full_size=False)
    full = _curves(evidence, at_full_size=True)
    lines: list[dict[str, Any]] = []
    outside: list[str] = []
    for row in _uniform_rows(evidence):
        top1, macs = evidence.by_seed(row.id, "top1_pct"), evidence.by_seed(row.id, "sparse_macs_m")
        dense = evidence.by_seed(row.id, "macs_m")
        at = {seed: between(own.get(seed, []), top1[seed]) for seed in top1}
        saved = {seed: 100 * (1 - ours / macs[seed]) for seed, ours in at.items() if ours is not None}
        if len(saved) < len(top1):
            outside.append(row.id)
        if saved:
            line = {"row": row.id, **interval(statistics.summarise(saved.values()))}
            line["verdict"] = str(ahead(statistics.summarise(saved.values()), -ABOUT_20_PCT))
            shares = [
                100 * (1 - share / (macs[seed] / dense[seed]))
                for seed in saved
                if (share := between(full.get(seed, []), top1[seed])) is not None
            ]
            if shares:
                line["full_size_saved_pct"] = float(np.mean(shares))
            lines.append(line)
    if not lines:
        return None
    verdicts = [Verdict(line["verdict"]) for line in lines] + [Verdict.INCONCLUSIVE] * bool(outside)
    saved_pct = [line["difference"] for line in lines]
    sentence = (
        f"MACs that STR saves at the accuracy of each uniform row, in %, on {evidence.setting}, seed by seed "
        f"[95 % interval]: {'; '.join(told(line) for line in lines)}."
    )
    weighed = [line["full_size_saved_pct"] for line in lines if "full_size_saved_pct" in line]
    if weighed and not evidence.full_scale:
        sentence += f" Weighed with the MACs of the full-size network: {span(weighed)} % fewer."
    if outside:
        sentence += f" STR's runs do not surround the accuracy of: {', '.join(outside)}."
    return Finding(worst(verdicts), f"saves {span(saved_pct)} % of the MACs", sentence + few_seeds(lines), lines)


def _uniform_rows(evidence: Evidence) -> list[tables.Row]:
    low, high = SAME_ACCURACY_PCT
    return [row for row in evidence.table.rows if row.method in UNIFORM and low <= (row.regime_pct or 0.0) <= high]


def _curves(evidence: Evidence, at_full_size: bool) -> dict[int, Points]:
    """Seed -> STR's runs as (accuracy, MACs), without those that another one beats; on the full-size network as a share
    of its dense MACs.
    """
    points: dict[int, Points] = {}
    for row, seed, layers in evidence.run_budgets("str"):
        top1 = evidence.by_seed(row, "top1_pct").get(seed)
        weighed = full_size(evidence, layers) if at_full_size else layers
        if top1 is not None and weighed is not None:
            macs = float((weighed["macs"] * (1 - weighed["sparsity_pct"] / 100)).sum())
            points.setdefault(seed, []).append((top1, macs / (weighed["macs"].sum() if at_full_size else 1e6)))
    return {seed: _front(of_seed) for seed, of_seed in points.items()}


def _front(points: Points) -> Points:
    """Those that no other point beats in both accuracy and MACs."""
    return [(top1, macs) for top1, macs in points if not any(a >= top1 and m < macs for a, m in points)]


# -- fewer multiply-adds than GMP (MobileNetV1) ----------------------------------------------------------------------

UP_TO_HALF_PCT = 45.0  # what rounds to 50 % or more


def half_published(evidence: Evidence, limits: Tolerances) -> Finding | None:
    """Table 2, as printed."""
    lines = []
    for gmp, ours in _pairs(evidence, [row.id for row in evidence.table.rows]):
        if gmp.reported.macs_m is None or ours.reported.macs_m is None:
            continue
        density = _density(ours.reported.sparsity_pct) / _density(gmp.reported.sparsity_pct)
        lines.append(_half_line(ours.id, gmp, None, ours.reported.macs_m, gmp.reported.macs_m, density))
    return _half_finding(lines, "printed pairs", limits)


def half_runs(evidence: Evidence, limits: Tolerances) -> Finding | None:
    """The same on pairs of trained networks."""
    lines = []
    for gmp, ours in _pairs(evidence, evidence.trained_rows):
        a, b = evidence.by_seed(ours.id, "sparse_macs_m"), evidence.by_seed(gmp.id, "sparse_macs_m")
        p, q = evidence.by_seed(ours.id, "nonzero_params_m"), evidence.by_seed(gmp.id, "nonzero_params_m")
        lines += [
            _half_line(ours.id, gmp, seed, a[seed], b[seed], p[seed] / q[seed])
            for seed in sorted(set(a) & set(b))
            if q[seed]
        ]
    return _half_finding(lines, "pairs of trained networks (same seed)", limits)


def _half_line(
    ours: str, gmp: tables.Row, seed: int | None, macs: float, gmp_macs: float, density: float
) -> dict[str, Any]:
    line = {
        "row": ours,
        "seed": seed,
        "gmp": gmp.id,
        "regime_pct": gmp.regime_pct,
        "macs_m": macs,
        "gmp_macs_m": gmp_macs,
        "ratio": macs / gmp_macs,
        "weights_ratio": density,
    }
    return {name: value for name, value in line.items() if value is not None}


def _half_finding(lines: list[dict[str, Any]], of_what: str, limits: Tolerances) -> Finding | None:
    if not lines:
        return None
    against = [line for line in lines if line["ratio"] >= 1]
    # having fewer MACs with more weights is the stronger statement; fewer MACs with far fewer weights shows nothing
    unequal = [line for line in lines if line["weights_ratio"] < 1 / (1 + limits.density_slack)]
    ratios = [100 * line["ratio"] for line in lines]
    reached = 100 - min(ratios) >= UP_TO_HALF_PCT
    verdict = Verdict.FAIL if against or not reached else Verdict.INCONCLUSIVE if unequal else Verdict.PASS
    sentence = (
        f"STR needs fewer MACs than GMP in {len(lines) - len(against)} of {len(lines)} {of_what}: {span(ratios, 1)} % "
        "of GMP's."
    )
    if 0 < len(against) < len(lines):
        sentence += f" It needs more in: {', '.join(who(line) for line in against)}."
    if unequal:
        sentence += f" Not at equal sparsity (STR keeps fewer weights): {', '.join(who(line) for line in unequal)}."
    return Finding(verdict, f"{span(ratios)} % of GMP's MACs", sentence, lines)


# -- ahead of GMP ----------------------------------------------------------------------------------------------------

AHEAD_FROM_PCT = 95.0


def ahead_published(evidence: Evidence, _limits: Tolerances) -> Finding | None:
    """Table 1, as printed."""
    lines = []
    for gmp, ours in _pairs(evidence, [row.id for row in evidence.table.rows]):
        if ours.reported.top1_pct is None or gmp.reported.top1_pct is None:
            continue
        lines.append(
            {
                "regime_pct": gmp.regime_pct,
                "row": ours.id,
                "gmp": gmp.id,
                "difference": ours.reported.top1_pct - gmp.reported.top1_pct,
                "weights_ratio": _density(ours.reported.sparsity_pct) / _density(gmp.reported.sparsity_pct),
            }
        )
    if not lines:
        return None
    told = "; ".join(f"{line['regime_pct']:g} %: {line['difference']:+.2f} points ({line['row']})" for line in lines)
    sentence = f"Printed accuracies, STR's row of the nearest sparsity minus GMP's: {told}. {SINGLE_RUNS}"
    return Finding(Verdict.INCONCLUSIVE, _from_95(lines), sentence, lines)


def ahead_runs(evidence: Evidence, limits: Tolerances) -> Finding | None:
    """The same on runs, paired by seed."""
    lines: list[dict[str, Any]] = []
    decided: list[Verdict] = []
    for gmp, ours in _pairs(evidence, evidence.trained_rows):
        paired = statistics.paired_difference(
            evidence.by_seed(ours.id, "top1_pct"), evidence.by_seed(gmp.id, "top1_pct")
        )
        if paired is None:
            if (gmp.regime_pct or 0) >= AHEAD_FROM_PCT:
                decided.append(Verdict.MISSING)
            continue
        kept = _mean(evidence, "nonzero_params_m", ours.id, paired.seeds)
        kept /= _mean(evidence, "nonzero_params_m", gmp.id, paired.seeds)
        verdict = ahead(paired.difference, 0.0)
        if verdict is Verdict.PASS and kept > 1 + limits.density_slack:
            verdict = Verdict.INCONCLUSIVE
        if (gmp.regime_pct or 0) >= AHEAD_FROM_PCT:
            decided.append(verdict)
        macs = [_mean(evidence, "sparse_macs_m", id, paired.seeds) for id in (ours.id, gmp.id)]
        lines.append(
            {
                "regime_pct": gmp.regime_pct,
                "row": ours.id,
                "gmp": gmp.id,
                **interval(paired.difference),
                "p": paired.p,
                "weights_ratio": kept,
                "macs_ratio": macs[0] / macs[1],
                "verdict": str(verdict),
            }
        )
    if not lines:
        return None
    told_all = "; ".join(told({**line, "row": f"{line['regime_pct']:g} %"}) for line in lines)
    sentence = f"STR minus GMP in top-1 points on {evidence.setting}, paired by seed [95 % interval]: {told_all}."
    if any(line["n"] > 1 for line in lines):
        sentence += " Each interval stands for itself, without a correction for their number."
    sentence += f" STR's MACs are {span([line['macs_ratio'] for line in lines], 1)} times GMP's in these pairs."
    sentence += few_seeds(lines) + unequal(lines, limits)
    leads = [line["difference"] for line in lines if (line["regime_pct"] or 0) >= AHEAD_FROM_PCT]
    grows = all(b > a for a, b in pairwise(leads))
    if len(leads) > 1:
        does = "grows" if grows else "does not grow"
        sentence += f" From {AHEAD_FROM_PCT:g} % on the mean lead {does} with every step in sparsity."
    verdict = worst(decided)
    return Finding(
        Verdict.INCONCLUSIVE if verdict is Verdict.PASS and not grows else verdict, _from_95(lines), sentence, lines
    )


def _from_95(lines: Sequence[Mapping[str, Any]]) -> str:
    leads = [line for line in lines if (line["regime_pct"] or 0) >= AHEAD_FROM_PCT]
    regimes = "/".join(f"{line['regime_pct']:g}" for line in leads)
    told = ", ".join(f"{line['difference']:+.2f}" for line in leads)
    return f"{regimes} %: {told} points"


# -- up to 10 points at 98 to 99 % -----------------------------------------------------------------------------------

ULTRA_SPARSE_PCT = 98.0
UP_TO_10_POINTS = 9.5  # what rounds to 10


def gain_published(evidence: Evidence, _limits: Tolerances) -> Finding | None:
    """Table 1: STR's best row of a regime beside the best of the other methods."""
    lines: list[dict[str, Any]] = []
    for ours, others in _ultra_sparse(evidence):
        printed = {row.id: row.reported.top1_pct for row in (*ours, *others) if row.reported.top1_pct is not None}
        best, other = (max(rows, key=lambda row: printed.get(row.id, 0.0)) for rows in (ours, others))
        lines.append(
            {
                "regime_pct": best.regime_pct,
                "row": best.id,
                "other": other.id,
                "difference": printed[best.id] - printed[other.id],
                "weights_ratio": _density(best.reported.sparsity_pct) / _density(other.reported.sparsity_pct),
            }
        )
    if not lines:
        return None
    told = "; ".join(
        f"{line['regime_pct']:g} %: {line['difference']:+.2f} points ({line['row']} and {line['other']}, "
        f"{100 * line['weights_ratio']:.0f} % of its weights)"
        for line in lines
    )
    most = max(line["difference"] for line in lines)
    verdict = Verdict.PASS if most >= UP_TO_10_POINTS else Verdict.FAIL
    sentence = f"Printed accuracies, STR's best row of the regime minus the best other one: {told}. {SINGLE_RUNS}"
    return Finding(verdict, f"{most:.2f} points at most", sentence, lines)


def gain_runs(evidence: Evidence, limits: Tolerances) -> Finding | None:
    """The same on runs, the best row by its mean; PASS when the interval of the largest lead reaches ten points."""
    lines: list[dict[str, Any]] = []
    for ours, others in _ultra_sparse(evidence):
        means = {row.id: summary.mean for row in (*ours, *others) if (summary := evidence.summary(row.id, "top1_pct"))}
        ids = [
            max((row.id for row in rows if row.id in means), key=means.__getitem__, default="")
            for rows in (ours, others)
        ]
        best, other = (evidence.by_seed(id, "top1_pct") for id in ids)
        paired = statistics.paired_difference(best, other)
        if paired is not None:
            weights = [_mean(evidence, "nonzero_params_m", id, paired.seeds) for id in ids]
            lines.append(
                {
                    "regime_pct": ours[0].regime_pct,
                    "row": ids[0],
                    "other": ids[1],
                    **interval(paired.difference),
                    "weights_ratio": weights[0] / weights[1],
                    "verdict": str(ahead(paired.difference, 0.0)),
                }
            )
    if not lines:
        return None
    most = max(lines, key=lambda line: line["difference"])
    verdict = Verdict.INCONCLUSIVE
    if most["high"] is not None and most["high"] < UP_TO_10_POINTS:
        verdict = Verdict.FAIL
    elif most["low"] is not None and most["low"] > 0:
        verdict = Verdict.PASS
    sentence = (
        f"STR's best row of the regime minus the best other one, top-1 points on {evidence.setting}, paired by seed "
        f"[95 % interval]: {'; '.join(told(line) for line in lines)}."
    )
    figure = f"{most['difference']:.2f} points at most"
    return Finding(verdict, figure, sentence + unequal(lines, limits) + few_seeds(lines), lines)


def _ultra_sparse(evidence: Evidence) -> list[tuple[list[tables.Row], list[tables.Row]]]:
    """(STR's rows, those of other methods) of each regime from 98 % on that has both."""
    rows = [row for row in evidence.table.rows if (row.regime_pct or 0.0) >= ULTRA_SPARSE_PCT]
    found = []
    for regime in dict.fromkeys(row.regime_pct for row in rows):
        ours = [row for row in rows if row.regime_pct == regime and row.method == "str"]
        others = [row for row in rows if row.regime_pct == regime and row.method != "str"]
        if ours and others:
            found.append((ours, others))
    return found


# -- common ----------------------------------------------------------------------------------------------------------


def _pairs(evidence: Evidence, rows: Sequence[str]) -> list[tuple[tables.Row, tables.Row]]:
    """(GMP row, STR row of the same regime with the nearest printed sparsity), among ``rows``."""
    known = [evidence.table.row(row) for row in rows]
    ours = [row for row in known if row.method == "str"]
    pairs = [(gmp, of_nearest_sparsity(gmp, ours)) for gmp in known if gmp.method == "gmp"]
    return [(gmp, row) for gmp, row in pairs if row is not None]


def _density(sparsity_pct: float | None) -> float:
    return 100.0 - (sparsity_pct or 0.0)


def _mean(evidence: Evidence, column: str, row: str, seeds: Sequence[int]) -> float:
    values = evidence.by_seed(row, column)
    return float(np.mean([values[seed] for seed in seeds]))
