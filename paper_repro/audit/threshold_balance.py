"""The balance of thresholds (``methods/balance.py``) on what the paper prints of its 90.23 % ResNet50: Figure 3 has the
threshold of every layer, Table 6 its sparsity.

This is the project's own finding. The paper does not have it, and nothing here is a verdict on the paper.

If thresholds are balanced, each of them tells the L1 norm of the weights that its layer keeps, without a fit. The paper
prints no L1 norms, so that this is tested by what follows from it:

- L1 = kept weights x mean |w|. Where layers do not differ much in mean |w|, implied L1 goes with the number of kept
  weights, and so with the number of weights and with density alike.
- The implied mean |w| must be that of a network: above the layer's threshold, and of the size that weights have.

A high correlation alone says little. Density is what a threshold leaves, so that a layer with a low threshold keeps
much, whatever has set the threshold. The rivals below show how much of the agreement comes about that way. Each of them
sets thresholds by something else; the densities follow from weights with the spread that the printed threshold and
density of each layer imply (``uniform``: that of a fresh network, and equal densities). There the L1 norms are known as
well, and with them by how much the balance is missed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy import stats

from paper_repro import tables
from paper_repro.audit.recompute import network
from paper_repro.methods.balance import implied_l1s

Numbers = NDArray[np.float64]
DRAWS = 300
FIGURE_ERROR = 5e-5  # of a threshold that was read off Figure 3
# how weights are distributed around 0, in the rivals: a Gaussian, and one with more weights far out
SHAPES: Mapping[str, stats.rv_continuous] = {"gaussian": stats.norm, "laplace": stats.laplace}
# by what implied L1 is explained -> the columns; all but the position by their logarithms
EXPLANATIONS = {
    "kept weights": ["kept_weights"],
    "weights": ["params"],
    "position": ["position"],
    "fan-in": ["fan_in"],
    "density": ["density"],
    "kept weights and fan-in": ["kept_weights", "fan_in"],
    "weights, fan-in and position": ["params", "fan_in", "position"],
    "weights and density": ["params", "density"],
}
# what else may set the threshold -> its column
RIVALS = {"the number of weights": "params", "the position in the network": "position", "the fan-in": "fan_in"}
# what is measured of a rival -> what it means
MEASURES = {
    "layers": "layers that are left with some of their weights",
    "correlation": "correlation of log implied L1 with log kept weights",
    "slope": "exponent of implied L1 ~ (kept weights)^b",
    "l1_over_implied": "L1 over implied L1, median over layers: 1 where thresholds are balanced",
    "density_coefficient": "exponent q where implied L1 ~ weights^p density^q",
}


class Number(NamedTuple):
    """One result: a line of ``balance_tests.csv``."""

    test: str
    quantity: str
    value: float
    low: float | None
    high: float | None
    meaning: str


def layers(table: str) -> pd.DataFrame:
    """The layers of the network in the paper's Figure 3, first to last: the lines of ``balance.csv``. Empty for a table
    that it is not of.
    """
    printed = tables.load(table)
    if printed.figure_row is None:
        return pd.DataFrame()
    budget = tables.budgets(table)[printed.figure_row]
    modules = network(printed.model, printed.dataset).layers
    shapes = [modules[layer].get_parameter("weight").shape for layer in budget]
    params, sparsity_pct = np.array([shape.numel() for shape in shapes]), np.array(list(budget.values()))
    threshold = np.array([threshold for _, threshold in tables.curve(table, "fig3_threshold")])
    kept, implied = params * (1.0 - sparsity_pct / 100.0), _implied(threshold)
    return pd.DataFrame(
        {
            "layer": list(budget),
            "params": params,
            "fan_in": [shape[1:].numel() for shape in shapes],
            "sparsity_pct": sparsity_pct,
            "kept_weights": kept,
            "threshold": threshold,
            "implied_l1": implied,
            "implied_mean": implied / kept,
        }
    )


def tests(of: pd.DataFrame) -> list[Number]:
    """What the layers say for and against the balance."""
    columns = {name: of[name].to_numpy(dtype=np.float64) for name in of.columns if name != "layer"}
    columns["density"] = columns["kept_weights"] / columns["params"]
    columns["initial"] = np.sqrt(2.0 / columns["fan_in"])  # standard deviation in a fresh network (He et al., fan-in)
    position = np.arange(1.0, len(of) + 1)
    logs = {name: np.log(values) for name, values in columns.items()} | {"position": position}
    return [*_agreement(columns, logs), *_plausibility(columns), *_rivals(columns, logs)]


Columns = Mapping[str, Numbers]  # column of ``layers`` -> one number for each


def _implied(thresholds: Numbers) -> Numbers:
    return implied_l1s(torch.from_numpy(np.asarray(thresholds, dtype=np.float64))).numpy()


# -- agreement ---------------------------------------------------------------------------------------------------------


def _agreement(c: Columns, log: Columns) -> Iterator[Number]:
    """How implied L1 goes with what the layers hold; all by logarithms."""
    implied, kept = log["implied_l1"], log["kept_weights"]
    draws = np.random.default_rng(0).uniform(-FIGURE_ERROR, FIGURE_ERROR, (DRAWS, len(kept)))
    by_reading = [_correlation(kept, np.log(_implied(np.maximum(c["threshold"] + draw, 1e-6)))) for draw in draws]
    yield _paper("layers", len(kept), "layers that Figure 3 and Table 6 have")
    meaning = "correlation of log implied L1 with log kept weights; from low to high: within the accuracy of Figure 3"
    yield _paper("correlation", _correlation(kept, implied), meaning, *_middle(by_reading))
    meaning = "the same without the classifier, whose threshold has one digit in the figure"
    yield _paper("correlation_without_classifier", _correlation(kept[:-1], implied[:-1]), meaning)
    meaning = (
        "exponent b of implied L1 ~ (kept weights)^b: 1 where the mean |w| of kept weights is the same in all layers"
    )
    yield _paper("slope", _slope(kept, implied), meaning)
    for name, columns in EXPLANATIONS.items():
        meaning = f"share of the variance of log implied L1 that {name} explain{'' if len(columns) > 1 else 's'}"
        left = implied - _predicted([log[column] for column in columns], implied)
        yield _paper(f"explained by {name}", 1.0 - left.var() / implied.var(), meaning)
    by = [log["params"], log["density"]]
    _, weights, share = _fit(by, implied)
    meaning = "exponent of the number of weights, where implied L1 ~ weights^p density^q"
    yield _paper("weights_coefficient", weights, meaning)
    yield _paper("density_coefficient", share, "exponent q of density there")
    meaning = "factor by which implied L1 scatters around that fit (one standard deviation)"
    yield _paper("left", np.exp((implied - _predicted(by, implied)).std(ddof=3)), meaning)
    same_shape = pd.DataFrame({"x": log["density"], "y": implied}).groupby([c["params"], c["fan_in"]])
    x, y = (log["density"] - same_shape["x"].transform("mean"), implied - same_shape["y"].transform("mean"))
    slopes = x @ y / (x @ x), y @ y / (x @ y)
    meaning = "exponent of density between layers of equal size and fan-in; high: fitted the other way round"
    yield _paper("same_shape_slope", slopes[0], meaning, *slopes)
    yield _paper("same_shape_groups", (same_shape.size() > 1).sum(), "groups of two or more such layers")


def _plausibility(c: Columns) -> Iterator[Number]:
    """Whether the implied mean |w| is that of weights, and what it would be in the tail of a known distribution."""
    mean = c["implied_mean"]
    meaning = "implied mean |w| of a kept weight, from the smallest layer to the largest"
    yield _over_layers("implied_mean", mean, meaning)
    meaning = "the same, in units of the layer's threshold"
    yield _over_layers("implied_mean_over_threshold", mean / c["threshold"], meaning)
    meaning = "layers in which it is above the threshold, as it must"
    yield _paper("layers_above_threshold", (mean > c["threshold"]).sum(), meaning)
    meaning = "the same, in units of the standard deviation of a fresh network's weights, sqrt(2 / fan-in)"
    yield _over_layers("implied_mean_over_initial", mean / c["initial"], meaning)
    for name, shape in SHAPES.items():
        l1 = tail_l1(c["params"], _scale(c, shape), c["threshold"], shape)
        meaning = (
            f"L1 over implied L1, if the kept weights were the tail of a {name.title()} distribution that the "
            "threshold cuts at the printed density: 1 where the threshold is balanced"
        )
        yield _over_layers(f"{name}_tail_l1_over_implied", l1 / c["implied_l1"], meaning)


# -- rivals ------------------------------------------------------------------------------------------------------------


def _rivals(c: Columns, log: Columns) -> Iterator[Number]:
    """The same numbers where something else sets the thresholds."""
    rng = np.random.default_rng(0)
    orders = [rng.permutation(len(c["params"])) for _ in range(DRAWS)]
    for name, shape in SHAPES.items():
        scale = _scale(c, shape)
        for what, column in RIVALS.items():
            thresholds = np.exp(_predicted([log[column]], log["threshold"]))
            test = f"by {what.split()[-1] if column != 'position' else column}, {name}"
            yield from _rival(test, f"{what} alone sets the threshold", [_measured(c, thresholds, scale, shape)])
        dealt = [_measured(c, c["threshold"][order], scale, shape) for order in orders]
        yield from _rival(f"permuted, {name}", "the printed thresholds are dealt out to the layers at random", dealt)
        scale = c["initial"] / shape.std()
        equal = scale * shape.isf(c["kept_weights"].sum() / c["params"].sum() / 2.0)
        words = "a fresh network is pruned to the same density in every layer"
        yield from _rival(f"uniform, {name}", words, [_measured(c, equal, scale, shape)])
    yield from _dealt_out(c, orders)


def _dealt_out(c: Columns, orders: list[NDArray[np.int64]]) -> Iterator[Number]:
    """The implied mean |w| where the printed thresholds are dealt out at random, beside the paper's."""
    words = "the printed thresholds are dealt out at random, and the numbers of kept weights stay as printed"
    means = np.stack([c["implied_l1"][order] for order in orders]) / c["kept_weights"]
    above = (means > np.stack([c["threshold"][order] for order in orders])).sum(1)
    meaning = f"{words}: layers whose implied mean |w| is above the threshold, over all draws"
    yield Number("permuted", "layers_above_threshold", np.median(above), above.min(), above.max(), meaning)
    meaning, own, spreads = "largest implied mean |w| over the smallest", c["implied_mean"], means.max(1) / means.min(1)
    yield _paper("implied_mean_spread", own.max() / own.min(), meaning)
    low, middle, high = spreads.min(), np.median(spreads), spreads.max()
    yield Number("permuted", "implied_mean_spread", middle, low, high, f"{words}: {meaning}")


