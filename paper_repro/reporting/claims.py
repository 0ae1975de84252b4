"""The paper's claims, checked as claims: on its own published numbers (tier ``audit``) and on the runs of a tier.

How a claim is decided:

- A claim about a mean over seeds (an accuracy ahead of another) needs a 95 % t interval of the differences, paired by
  seed: PASS when it lies above zero, FAIL when below, INCONCLUSIVE otherwise. One seed gives no interval, and so does
  a printed number: INCONCLUSIVE.
- A claim about what a network is once trained (its budget, its MACs, when it began to prune) is checked on every
  network on its own, one seed or more. PASS when it holds for all, FAIL when some network contradicts it; the
  sentence says which.
- Where a claim says that a lead grows, means that do not grow make a PASS INCONCLUSIVE.
- Methods count as equally sparse while STR keeps at most ``density_slack`` (``ci/tolerances.toml``) more weights than
  the other one. A lead with more weights than that is INCONCLUSIVE.
- "At least as accurate" allows ``accuracy_margin`` (same file): PASS when the interval lies above minus the margin.
- At equal MACs a network is compared with the line between the two of the other method with the next fewer and the
  next more, each seed with its own; outside of their range nothing is compared.
- "First" and "last" layers are the first and the last third in forward order. Whether a third is sparser than uniform
  can be read by its weights (what share of them is zero) or by its layers (whether most are). PASS needs both
  readings; where they disagree the claim depends on the reading and is INCONCLUSIVE.

Which claims there are, their wording and their source stand in the table's TOML file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from paper_repro import tables
from paper_repro.reporting import method_claims, rank_claims, statistics, tolerances
from paper_repro.reporting.evidence import Evidence
from paper_repro.reporting.tolerances import Tolerances
from paper_repro.tables import AUDIT
from paper_repro.tables.loader import layer_rows
from paper_repro.verdict import Verdict, worst


@dataclass(frozen=True)
class ClaimResult:
    """One claim on one body of evidence. ``numbers`` are the lines of a table that stands behind the sentence."""

    id: str
    text: str
    source: str
    tier: str
    verdict: Verdict
    sentence: str
    numbers: tuple[Mapping[str, Any], ...] = ()


Finding = tuple[Verdict, str, list[dict[str, Any]]]
Checker = Callable[[Evidence, Tolerances], Finding | None]


def check(evidence: Evidence, limits: Tolerances | None = None) -> list[ClaimResult]:
    """Every claim of the table: first on the paper's own numbers, then on the runs of the tier.

    A claim without runs is MISSING. One that this module has no check for is INCONCLUSIVE and says so.
    """
    limits = limits or tolerances.load()
    found = []
    for claim in evidence.table.claims:
        on_paper, on_runs = CHECKS.get(claim.id, (None, None))
        if on_paper is None and on_runs is None:
            found.append(
                ClaimResult(
                    claim.id,
                    claim.text,
                    claim.source,
                    evidence.tier,
                    Verdict.INCONCLUSIVE,
                    "There is no check for this claim.",
                )
            )
            continue
        for tier, checker in ((AUDIT, on_paper), (evidence.tier, on_runs)):
            if checker is None or (checker is on_runs and evidence.tier == AUDIT):
                continue
            finding = checker(evidence, limits)
            if finding is not None:
                verdict, sentence, numbers = finding
                found.append(ClaimResult(claim.id, claim.text, claim.source, tier, verdict, sentence, tuple(numbers)))
            elif tier != AUDIT:
                found.append(
                    ClaimResult(
                        claim.id,
                        claim.text,
                        claim.source,
                        tier,
                        Verdict.MISSING,
                        f"Not the runs at tier {tier} that it needs.",
                    )
                )
    return found


# -- fewer multiply-adds than uniform --------------------------------------------------------------------------------


def _macs_published(evidence: Evidence, _limits: Tolerances) -> Finding | None:
    lines = []
    for row, layers in _published(evidence).items():
        lines.append({"row": row, **_against_uniform(layers)})
    return _macs_finding(lines, "of the paper's published budgets")


def _macs_runs(evidence: Evidence, _limits: Tolerances) -> Finding | None:
    lines: list[dict[str, Any]] = []
    for row, seed, layers in evidence.run_budgets("str"):
        lines.append({"row": row, "seed": seed, **_against_uniform(layers)})
    finding = _macs_finding(lines, "of the trained networks")
    if finding is None:
        return None
    verdict, sentence, _ = finding
    means = []
    for row in dict.fromkeys(line["row"] for line in lines):
        summary = statistics.summarise(100 * line["ratio"] for line in lines if line["row"] == row)
        means.append(f"{row}: {summary.text(1, ' %')}")
    return (
        verdict,
        f"{sentence} STR's MACs as a share of uniform's, mean over seeds [95 % interval]: {'; '.join(means)}.",
        lines,
    )


def _against_uniform(layers: pd.DataFrame) -> dict[str, float]:
    """MACs under the budget against the same overall sparsity in every layer, in millions."""
    overall = _sparsity(layers)
    dense = float(layers["macs"].sum())
    sparse = float((layers["macs"] * (1 - layers["sparsity_pct"] / 100)).sum())
    uniform = dense * (1 - overall / 100)
    return {
        "sparsity_pct": overall,
        "macs_m": sparse / 1e6,
        "uniform_macs_m": uniform / 1e6,
        "ratio": sparse / uniform if uniform else 1.0,
    }


def _macs_finding(lines: list[dict[str, Any]], of_what: str) -> Finding | None:
    if not lines:
        return None
    against = [line for line in lines if line["ratio"] >= 1]
    ratios = [line["ratio"] for line in lines]
    verdict = Verdict.FAIL if against else Verdict.PASS
    sentence = (
        f"STR needs fewer MACs than uniform sparsity would in {len(lines) - len(against)} of {len(lines)} {of_what} "
        f"({100 * min(ratios):.1f} to {100 * max(ratios):.1f} % of uniform's)."
    )
    if 0 < len(against) < len(lines):  # where it is all of them, the range above has said it
        listed = ", ".join(f"{_who(line)} ({100 * line['ratio']:.1f} %)" for line in against)
        sentence += f" It needs more in: {listed}."
    return verdict, sentence, lines


# -- fewer multiply-adds than GMP (MobileNetV1) ----------------------------------------------------------------------


def _gmp_macs_published(evidence: Evidence, limits: Tolerances) -> Finding | None:
    lines = []
    for gmp, ours in _pairs(evidence, [row.id for row in evidence.table.rows]):
        if gmp.reported.macs_m is None or ours.reported.macs_m is None:
            continue
        density = (100 - (ours.reported.sparsity_pct or 0)) / (100 - (gmp.reported.sparsity_pct or 0))
        lines.append(_gmp_line(ours.id, gmp.id, None, ours.reported.macs_m, gmp.reported.macs_m, density))
    return _gmp_macs_finding(lines, "on the printed numbers", limits)


def _gmp_macs_runs(evidence: Evidence, limits: Tolerances) -> Finding | None:
    lines = []
    for gmp, ours in _pairs(evidence, evidence.trained_rows):
        a, b = evidence.by_seed(ours.id, "sparse_macs_m"), evidence.by_seed(gmp.id, "sparse_macs_m")
        p, q = evidence.by_seed(ours.id, "nonzero_params_m"), evidence.by_seed(gmp.id, "nonzero_params_m")
        lines += [
            _gmp_line(ours.id, gmp.id, seed, a[seed], b[seed], p[seed] / q[seed])
            for seed in sorted(set(a) & set(b))
            if q[seed]
        ]
    return _gmp_macs_finding(lines, "of the pairs of trained networks (same seed)", limits)


def _gmp_line(ours: str, gmp: str, seed: int | None, macs: float, gmp_macs: float, density: float) -> dict[str, Any]:
    line = {
        "row": ours,
        "seed": seed,
        "gmp": gmp,
        "macs_m": macs,
        "gmp_macs_m": gmp_macs,
        "ratio": macs / gmp_macs,
        "weights_ratio": density,
    }
    return {name: value for name, value in line.items() if value is not None}


def _gmp_macs_finding(lines: list[dict[str, Any]], of_what: str, limits: Tolerances) -> Finding | None:
    if not lines:
        return None
    against = [line for line in lines if line["ratio"] >= 1]
    # having fewer MACs with more weights is the stronger statement; fewer MACs with far fewer weights shows nothing
    unequal = [line for line in lines if line["weights_ratio"] < 1 / (1 + limits.density_slack)]
    verdict = Verdict.FAIL if against else Verdict.INCONCLUSIVE if unequal else Verdict.PASS
    ratios = [line["ratio"] for line in lines]
    sentence = (
        f"STR needs fewer MACs than GMP in {len(lines) - len(against)} of {len(lines)} {of_what}: "
        f"{100 * min(ratios):.1f} to {100 * max(ratios):.1f} % of GMP's."
    )
    if 0 < len(against) < len(lines):
        sentence += f" It needs more in: {', '.join(_who(line) for line in against)}."
    if unequal:
        sentence += f" Not at equal sparsity (STR keeps fewer weights): {', '.join(_who(line) for line in unequal)}."
    return verdict, sentence, lines


# -- ahead of GMP ----------------------------------------------------------------------------------------------------

AHEAD_FROM_PCT = 95.0


def _ahead_published(evidence: Evidence, _limits: Tolerances) -> Finding | None:
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
    sentence = (
        f"Printed accuracies, STR's row of the nearest sparsity minus GMP's: {told}. "
        "They are single runs without a spread."
    )
    return Verdict.INCONCLUSIVE, sentence, lines


def _ahead_runs(evidence: Evidence, limits: Tolerances) -> Finding | None:
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
        difference = paired.difference
        kept = _mean_density(evidence, ours.id, paired.seeds) / _mean_density(evidence, gmp.id, paired.seeds)
        verdict = _sign(difference)
        if verdict is Verdict.PASS and kept > 1 + limits.density_slack:
            verdict = Verdict.INCONCLUSIVE
        if (gmp.regime_pct or 0) >= AHEAD_FROM_PCT:
            decided.append(verdict)
        lines.append(
            {
                "regime_pct": gmp.regime_pct,
                "row": ours.id,
                "gmp": gmp.id,
                "difference": difference.mean,
                "low": difference.low,
                "high": difference.high,
                "p": paired.p,
                "n": difference.n,
                "weights_ratio": kept,
                "macs_ratio": _mean_macs(evidence, ours.id, paired.seeds) / _mean_macs(evidence, gmp.id, paired.seeds),
                "verdict": str(verdict),
            }
        )
    if not lines:
        return None
    told = "; ".join(_ahead_text(line) for line in lines)
    sentence = f"STR minus GMP in top-1 points on {evidence.setting}, paired by seed [95 % interval]: {told}."
    if any(line["n"] > 1 for line in lines):
        sentence += " Each interval stands for itself, without a correction for their number."
    ratios = [line["macs_ratio"] for line in lines]
    sentence += f" STR's MACs are {min(ratios):.1f} to {max(ratios):.1f} times GMP's in these pairs."
    if any(line["n"] < 2 for line in lines):
        sentence += " One seed gives no interval: more seeds are needed to decide."
    sentence += method_claims.unequal(lines, limits)
    leads = [line["difference"] for line in lines if (line["regime_pct"] or 0) >= AHEAD_FROM_PCT]
    grows = all(b > a for a, b in pairwise(leads))
    if len(leads) > 1:
        does = "grows" if grows else "does not grow"
        sentence += f" From {AHEAD_FROM_PCT:g} % on the mean lead {does} with every step in sparsity."
    verdict = worst(decided)
    return (Verdict.INCONCLUSIVE if verdict is Verdict.PASS and not grows else verdict), sentence, lines


def _ahead_text(line: Mapping[str, Any]) -> str:
    interval = "" if line["low"] is None else f" [{line['low']:+.2f}, {line['high']:+.2f}]"
    return f"{line['regime_pct']:g} %: {line['difference']:+.2f}{interval}, n = {line['n']}, {line['verdict']}"


def _sign(difference: statistics.Summary) -> Verdict:
    if difference.low is None or difference.high is None:
        return Verdict.INCONCLUSIVE
    if difference.low > 0:
        return Verdict.PASS
    return Verdict.FAIL if difference.high < 0 else Verdict.INCONCLUSIVE


# -- onset -----------------------------------------------------------------------------------------------------------


def _onset_published(evidence: Evidence, limits: Tolerances) -> Finding | None:
    """Figure 2 against itself: the curve alone says when sparsity began, and that it never fell afterwards."""
    if evidence.table.figure_layer is None:
        return None
    curve = tables.curve(evidence.table.name, "fig2_sparsity")
    onset = next((epoch for epoch, sparsity in curve if sparsity > limits.onset_before_pct), None)
    if onset is None:
        return None
    forecast = _forecast_of_figure_2(evidence)
    sentence = f"Figure 2 (90.23 %): sparsity first exceeds {limits.onset_before_pct:g} % at epoch {onset:.0f} of 100"
    if forecast is None:
        return Verdict.INCONCLUSIVE, f"{sentence}; no forecast to hold it against.", []
    verdict = Verdict.PASS if onset >= forecast - 1 else Verdict.FAIL  # the figure has one point per epoch
    return (
        verdict,
        f"{sentence}; g(s) is forecast to reach 4.5e-5, a level taken from Figure 1, at epoch {forecast:.2f}.",
        [],
    )


def _forecast_of_figure_2(evidence: Evidence) -> float | None:
    """The audit's forecast for the model of Figure 2, in epochs; None where the audit has none."""
    found = evidence.audit[(evidence.audit["quantity"] == "onset_epoch") & evidence.audit["recomputed"].notna()]
    return float(found["recomputed"].iloc[0]) if len(found) else None


