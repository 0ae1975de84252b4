"""Checks of claims about budgets: which layers end sparse, and how many multiply-adds are left.

How a claim is decided is said in ``claims.py``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from paper_repro import tables
from paper_repro.evidence.evidence import Evidence
from paper_repro.evidence.layers import (
    against_uniform,
    backbone,
    budgets,
    published_over_uniform,
    sparsity_pct,
    under_published,
)
from paper_repro.evidence.outcome import Outcome, span, who
from paper_repro.evidence.statistics import summarise
from paper_repro.experiments.claims import Rows
from paper_repro.tables import Claim
from paper_repro.verdict import Verdict

UNIFORM_PCT = 1.0  # a budget whose layers lie no further apart is uniform: small layers cannot be cut to the point
# Decay alone takes the s of all layers the same way, and all thresholds are equal; in the paper's Figure 3 the largest
# is 191 times the smallest. Up to this many times is less than half of that way, on a log scale.
HARDLY_DIFFER = 10.0


# -- multiply-adds against uniform ------------------------------------------------------------------------------------


def fewer_macs_than_uniform(claim: Claim, evidence: Evidence, printed: bool) -> Outcome | None:
    """Every budget against a uniform one of the same sparsity; and the same without the classifier. Beside each trained
    network stands what the paper's densities would need on it, because a smaller network has its weights in other
    layers.
    """
    lines: list[dict[str, Any]] = []
    networks = list(budgets(evidence, Rows(methods=claim.ours.methods), printed))
    for line, layers in networks:
        line |= against_uniform(layers) | {"backbone_ratio": against_uniform(backbone(layers))["ratio"]}
        if not (printed or evidence.full_scale):
            line["published_ratio"] = published_over_uniform(evidence, layers)
        lines.append(line)
    within = [line for line in lines if claim.ours.of(evidence.table.row(line["row"]))]
    if not within:
        return None
    above = [line for line in lines if line not in within]
    more = [line for line in within if line["ratio"] >= 1]
    ratios = [100 * line["ratio"] for line in within]
    fewer = f"{len(within) - len(more)} of {len(within)}"
    of_what = "the paper's published budgets" if printed else "the trained networks"
    sentence = (
        f"STR's budgets need fewer MACs than uniform ones in {fewer} of {of_what} up to the regime of "
        f"{claim.ours.regimes_pct[1]:g} % ({span(ratios, 1)} % of uniform's)."
    )
    if 0 < len(more) < len(within):  # where it is all of them, the range above has said it
        sentence += f" They need more in: {_ratios(more)}."
    if above:
        sentence += f" Above that regime: {_ratios(above)}."
    if not printed:
        sentence += _means(lines)
    sentence += _without_classifier(networks[0][1], within)
    return Outcome(
        Verdict.FAIL if more else Verdict.PASS, f"fewer in {fewer}: {span(ratios)} % of uniform's", sentence, lines
    )


def _means(lines: Sequence[Mapping[str, Any]]) -> str:
    by_row = pd.DataFrame(lines).groupby("row", sort=False)["ratio"]
    means = [f"{row}: {summarise(100 * ratios).text(1, ' %')}" for row, ratios in by_row]
    return f" As a share of uniform's, mean over seeds [95 % interval]: {'; '.join(means)}."


def _without_classifier(layers: pd.DataFrame, within: Sequence[Mapping[str, Any]]) -> str:
    """What the other layers need against a uniform budget of their own sparsity; ``layers``: of any of the networks."""
    shares = 100 * layers.iloc[-1][["params", "macs"]] / layers[["params", "macs"]].sum()
    sentence = (
        f" Without the classifier ({shares['params']:.1f} % of the weights, {shares['macs']:.2f} % of the MACs): "
        f"{span([100 * line['backbone_ratio'] for line in within], 1)} % of uniform's"
    )
    theirs = [100 * line["published_ratio"] for line in within if not math.isnan(line.get("published_ratio", math.nan))]
    if theirs:
        sentence += f". On this network the paper's densities need {span(theirs, 1)} %, at the same sparsities"
    return f"{sentence}."


def _ratios(lines: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(f"{who(line)} ({100 * line['ratio']:.1f} %)" for line in lines)


# -- sparser at first, denser at last ---------------------------------------------------------------------------------


def shape(claim: Claim, evidence: Evidence, printed: bool) -> Outcome | None:
    """The first and the last third of the layers against the whole network; the same without the classifier; of trained
    networks also how far their thresholds have come apart.
    """
    lines = []
    networks = list(budgets(evidence, claim.ours, printed))
    for line, layers in networks:
        first_third, last_third = _thirds(layers)
        line |= {
            "sparsity_pct": sparsity_pct(layers),
            "first_third_pct": sparsity_pct(first_third),
            "last_third_pct": sparsity_pct(last_third),
            "first_layer_pct": float(layers["sparsity_pct"].iloc[0]),
            "last_layer_pct": float(layers["sparsity_pct"].iloc[-1]),
        }
        rest = backbone(layers)
        first_third, last_third = _thirds(rest)
        line |= {
            "backbone_first_sparser": sparsity_pct(first_third) > sparsity_pct(rest),
            "backbone_last_denser": sparsity_pct(last_third) < sparsity_pct(rest),
        }
        if not printed:
            kept = layers[layers["sparsity_pct"] < 100.0]  # decay alone moves the threshold of an empty layer
            line["threshold_spread"] = float(kept["threshold"].max() / kept["threshold"].min())
            line["empty_layers"] = len(layers) - len(kept)
        lines.append(line)
    if not lines:
        return None
    frame, total = pd.DataFrame(lines), len(lines)
    first, stem = (int((frame[name] > frame["sparsity_pct"]).sum()) for name in ("first_third_pct", "first_layer_pct"))
    last, head = (int((frame[name] < frame["sparsity_pct"]).sum()) for name in ("last_third_pct", "last_layer_pct"))
    of_what = "the paper's published STR budgets" if printed else "the trained STR networks"
    sentence = (
        f"Counting weights, the first third of the layers is sparser than uniform in {first} of {total} of {of_what}, "
        f"the last third denser in {last}. The first convolution is sparser in {stem}, the classifier denser in {head}."
        f" Without the classifier, the first third is sparser than uniform in {frame['backbone_first_sparser'].sum()}, "
        f"the last third denser in {frame['backbone_last_denser'].sum()}."
    )
    if not (printed or evidence.full_scale):
        sentence += _published_shape(evidence, networks[0][1])
    if not printed:
        some_are_empty = bool(frame["empty_layers"].any())
        sentence += f" {_spread_sentence(evidence, list(frame['threshold_spread']), some_are_empty)}"
    verdict = Verdict.PASS if first == last == total else Verdict.FAIL
    return Outcome(verdict, f"first third sparser {first}, last denser {last} of {total}", sentence, lines)


def _published_shape(evidence: Evidence, network: pd.DataFrame) -> str:
    """The same of the paper's densities on a trained network, which has a smaller classifier."""
    theirs = [(layers, *_thirds(layers)) for layers in under_published(evidence, network).values()]
    if not theirs:
        return ""
    first = sum(sparsity_pct(first) > sparsity_pct(layers) for layers, first, _ in theirs)
    last = sum(sparsity_pct(last) < sparsity_pct(layers) for layers, _, last in theirs)
    return (
        f" With the paper's densities on this network, the first third is sparser in {first} of {len(theirs)}, the "
        f"last third denser in {last}."
    )


