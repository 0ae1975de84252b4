"""Checks of claims about budgets: which layers end sparse, and how many multiply-adds are left.

How a claim is decided is said in ``claims.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from paper_repro import tables
from paper_repro.evidence.evidence import Evidence
from paper_repro.evidence.outcome import Outcome, span, who
from paper_repro.evidence.statistics import summarise
from paper_repro.experiments.claims import Rows
from paper_repro.tables import Claim, layer_rows
from paper_repro.verdict import Verdict

UNIFORM_PCT = 1.0  # a budget whose layers lie no further apart is uniform: small layers cannot be cut to the point


# -- multiply-adds against uniform ------------------------------------------------------------------------------------


def fewer_macs_than_uniform(claim: Claim, evidence: Evidence, printed: bool) -> Outcome | None:
    """Every budget against a uniform one of the same sparsity. Of trained networks also their densities on the
    full-size network, whose MACs lie in other layers.
    """
    lines: list[dict[str, Any]] = []
    for line, layers in budgets(evidence, Rows(methods=claim.ours.methods), printed):
        line |= against_uniform(layers)
        at_full_size = None if printed else full_size(evidence, layers)
        if at_full_size is not None:
            line["full_size_ratio"] = against_uniform(at_full_size)["ratio"]
        lines.append(line)
    within = [line for line in lines if claim.ours.of(evidence.table.row(line["row"]))]
    above = [line for line in lines if line not in within]
    if not within:
        return None
    more = [line for line in within if line["ratio"] >= 1]
    ratios = [100 * line["ratio"] for line in within]
    fewer = f"{len(within) - len(more)} of {len(within)}"
    of_what = "the paper's published budgets" if printed else "the trained networks"
    sentence = (
        f"STR's budgets need fewer MACs than uniform ones in {fewer} of {of_what} up to the regime of "
        f"{claim.ours.regimes_pct[1]:g} % ({span(ratios, 1)} % of uniform's)."
    )
    if 0 < len(more) < len(within):  # where it is all of them, the range above has said it
        sentence += f" They need more in: {_listed(more)}."
    if above:
        sentence += f" Above that regime: {_listed(above)}."
    if not printed:
        sentence += _means_and_full_size(evidence, lines)
    verdict = Verdict.FAIL if more else Verdict.PASS
    return Outcome(verdict, f"fewer in {fewer}: {span(ratios)} % of uniform's", sentence, lines)


def _means_and_full_size(evidence: Evidence, lines: Sequence[Mapping[str, Any]]) -> str:
    frame = pd.DataFrame(lines)
    means = [
        f"{row}: {summarise(100 * ratios).text(1, ' %')}" for row, ratios in frame.groupby("row", sort=False)["ratio"]
    ]
    sentence = f" As a share of uniform's, mean over seeds [95 % interval]: {'; '.join(means)}."
    if "full_size_ratio" in frame and not evidence.full_scale:
        full = span([100 * ratio for ratio in frame["full_size_ratio"].dropna()])
        sentence += (
            f" The same densities on the full-size network, whose MACs lie in other layers: {full} % of uniform's."
        )
    return sentence


def against_uniform(layers: pd.DataFrame) -> dict[str, float]:
    """MACs under the budget against the same overall sparsity in every layer, in millions."""
    overall, sparse = _sparsity(layers), macs_left(layers)
    uniform = float(layers["macs"].sum()) * (1 - overall / 100)
    return {
        "sparsity_pct": overall,
        "macs_m": sparse / 1e6,
        "uniform_macs_m": uniform / 1e6,
        "ratio": sparse / uniform if uniform else 1.0,
    }


def _listed(lines: Iterable[Mapping[str, Any]]) -> str:
    return ", ".join(f"{who(line)} ({100 * line['ratio']:.1f} %)" for line in lines)


# -- sparser at first, denser at last ---------------------------------------------------------------------------------


def shape(claim: Claim, evidence: Evidence, printed: bool) -> Outcome | None:
    """The first and the last third of the layers against the whole network; of trained networks also how far their
    thresholds have come apart.
    """
    lines, spreads = [], []
    for line, layers in budgets(evidence, claim.ours, printed):
        lines.append(
            line
            | {
                "sparsity_pct": _sparsity(layers),
                "first_third_pct": _sparsity(_thirds(layers)[0]),
                "last_third_pct": _sparsity(_thirds(layers)[1]),
                "first_layer_pct": float(layers["sparsity_pct"].iloc[0]),
                "last_layer_pct": float(layers["sparsity_pct"].iloc[-1]),
            }
        )
        if not printed:
            spreads.append(float(layers["threshold"].max() / layers["threshold"].min()))
            lines[-1]["threshold_spread"] = spreads[-1]
    if not lines:
        return None
    frame, total = pd.DataFrame(lines), len(lines)
    first, stem = (int((frame[name] > frame["sparsity_pct"]).sum()) for name in ("first_third_pct", "first_layer_pct"))
    last, head = (int((frame[name] < frame["sparsity_pct"]).sum()) for name in ("last_third_pct", "last_layer_pct"))
    of_what = "the paper's published STR budgets" if printed else "the trained STR networks"
    sentence = (
        f"Counting weights, the first third of the layers is sparser than uniform in {first} of {total} of {of_what}, "
        f"the last third denser in {last}. The first convolution is sparser in {stem}, the classifier denser in {head}."
    )
    if spreads:
        sentence += f" {_spread_sentence(evidence, spreads)}"
    verdict = Verdict.PASS if first == last == total else Verdict.FAIL
    return Outcome(verdict, f"first sparser in {first}, last denser in {last} of {total}", sentence, lines)


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


# -- against other budgets (Tables 7 and 8) --------------------------------------------------------------------------


def against_baselines(claim: Claim, evidence: Evidence, printed: bool) -> Outcome | None:
    """STR's budget beside each baseline's: on paper all other published budgets, else those of trained networks, paired
    by seed. Compared is the STR budget of the same regime whose sparsity is the nearest. What begins sparser is only
    compared with budgets that are not uniform.
    """
    ours = list(budgets(evidence, claim.ours, printed))
    regimes = {row.id: row.regime_pct for row in evidence.table.rows}
    lines = []
    for other, layers in budgets(evidence, None if printed else claim.theirs, printed):
        name = other.pop("row")
        same = [
            (line, of_row)
            for line, of_row in ours
            if line.get("seed") == other.get("seed") and regimes.get(name) in (None, regimes[line["row"]])
        ]
        if same and name not in [line["row"] for line, _ in ours]:
            line, nearest = min(same, key=lambda item: abs(_sparsity(item[1]) - _sparsity(layers)))
            lines.append(line | {"other": name} | _beside(nearest, layers))
    return _baselines_outcome(lines, "published budget" if printed else "trained network")


def _beside(ours: pd.DataFrame, baseline: pd.DataFrame) -> dict[str, Any]:
    """Density of a third as a share of the whole network's, for both; and how many layers follow."""
    spread = float(baseline["sparsity_pct"].max() - baseline["sparsity_pct"].min())
    line: dict[str, Any] = {"non_uniform": spread > UNIFORM_PCT}
    for name, a, b in zip(("first", "last"), _thirds(ours), _thirds(baseline), strict=True):
        line[f"{name}_kept_pct"], line[f"{name}_kept_pct_other"] = 100 - _sparsity(a), 100 - _sparsity(b)
        line[f"{name}_share"] = (100 - _sparsity(a)) / (100 - _sparsity(ours))
        line[f"{name}_share_other"] = (100 - _sparsity(b)) / (100 - _sparsity(baseline))
        line["layers"] = len(a)
        line[f"{name}_layers_sparser"] = int((a["sparsity_pct"].to_numpy() > b["sparsity_pct"].to_numpy()).sum())
    line["first_holds"] = bool(line["first_share"] < line["first_share_other"])
    line["last_holds"] = bool(line["last_share"] > line["last_share_other"])
    return line