def _onset_runs(evidence: Evidence, limits: Tolerances) -> Finding | None:
    lines = []
    for row in evidence.trained_rows:
        if evidence.table.row(row).method != "str":
            continue
        for run in evidence.row_runs(row).to_dict("records"):
            history = evidence.history[(evidence.history["row"] == row) & (evidence.history["seed"] == run["seed"])]
            if len(history):  # the released networks have none
                lines.append(_onset_line(run, history.sort_values("epoch"), limits))
    if not lines:
        return None
    untested = [line for line in lines if line["forecast_epoch"] == 0]
    tested = [line for line in lines if line["forecast_epoch"] != 0]
    if not tested:
        sentence = "The recipes begin at the onset (the forecast is epoch 0), so that nothing could rise before it."
        return Verdict.INCONCLUSIVE, sentence, lines
    against = [line for line in tested if not line["holds"]]
    lags = [line["onset_epoch"] - line["forecast_epoch"] for line in tested if _both(line)]
    sentence = f"Sparsity rose only after the forecast onset in {len(tested) - len(against)} of {len(tested)} runs"
    if lags:
        sentence += f"; observed minus forecast: {min(lags):+.2f} to {max(lags):+.2f} epochs"
    sentence += "."
    if untested:
        sentence += f" {len(untested)} runs begin at the onset and test nothing."
    if against:
        sentence += f" It does not hold for: {', '.join(_who(line) for line in against)}."
    return (Verdict.FAIL if against else Verdict.PASS), sentence, lines


