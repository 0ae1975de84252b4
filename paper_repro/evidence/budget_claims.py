"""Checks of claims about budgets: which layers end sparse, and how many multiply-adds are left.

How a claim is decided is said in ``claims.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from paper_repro import tables
from paper_repro.evidence import statistics
from paper_repro.evidence.evidence import Evidence
from paper_repro.evidence.finding import Finding, of_nearest_sparsity, span, who
from paper_repro.evidence.tolerances import Tolerances
from paper_repro.tables import layer_rows
from paper_repro.verdict import Verdict

FEWER_UP_TO_PCT = 98.0  # the last regime of Table 1 in which the published budgets need fewer MACs than uniform ones
NON_UNIFORM = ("rigl-erk", "snfs-erk", "gmp-erk", "gmp-global")  # methods with a budget that is not uniform by design


# -- multiply-adds against uniform ------------------------------------------------------------------------------------


def macs_published(evidence: Evidence, _limits: Tolerances) -> Finding | None:
    """Tables 6 and 8 against uniform budgets of the same sparsity."""
    lines = [{"row": row, **against_uniform(layers)} for row, layers in published(evidence).items()]
    return _macs_finding(evidence, lines, "of the paper's published budgets")


def macs_runs(evidence: Evidence, _limits: Tolerances) -> Finding | None:
    """The same on trained networks, and their densities on the full-size network, whose MACs lie elsewhere."""
    lines: list[dict[str, Any]] = []
    for row, seed, layers in evidence.run_budgets("str"):
        line = {"row": row, "seed": seed, **against_uniform(layers)}
        at_full_size = full_size(evidence, layers)
        if at_full_size is not None:
            line["full_size_ratio"] = against_uniform(at_full_size)["ratio"]
        lines.append(line)
    found = _macs_finding(evidence, lines, "of the trained networks")
    if found is None:
        return None
    means = []
    for row in dict.fromkeys(line["row"] for line in lines):
        summary = statistics.summarise(100 * line["ratio"] for line in lines if line["row"] == row)
        means.append(f"{row}: {summary.text(1, ' %')}")
    sentence = f"{found.sentence} As a share of uniform's, mean over seeds [95 % interval]: {'; '.join(means)}."
    full = [100 * line["full_size_ratio"] for line in lines if "full_size_ratio" in line]
    if full and not evidence.full_scale:
        sentence += " The same densities on the full-size network, whose MACs lie in other layers: "
        sentence += f"{span(full)} % of uniform's."
    return found._replace(sentence=sentence)


def against_uniform(layers: pd.DataFrame) -> dict[str, float]:
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


def full_size(evidence: Evidence, layers: pd.DataFrame) -> pd.DataFrame | None:
    """The layers with the weights and MACs of the full-size network; None where it has other layers."""
    counts = layer_rows(evidence.table.name)
    if not set(layers["layer"]) <= counts.keys():
        return None
    return layers.assign(
        params=[counts[name].params for name in layers["layer"]], macs=[counts[name].macs for name in layers["layer"]]
    )


def _macs_finding(evidence: Evidence, lines: list[dict[str, Any]], of_what: str) -> Finding | None:
    regimes = {row.id: row.regime_pct or 0.0 for row in evidence.table.rows}
    within = [line for line in lines if regimes[line["row"]] <= FEWER_UP_TO_PCT]
    if not within:
        return None
    against = [line for line in within if line["ratio"] >= 1]
    ratios = [100 * line["ratio"] for line in within]
    fewer = f"{len(within) - len(against)} of {len(within)}"
    sentence = (
        f"STR's budgets need fewer MACs than uniform ones in {fewer} {of_what} up to the regime of "
        f"{FEWER_UP_TO_PCT:g} % ({span(ratios, 1)} % of uniform's)."
    )
    if 0 < len(against) < len(within):  # where it is all of them, the range above has said it
        sentence += f" They need more in: {_listed(against)}."
    above = [line for line in lines if line not in within]
    if above:
        sentence += f" Above that regime: {_listed(above)}."
    verdict = Verdict.FAIL if against else Verdict.PASS
    return Finding(verdict, f"fewer in {fewer}: {span(ratios)} % of uniform's", sentence, lines)


def _listed(lines: Iterable[Mapping[str, Any]]) -> str:
    return ", ".join(f"{who(line)} ({100 * line['ratio']:.1f} %)" for line in lines)


# -- against uniform: sparser at first, denser at last ---------------------------------------------------------------


def shape_published(evidence: Evidence, _limits: Tolerances) -> Finding | None:
    """Tables 6 and 8: the first and the last third of the layers against the whole network."""
    lines = [{"row": row, **_shape(layers)} for row, layers in published(evidence).items()]
    return _shape_finding(lines, "of the paper's published STR budgets")


def shape_runs(evidence: Evidence, _limits: Tolerances) -> Finding | None:
    """The same on trained networks, with how far their thresholds have come apart."""
    lines = [
        {"row": row, "seed": seed, **_shape(layers), "threshold_spread": _spread(layers["threshold"])}
        for row, seed, layers in evidence.run_budgets("str")
    ]
    found = _shape_finding(lines, "of the trained STR networks")
    if found is None:
        return None
    spreads = [line["threshold_spread"] for line in lines]
    return found._replace(sentence=f"{found.sentence} {_spread_sentence(evidence, spreads)}")


def _spread(thresholds: pd.Series) -> float:
    """The largest threshold of a network over its smallest."""
    return float(thresholds.max() / thresholds.min())


def _spread_sentence(evidence: Evidence, spreads: list[float]) -> str:
    """How far the layers' thresholds have come apart. On a schedule so short that the decay of s outweighs its gradient
    they hardly do, and then a layer's sparsity says how large its weights are, not what it can spare.
    """
    sentence = f"The largest threshold of a network is {span(spreads, 1)} times its smallest"
    if evidence.table.figure_layer is None:
        return f"{sentence}."
    paper = [threshold for _, threshold in tables.curve(evidence.table.name, "fig3_threshold")]
    return (
        f"{sentence}, in the paper's Figure 3 {max(paper) / min(paper):.0f} times: where thresholds hardly differ, the "
        "decay of s has set them and not its gradient, and the budget follows the size of the weights."
    )


def _shape(layers: pd.DataFrame) -> dict[str, Any]:
    first, last = _thirds(layers)
    return {
        "sparsity_pct": _sparsity(layers),
        "first_third_pct": _sparsity(first),
        "last_third_pct": _sparsity(last),
        "first_layer_pct": float(layers["sparsity_pct"].iloc[0]),
        "last_layer_pct": float(layers["sparsity_pct"].iloc[-1]),
    }


def _shape_finding(lines: list[dict[str, Any]], of_what: str) -> Finding | None:
    if not lines:
        return None
    total = len(lines)
    first = sum(line["first_third_pct"] > line["sparsity_pct"] for line in lines)
    last = sum(line["last_third_pct"] < line["sparsity_pct"] for line in lines)
    stem = sum(line["first_layer_pct"] > line["sparsity_pct"] for line in lines)
    head = sum(line["last_layer_pct"] < line["sparsity_pct"] for line in lines)
    sentence = (
        f"Counting weights, the first third of the layers is sparser than uniform in {first} of {total} {of_what}, the "
        f"last third denser in {last}. The first convolution is sparser in {stem}, the classifier denser in {head}."
    )
    verdict = Verdict.PASS if first == last == total else Verdict.FAIL
    return Finding(verdict, f"first sparser in {first}, last denser in {last} of {total}", sentence, lines)


# -- against other budgets (Tables 7 and 8) --------------------------------------------------------------------------


def baselines_published(evidence: Evidence, _limits: Tolerances) -> Finding | None:
    """Tables 7 and 8: STR's budget beside those of the baselines."""
    budgets = published(evidence, every=True)
    ours = {row.id: budgets[row.id] for row in evidence.table.rows if row.method == "str" and row.id in budgets}
    lines = []
    for name, theirs in budgets.items():
        if name not in ours and ours:
            row = min(ours, key=lambda row: abs(_sparsity(ours[row]) - _sparsity(theirs)))
            non_uniform = theirs["sparsity_pct"].nunique() > 1
            lines.append({"row": row, "other": name, **_beside(ours[row], theirs, non_uniform)})
    return _baselines_finding(lines, "published budget")