def _baselines_outcome(lines: list[dict[str, Any]], of_what: str) -> Outcome | None:
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
    return Outcome(Verdict.FAIL if against else Verdict.PASS, figure, sentence, lines)


def _kept(lines: Sequence[Mapping[str, Any]], third: str) -> str:
    """STR's share of kept weights in a third, and that of each other row; means over seeds."""
    frame = pd.DataFrame(lines)
    ours = "/".join(f"{value:.1f}" for value in frame.groupby("row", sort=False)[f"{third}_kept_pct"].mean())
    others = frame.groupby("other", sort=False)[f"{third}_kept_pct_other"].mean()
    return f"STR {ours} %, {', '.join(f'{name} {value:.1f} %' for name, value in others.items())}"


# -- common ----------------------------------------------------------------------------------------------------------


def budgets(evidence: Evidence, rows: Rows | None, printed: bool) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """({row, and the seed of a trained network}, layers in forward order with their dense counts) of some rows, or of
    every published budget, those of no row of the table included.
    """
    chosen = {row.id for row in evidence.table.rows if rows is None or rows.of(row)}
    if not printed:
        for id in (id for id in evidence.trained_rows if id in chosen):
            for seed, layers in evidence.budgets[evidence.budgets["row"] == id].groupby("seed"):
                yield {"row": id, "seed": seed}, layers.reset_index(drop=True)
        return
    counts = layer_rows(evidence.table.name)
    for name, budget in tables.budgets(evidence.table.name).items():
        if rows is None or name in chosen:
            layers = pd.DataFrame({"layer": list(budget), "sparsity_pct": list(budget.values())})
            for dense in ("params", "macs"):
                layers[dense] = [getattr(counts[layer], dense) for layer in budget]
            yield {"row": name}, layers


def full_size(evidence: Evidence, layers: pd.DataFrame) -> pd.DataFrame | None:
    """The layers with the weights and MACs of the full-size network; None where it has other layers."""
    counts = layer_rows(evidence.table.name)
    if not set(layers["layer"]) <= counts.keys():
        return None
    return layers.assign(
        params=[counts[name].params for name in layers["layer"]], macs=[counts[name].macs for name in layers["layer"]]
    )


def full_size_macs(evidence: Evidence, row: str) -> dict[int, float]:
    """Seed -> millions of MACs that the full-size network would have under the densities of the row's run."""
    runs = evidence.budgets[evidence.budgets["row"] == row].groupby("seed")
    weighed = {int(str(seed)): full_size(evidence, layers) for seed, layers in runs}
    return {seed: macs_left(layers) / 1e6 for seed, layers in weighed.items() if layers is not None}


def macs_left(layers: pd.DataFrame) -> float:
    """MACs of the weights that are not zero."""
    return float((layers["macs"] * (1 - layers["sparsity_pct"] / 100)).sum())


def _thirds(layers: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The first and the last third of the layers in forward order."""
    third = max(1, len(layers) // 3)
    return layers.iloc[:third], layers.iloc[-third:]


def _sparsity(layers: pd.DataFrame) -> float:
    """Share of zeros among all weights of some layers, in percent."""
    return float((layers["params"] * layers["sparsity_pct"]).sum() / layers["params"].sum())