def _spread_sentence(evidence: Evidence, spreads: list[float], some_are_empty: bool) -> str:
    """How far the layers' thresholds have come apart. On a schedule so short that the decay of s outweighs its gradient
    they hardly do, and then a layer's sparsity says how large its weights are, not what it can spare.
    """
    among = "Among the layers that keep weights, the" if some_are_empty else "The"
    sentence = f"{among} largest threshold of a network is {span(spreads, 1)} times its smallest"
    if evidence.table.figure_layer is not None:
        paper = [threshold for _, threshold in tables.curve(evidence.table.name, "fig3_threshold")]
        sentence += f", in the paper's Figure 3 {max(paper) / min(paper):.0f} times"
    if max(spreads) >= HARDLY_DIFFER:
        return f"{sentence}."
    return (
        f"{sentence}. Here the thresholds hardly differ: weight decay has set s, not its gradient, and the budget "
        "follows the magnitudes of the weights."
    )


# -- against other budgets (Tables 7 and 8) --------------------------------------------------------------------------


def against_baselines(claim: Claim, evidence: Evidence, printed: bool) -> Outcome | None:
    """STR's budget beside each baseline's: on paper all other published budgets, else those of trained networks, paired
    by seed. Compared is the STR budget of the same regime whose sparsity is the nearest. What begins sparser is only
    compared with budgets that are not uniform.
    """
    ours = list(budgets(evidence, claim.ours, printed))
    names = {line["row"] for line, _ in ours}
    regimes = {row.id: row.regime_pct for row in evidence.table.rows}
    lines = []
    for other, layers in budgets(evidence, None if printed else claim.theirs, printed):
        name = other.pop("row")
        same = [
            (line, of_row)
            for line, of_row in ours
            if line.get("seed") == other.get("seed") and regimes.get(name) in (None, regimes[line["row"]])
        ]
        if same and name not in names:
            overall = sparsity_pct(layers)
            line, nearest = min(same, key=lambda budget: abs(sparsity_pct(budget[1]) - overall))
            lines.append(line | {"other": name} | _beside(nearest, layers))
    return _baselines_outcome(lines, "published budget" if printed else "trained network")