def baselines_runs(evidence: Evidence, _limits: Tolerances) -> Finding | None:
    """The same on trained networks of one regime, paired by seed."""
    budgets = {
        method: {(row, seed): layers for row, seed, layers in evidence.run_budgets(method)}
        for method in ("str", "gmp", *NON_UNIFORM)
    }
    trained = [evidence.table.row(row) for row in dict.fromkeys(row for row, _ in budgets.pop("str"))]
    ours = {(row, seed): layers for row, seed, layers in evidence.run_budgets("str")}
    lines = []
    for (id, seed), theirs in (item for of_method in budgets.values() for item in of_method.items()):
        row = of_nearest_sparsity(evidence.table.row(id), trained)
        if row is not None and (row.id, seed) in ours:
            beside = _beside(ours[row.id, seed], theirs, _non_uniform(evidence, id))
            lines.append({"row": row.id, "seed": seed, "other": id, **beside})
    return _baselines_finding(lines, "trained network")


def _non_uniform(evidence: Evidence, id: str) -> bool:
    """Whether a row's recipe leaves some layers denser than others."""
    keeps = evidence.plan is not None and "keep_dense" in evidence.plan.rows[id].spec.method_args
    return keeps or evidence.table.row(id).method in NON_UNIFORM


def _beside(ours: pd.DataFrame, theirs: pd.DataFrame, non_uniform: bool) -> dict[str, Any]:
    """Density of a third as a share of the whole network's, for both; and how many layers follow."""
    line: dict[str, Any] = {"non_uniform": non_uniform}
    for name, a, b in zip(("first", "last"), _thirds(ours), _thirds(theirs), strict=True):
        line[f"{name}_kept_pct"], line[f"{name}_kept_pct_other"] = 100 - _sparsity(a), 100 - _sparsity(b)
        line[f"{name}_share"] = (100 - _sparsity(a)) / (100 - _sparsity(ours))
        line[f"{name}_share_other"] = (100 - _sparsity(b)) / (100 - _sparsity(theirs))
        line["layers"] = len(a)
        sparser = a["sparsity_pct"].to_numpy() > b["sparsity_pct"].to_numpy()
        line[f"{name}_layers_sparser"] = int(sparser.sum())
    line["first_holds"] = bool(line["first_share"] < line["first_share_other"])
    line["last_holds"] = bool(line["last_share"] > line["last_share_other"])
    return line