def _both(line: Mapping[str, Any]) -> bool:
    return line["onset_epoch"] is not None and line["forecast_epoch"] is not None


def _onset_line(run: Mapping[Any, Any], history: pd.DataFrame, limits: Tolerances) -> dict[str, Any]:
    forecast = None if pd.isna(run["forecast_onset_epoch"]) else float(run["forecast_onset_epoch"])
    onset = None if pd.isna(run["onset_epoch"]) else float(run["onset_epoch"])
    epochs = history["epoch"].to_numpy(dtype=float)
    # sparsity is only looked at now and then: an onset between two looks is seen at the later one
    spacing = float(np.diff(epochs, prepend=0.0).max()) if len(epochs) else 0.0
    before = history.loc[history["epoch"] <= (forecast or 0.0), "sparsity_pct"]
    highest = float(before.max()) if len(before) else 0.0
    holds = (
        forecast is not None and onset is not None and onset >= forecast - spacing and highest < limits.onset_before_pct
    )
    return {
        "row": run["row"],
        "seed": run["seed"],
        "forecast_epoch": forecast,
        "onset_epoch": onset,
        "sparsity_before_forecast_pct": highest,
        "holds": holds,
    }


# -- the shape of the budget -----------------------------------------------------------------------------------------


def _shape_published(evidence: Evidence, _limits: Tolerances) -> Finding | None:
    lines = [{"row": row, **_shape(layers)} for row, layers in _published(evidence).items()]
    return _shape_finding(lines, "of the paper's published STR budgets")