def _beside(ours: pd.DataFrame, baseline: pd.DataFrame) -> dict[str, Any]:
    """Density of a third as a share of the whole network's, for both; and how many layers follow."""
    spread = float(baseline["sparsity_pct"].max() - baseline["sparsity_pct"].min())
    line: dict[str, Any] = {"non_uniform": spread > UNIFORM_PCT}
    for third, of_ours, of_baseline in zip(("first", "last"), _thirds(ours), _thirds(baseline), strict=True):
        kept, kept_other = 100 - sparsity_pct(of_ours), 100 - sparsity_pct(of_baseline)
        line |= {f"{third}_kept_pct": kept, f"{third}_kept_pct_other": kept_other}
        line[f"{third}_share"] = kept / (100 - sparsity_pct(ours))
        line[f"{third}_share_other"] = kept_other / (100 - sparsity_pct(baseline))
        line["layers"] = len(of_ours)
        sparser = of_ours["sparsity_pct"].to_numpy() > of_baseline["sparsity_pct"].to_numpy()
        line[f"{third}_layers_sparser"] = int(sparser.sum())
    line["first_holds"] = bool(line["first_share"] < line["first_share_other"])
    line["last_holds"] = bool(line["last_share"] > line["last_share_other"])
    return line


def _baselines_outcome(lines: list[dict[str, Any]], of_what: str) -> Outcome | None:
    first = [line for line in lines if line["non_uniform"]]
    if not first:
        return None
    against_first = [line for line in first if not line["first_holds"]]
    against_last = [line for line in lines if not line["last_holds"]]
    sparser, denser = len(first) - len(against_first), len(lines) - len(against_last)
    layers = lines[0]["layers"]
    sentence = (
        f"Against each {of_what} of a baseline, counting weights: STR's first third of the layers is sparser than in "
        f"{sparser} of {len(first)} that are not uniform, its last third denser than in {denser} of "
        f"{len(lines)}. Weights kept in the first third: {_kept(first, 'first')}; in the last: {_kept(lines, 'last')}."
    )
    against = dict.fromkeys(f"{line['row']} and {line['other']}" for line in against_first + against_last)
    if against:
        sentence += f" It does not hold for: {', '.join(against)}."
    sentence += (
        f" Counting layers, {span([line['first_layers_sparser'] for line in first])} of the first {layers} are sparser "
        f"than the baseline's, and {span([layers - line['last_layers_sparser'] for line in lines])} of the last "
        f"{layers} at least as dense."
    )
    figure = f"first {sparser} of {len(first)}, last {denser} of {len(lines)} baselines"
    return Outcome(Verdict.FAIL if against else Verdict.PASS, figure, sentence, lines)


def _kept(lines: Sequence[Mapping[str, Any]], third: str) -> str:
    """STR's share of kept weights in a third, and that of each other row; means over seeds."""
    frame = pd.DataFrame(lines)
    ours = "/".join(f"{value:.1f}" for value in frame.groupby("row", sort=False)[f"{third}_kept_pct"].mean())
    others = frame.groupby("other", sort=False)[f"{third}_kept_pct_other"].mean()
    return f"STR {ours} %, {', '.join(f'{name} {value:.1f} %' for name, value in others.items())}"


def _thirds(layers: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The first and the last third of the layers in forward order."""
    third = max(1, len(layers) // 3)
    return layers.iloc[:third], layers.iloc[-third:]