def _baselines_finding(lines: list[dict[str, Any]], of_what: str) -> Finding | None:
    first = [line for line in lines if line["non_uniform"]]
    if not first:
        return None
    sparser = [line for line in first if line["first_holds"]]
    denser = [line for line in lines if line["last_holds"]]
    figure = f"first {len(sparser)} of {len(first)}, last {len(denser)} of {len(lines)} baselines"
    sentence = (
        f"Against each {of_what} of a baseline, counting weights: STR's first third of the layers is sparser than in "
        f"{len(sparser)} of {len(first)} that are not uniform, its last third denser than in {len(denser)} of "
        f"{len(lines)}. Weights kept in the first third: {_kept(first, 'first')}; in the last: {_kept(lines, 'last')}."
    )
    against = [line for line in first if line not in sparser] + [line for line in lines if line not in denser]
    if against:
        listed = dict.fromkeys(f"{line['row']} and {line['other']}" for line in against)
        sentence += f" It does not hold for: {', '.join(listed)}."
    layers = lines[0]["layers"]
    ahead = [line["first_layers_sparser"] for line in first]
    behind = [layers - line["last_layers_sparser"] for line in lines]
    sentence += (
        f" Counting layers, {span(ahead)} of the first {layers} are sparser than the baseline's, "
        f"and {span(behind)} of the last {layers} at least as dense."
    )
    return Finding(Verdict.FAIL if against else Verdict.PASS, figure, sentence, lines)


def _kept(lines: Sequence[Mapping[str, Any]], third: str) -> str:
    """STR's share of kept weights in a third, and that of each other row; means over seeds."""
    frame = pd.DataFrame(lines)
    ours = "/".join(f"{value:.1f}" for value in frame.groupby("row", sort=False)[f"{third}_kept_pct"].mean())
    theirs = frame.groupby("other", sort=False)[f"{third}_kept_pct_other"].mean()
    return f"STR {ours} %, {', '.join(f'{name} {value:.1f} %' for name, value in theirs.items())}"


# -- common ----------------------------------------------------------------------------------------------------------


def published(evidence: Evidence, every: bool = False) -> dict[str, pd.DataFrame]:
    """The paper's STR budgets of this table, or ``every`` one, with dense counts of each layer, in forward order."""
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
        if every or name in rows
    }


def _thirds(layers: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The first and the last third of the layers in forward order."""
    third = max(1, len(layers) // 3)
    return layers.iloc[:third], layers.iloc[-third:]


def _sparsity(layers: pd.DataFrame) -> float:
    """Share of zeros among all weights of some layers, in percent."""
    return float((layers["params"] * layers["sparsity_pct"]).sum() / layers["params"].sum())