def _shape_runs(evidence: Evidence, _limits: Tolerances) -> Finding | None:
    lines = [
        {"row": row, "seed": seed, **_shape(layers), "threshold_spread": _spread(layers["threshold"])}
        for row, seed, layers in evidence.run_budgets("str")
    ]
    found = _shape_finding(lines, "of the trained STR networks")
    if found is None:
        return None
    verdict, sentence, lines = found
    return verdict, f"{sentence} {_spread_sentence(evidence, [line['threshold_spread'] for line in lines])}", lines


def _spread(thresholds: pd.Series) -> float:
    """The largest threshold of a network over its smallest."""
    return float(thresholds.max() / thresholds.min())


def _spread_sentence(evidence: Evidence, spreads: list[float]) -> str:
    """How far the layers' thresholds have come apart. On a schedule so short that the decay of s outweighs its gradient
    they hardly do, and then a layer's sparsity says how large its weights are, not what it can spare.
    """
    sentence = f"The largest threshold of a network is {min(spreads):.1f} to {max(spreads):.1f} times its smallest"
    if evidence.table.figure_layer is None:
        return f"{sentence}."
    paper = [threshold for _, threshold in tables.curve(evidence.table.name, "fig3_threshold")]
    return (
        f"{sentence}, in the paper's Figure 3 {max(paper) / min(paper):.0f} times: where thresholds hardly differ, the "
        "decay of s has set them and not its gradient, and the budget follows the size of the weights."
    )