def _measured(c: Columns, thresholds: Numbers, scale: Numbers, shape: stats.rv_continuous) -> dict[str, float]:
    """The ``MEASURES`` if these were the thresholds, of weights of this scale. Layers that would keep no weight, or
    all, are left out.
    """
    density = 2.0 * shape.sf(thresholds / scale)
    there = (c["params"] * density >= 1.0) & (density < 1.0 - 1e-9)
    params, share, implied = c["params"][there], density[there], _implied(thresholds[there])
    l1 = tail_l1(params, scale[there], thresholds[there], shape)
    kept, log_implied = np.log(params * share), np.log(implied)
    values = (there.sum(), _correlation(kept, log_implied), _slope(kept, log_implied), np.median(l1 / implied))
    measured = dict(zip(MEASURES, map(float, values), strict=False))
    if np.ptp(np.log(share)) > 1e-6:  # with equal densities nothing can depend on them
        measured["density_coefficient"] = float(_fit([np.log(params), np.log(share)], log_implied)[2])
    return measured


def _rival(test: str, words: str, drawn: Sequence[Mapping[str, float]]) -> Iterator[Number]:
    for quantity in drawn[0]:
        values = [measured[quantity] for measured in drawn]
        low, high = _middle(values) if len(values) > 1 else (None, None)
        yield Number(test, quantity, float(np.median(values)), low, high, f"{words}: {MEASURES[quantity]}")