def _shape(layers: pd.DataFrame) -> dict[str, Any]:
    """The first and the last third against the overall sparsity, by both readings; the very first and last layer."""
    third = max(1, len(layers) // 3)
    overall = _sparsity(layers)
    first, last = layers.iloc[:third], layers.iloc[-third:]
    return {
        "sparsity_pct": overall,
        "first_third_pct": _sparsity(first),
        "last_third_pct": _sparsity(last),
        "layers_in_third": third,
        "first_layers_sparser": int((first["sparsity_pct"] > overall).sum()),
        "last_layers_denser": int((last["sparsity_pct"] < overall).sum()),
        "first_layer_pct": float(layers["sparsity_pct"].iloc[0]),
        "last_layer_pct": float(layers["sparsity_pct"].iloc[-1]),
    }


def _shape_finding(lines: list[dict[str, Any]], of_what: str) -> Finding | None:
    """PASS when both readings hold for every network, FAIL when one network contradicts both, else INCONCLUSIVE."""
    if not lines:
        return None
    total = len(lines)
    first = [line["first_third_pct"] > line["sparsity_pct"] for line in lines]
    last = [line["last_third_pct"] < line["sparsity_pct"] for line in lines]
    most_first = [line["first_layers_sparser"] > line["layers_in_third"] / 2 for line in lines]
    most_last = [line["last_layers_denser"] > line["layers_in_third"] / 2 for line in lines]
    stem = sum(line["first_layer_pct"] > line["sparsity_pct"] for line in lines)
    head = sum(line["last_layer_pct"] < line["sparsity_pct"] for line in lines)
    if all(first) and all(last) and all(most_first) and all(most_last):
        verdict = Verdict.PASS
    elif all(map(any, zip(first, most_first, strict=True))) and all(map(any, zip(last, most_last, strict=True))):
        verdict = Verdict.INCONCLUSIVE
    else:
        verdict = Verdict.FAIL
    sentence = (
        f"Counting weights, the first third of the layers is sparser than uniform in {sum(first)} of {total} {of_what} "
        f"and the last third denser in {sum(last)}. Counting layers, most of the first third are sparser in "
        f"{sum(most_first)} and most of the last third denser in {sum(most_last)}. "
        f"The very first convolution is sparser in {stem}, the classifier denser in {head}."
    )
    return verdict, sentence, lines


# -- common ----------------------------------------------------------------------------------------------------------


def _published(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """The paper's STR budgets of this table with the dense counts of each layer, in forward order."""
    counts = layer_rows(evidence.table.name)
    rows = {row.id for row in evidence.table.rows if row.method == "str"}
    return {
        name: pd.DataFrame(
            {
                "layer": list(budget),
                "params": [counts[layer].params for layer in budget],
                "macs": [counts[layer].macs for layer in budget],
                "sparsity_pct": list(budget.values()),
            }
        )
        for name, budget in tables.budgets(evidence.table.name).items()
        if name in rows
    }


def _pairs(evidence: Evidence, rows: Sequence[str]) -> list[tuple[tables.Row, tables.Row]]:
    """(GMP row, STR row of the same regime with the nearest printed sparsity), among ``rows``."""
    known = [evidence.table.row(row) for row in rows]
    pairs = []
    for gmp in (row for row in known if row.method == "gmp"):
        ours = [row for row in known if row.method == "str" and row.regime_pct == gmp.regime_pct]
        if ours:
            pairs.append(
                (
                    gmp,
                    min(ours, key=lambda row: abs((row.reported.sparsity_pct or 0) - (gmp.reported.sparsity_pct or 0))),
                )
            )
    return pairs


def _sparsity(layers: pd.DataFrame) -> float:
    """Share of zeros among all weights of some layers, in percent."""
    return float((layers["params"] * layers["sparsity_pct"]).sum() / layers["params"].sum())


def _density(sparsity_pct: float | None) -> float:
    return 100.0 - (sparsity_pct or 0.0)


def _mean_density(evidence: Evidence, row: str, seeds: Sequence[int]) -> float:
    values = evidence.by_seed(row, "nonzero_params_m")
    return statistics.summarise(values[seed] for seed in seeds).mean


def _mean_macs(evidence: Evidence, row: str, seeds: Sequence[int]) -> float:
    macs = evidence.by_seed(row, "sparse_macs_m")
    return float(np.mean([macs[seed] for seed in seeds]))


def _who(line: Mapping[str, Any]) -> str:
    return f"{line['row']} seed {line['seed']}" if "seed" in line else str(line["row"])


CHECKS: Mapping[str, tuple[Checker | None, Checker | None]] = {
    "dnw-as-accurate-under-str-budget": (method_claims.dnw_budget_published, method_claims.dnw_budget_runs),
    "gmp-ahead-under-str-budget": (method_claims.gmp_budget_published, method_claims.gmp_budget_runs),
    "st3-ahead-at-equal-sparsity": (method_claims.st3_published, method_claims.st3_runs),
    "st3-sigma-ahead-at-equal-macs": (method_claims.st3_macs_published, method_claims.st3_macs_runs),
    "ahead-of-vanilla-low-rank": (rank_claims.vanilla_published, rank_claims.vanilla_runs),
    "near-full-rank": (rank_claims.full_published, rank_claims.full_runs),
    "fewer-macs-than-uniform": (_macs_published, _macs_runs),
    "fewer-macs-than-gmp": (_gmp_macs_published, _gmp_macs_runs),
    "ahead-of-gmp-from-95": (_ahead_published, _ahead_runs),
    "sparsity-after-onset": (_onset_published, _onset_runs),
    "budget-shape": (_shape_published, _shape_runs),
}