def _scale(c: Columns, shape: stats.rv_continuous) -> Numbers:
    """The scale of each layer's weights at which its printed threshold leaves its printed density."""
    return np.asarray(c["threshold"] / shape.isf(c["density"] / 2.0))


def tail_l1(params: Numbers, scale: Numbers, thresholds: Numbers, shape: stats.rv_continuous) -> Numbers:
    """Sum of |w| over the weights outside the threshold, of so many with this distribution."""
    z = thresholds / scale
    beyond = stats.norm.pdf(z) if shape is stats.norm else (1 + z) * np.exp(-z) / 2
    return np.asarray(2.0 * params * scale * beyond)


# -- arithmetic --------------------------------------------------------------------------------------------------------


def _paper(quantity: str, value: float, meaning: str, low: float | None = None, high: float | None = None) -> Number:
    """A number of the paper's own thresholds."""
    return Number("paper", quantity, float(value), low, high, meaning)


def _over_layers(quantity: str, values: Numbers, meaning: str) -> Number:
    """Median over layers, from the smallest to the largest."""
    return _paper(quantity, float(np.median(values)), meaning, float(values.min()), float(values.max()))


def _middle(values: Sequence[float]) -> tuple[float, float]:
    """The middle 95 %."""
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)


def _correlation(x: Numbers, y: Numbers) -> float:
    return float(np.corrcoef(x, y)[0, 1])


def _slope(x: Numbers, y: Numbers) -> float:
    return float(stats.linregress(x, y).slope)


def _fit(regressors: Sequence[Numbers], y: Numbers) -> Numbers:
    """Least squares: the constant, and one coefficient for each regressor."""
    return np.asarray(np.linalg.lstsq(np.column_stack([np.ones_like(y), *regressors]), y, rcond=None)[0])


def _predicted(regressors: Sequence[Numbers], y: Numbers) -> Numbers:
    return np.asarray(np.column_stack([np.ones_like(y), *regressors]) @ _fit(regressors, y))
