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

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
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


@dataclass(frozen=True)
class Layer:
    """One layer of the network in Figure 3: a line of ``balance.csv``."""

    layer: str
    params: int
    fan_in: int
    sparsity_pct: float
    kept_weights: float
    threshold: float
    implied_l1: float
    implied_mean: float


@dataclass(frozen=True)
class Number:
    """One result: a line of ``balance_tests.csv``."""

    test: str
    quantity: str
    value: float
    low: float | None
    high: float | None
    meaning: str


def layers(table: str) -> list[Layer]:
    """The layers of the network in the paper's Figure 3, first to last; none for a table that it is not of."""
    printed = tables.load(table)
    row = printed.figure_row
    if row is None:
        return []
    modules = network(printed.model, printed.dataset).layers
    thresholds = np.array([threshold for _, threshold in tables.curve(table, "fig3_threshold")])
    lines = []
    for (name, sparsity_pct), t, l1 in zip(
        tables.budgets(table)[row].items(), thresholds, _implied(thresholds), strict=True
    ):
        weight = modules[name].weight
        assert isinstance(weight, torch.Tensor)
        kept = weight.numel() * (1.0 - sparsity_pct / 100.0)
        lines.append(
            Layer(name, weight.numel(), weight[0].numel(), sparsity_pct, kept, float(t), float(l1), float(l1) / kept)
        )
    return lines


def tests(of: list[Layer]) -> list[Number]:
    """What the layers say for and against the balance."""
    columns = _Columns.of(of)
    return [*_agreement(columns), *_plausibility(columns), *_rivals(columns)]


@dataclass(frozen=True)
class _Columns:
    """The layers as arrays."""

    params: Numbers
    fan_in: Numbers
    density: Numbers
    threshold: Numbers
    implied: Numbers

    @classmethod
    def of(cls, layers: list[Layer]) -> _Columns:
        params, fan_in, kept, threshold, implied = (
            np.array([getattr(layer, name) for layer in layers], dtype=np.float64)
            for name in ("params", "fan_in", "kept_weights", "threshold", "implied_l1")
        )
        return cls(params, fan_in, kept / params, threshold, implied)

    @property
    def kept(self) -> Numbers:
        return self.params * self.density

    @property
    def position(self) -> Numbers:
        return np.arange(1, len(self.params) + 1, dtype=np.float64)

    @property
    def initial(self) -> Numbers:
        """Standard deviation of each layer's weights in a fresh network (He et al., fan-in)."""
        return np.sqrt(2.0 / self.fan_in)

    @property
    def shapes(self) -> NDArray[np.int64]:
        """A number for each layer that layers of the same size and fan-in share."""
        return np.unique(np.stack([self.params, self.fan_in]), axis=1, return_inverse=True)[1].ravel()


def _implied(thresholds: Numbers) -> Numbers:
    return implied_l1s(torch.from_numpy(np.asarray(thresholds, dtype=np.float64))).numpy()


# -- agreement ---------------------------------------------------------------------------------------------------------


def _agreement(c: _Columns) -> Iterator[Number]:
    """How implied L1 goes with what the layers hold; all by logarithms."""
    implied, kept, params, density = map(np.log, (c.implied, c.kept, c.params, c.density))
    draws = np.random.default_rng(0).uniform(-FIGURE_ERROR, FIGURE_ERROR, (DRAWS, len(kept)))
    by_reading = [_correlation(kept, np.log(_implied(np.maximum(c.threshold + draw, 1e-6)))) for draw in draws]
    yield _paper("layers", len(kept), "layers that Figure 3 and Table 6 have")
    yield _paper(
        "correlation", _correlation(kept, implied),
        "correlation of log implied L1 with log kept weights; from low to high: within the accuracy of Figure 3",
        *_middle(by_reading),
    )  # fmt: skip
    yield _paper(
        "correlation_without_classifier", _correlation(kept[:-1], implied[:-1]),
        "the same without the classifier, whose threshold has one digit in the figure",
    )  # fmt: skip
    yield _paper(
        "slope", _slope(kept, implied),
        "exponent b of implied L1 ~ (kept weights)^b: 1 where the mean |w| of kept weights is the same in all layers",
    )  # fmt: skip
    yield from _explanations(c)
    weights, share = _fit((params, density), implied)[1:]
    meaning = "exponent of the number of weights, where implied L1 ~ weights^p density^q"
    yield _paper("weights_coefficient", weights, meaning)
    yield _paper("density_coefficient", share, "exponent q of density there")
    residual = implied - _predicted((params, density), implied)
    meaning = "factor by which implied L1 scatters around that fit (one standard deviation)"
    yield _paper("left", float(np.exp(residual.std(ddof=3))), meaning)
    x, y = _within(c.shapes, density), _within(c.shapes, implied)
    slopes = float(x @ y / (x @ x)), float(y @ y / (x @ y))
    meaning = "exponent of density between layers of equal size and fan-in; high: fitted the other way round"
    yield _paper("same_shape_slope", slopes[0], meaning, *slopes)
    several = int((np.bincount(c.shapes) > 1).sum())
    yield _paper("same_shape_groups", several, "groups of two or more such layers")


def _explanations(c: _Columns) -> Iterator[Number]:
    """How much of implied L1 what the layers hold explains."""
    implied, kept, params, density, fan_in = map(np.log, (c.implied, c.kept, c.params, c.density, c.fan_in))
    regressors: Mapping[str, tuple[Numbers, ...]] = {
        "kept weights": (kept,),
        "weights": (params,),
        "position": (c.position,),
        "fan-in": (fan_in,),
        "density": (density,),
        "kept weights and fan-in": (kept, fan_in),
        "weights, fan-in and position": (params, fan_in, c.position),
        "weights and density": (params, density),
    }
    for name, of in regressors.items():
        meaning = f"share of the variance of log implied L1 that {name} explain{'' if len(of) > 1 else 's'}"
        yield _paper(f"explained by {name}", _explained(of, implied), meaning)


def _plausibility(c: _Columns) -> Iterator[Number]:
    """Whether the implied mean |w| is that of weights, and what it would be in the tail of a known distribution."""
    mean = c.implied / c.kept
    fresh = "the same, in units of the standard deviation of a fresh network's weights, sqrt(2 / fan-in)"
    yield _over_layers(
        "implied_mean", mean, "implied mean |w| of a kept weight, from the smallest layer to the largest"
    )
    yield _over_layers("implied_mean_over_threshold", mean / c.threshold, "the same, in units of the layer's threshold")
    above = int((mean > c.threshold).sum())
    yield _paper("layers_above_threshold", above, "layers in which it is above the threshold, as it must")
    yield _over_layers("implied_mean_over_initial", mean / c.initial, fresh)
    for name, shape in SHAPES.items():
        l1 = _tail_l1(c.params, _scale(c, shape), c.threshold, shape)
        yield _over_layers(
            f"{name}_tail_l1_over_implied", l1 / c.implied,
            f"L1 over implied L1, if the kept weights were the tail of a {name.title()} distribution that the "
            "threshold cuts at the printed density: 1 where the threshold is balanced",
        )  # fmt: skip


# -- rivals ------------------------------------------------------------------------------------------------------------


def _rivals(c: _Columns) -> Iterator[Number]:
    """The same numbers where something else sets the thresholds."""
    rng = np.random.default_rng(0)
    orders = [rng.permutation(len(c.params)) for _ in range(DRAWS)]
    log_threshold = np.log(c.threshold)
    by: Mapping[str, tuple[Numbers, str]] = {
        "by weights": (np.log(c.params), "the number of weights alone sets the threshold"),
        "by position": (c.position, "the position in the network alone sets the threshold"),
        "by fan-in": (np.log(c.fan_in), "the fan-in alone sets the threshold"),
    }
    for name, shape in SHAPES.items():
        scale = _scale(c, shape)
        for test, (regressor, words) in by.items():
            thresholds = np.exp(_predicted((regressor,), log_threshold))
            yield from _world(f"{test}, {name}", words, [_measures(c, thresholds, scale, shape)])
        drawn = [_measures(c, c.threshold[order], scale, shape) for order in orders]
        yield from _world(f"permuted, {name}", "the printed thresholds are dealt out to the layers at random", drawn)
        kept_share = float(c.kept.sum() / c.params.sum())
        scale = c.initial / shape.std()
        equal = _measures(c, scale * shape.isf(kept_share / 2.0), scale, shape)
        yield from _world(f"uniform, {name}", "a fresh network is pruned to the same density in every layer", [equal])
    yield from _dealt_out(c, orders)


def _dealt_out(c: _Columns, orders: list[NDArray[np.int64]]) -> Iterator[Number]:
    """The implied mean |w| where the printed thresholds are dealt out at random, beside the paper's."""
    means = [c.implied[order] / c.kept for order in orders]
    above = [float((mean > c.threshold[order]).sum()) for mean, order in zip(means, orders, strict=True)]
    words = "the printed thresholds are dealt out at random, and the numbers of kept weights stay as printed"
    yield Number(
        "permuted", "layers_above_threshold", float(np.median(above)), min(above), max(above),
        f"{words}: layers whose implied mean |w| is above the threshold, over all draws",
    )  # fmt: skip
    spreads = [float(mean.max() / mean.min()) for mean in means]
    own = c.implied / c.kept
    meaning = "largest implied mean |w| over the smallest"
    yield _paper("implied_mean_spread", float(own.max() / own.min()), meaning)
    yield Number(
        "permuted", "implied_mean_spread", float(np.median(spreads)), min(spreads), max(spreads), f"{words}: {meaning}"
    )


def _measures(c: _Columns, thresholds: Numbers, scale: Numbers, shape: stats.rv_continuous) -> dict[str, float]:
    """What would be measured if these were the thresholds, of weights of this scale: the numbers that the paper's own
    data gave. Layers that would keep no weight, or all, are left out.
    """
    density = 2.0 * shape.sf(thresholds / scale)
    there = (c.params * density >= 1.0) & (density < 1.0 - 1e-9)
    params, share, implied = c.params[there], density[there], _implied(thresholds[there])
    l1 = _tail_l1(params, scale[there], thresholds[there], shape)
    kept, log_implied = np.log(params * share), np.log(implied)
    measured = {
        "layers": float(there.sum()),
        "correlation": _correlation(kept, log_implied),
        "slope": _slope(kept, log_implied),
        "l1_over_implied": float(np.median(l1 / implied)),
    }
    if np.ptp(np.log(share)) > 1e-6:  # with equal densities nothing can depend on them
        measured["density_coefficient"] = float(_fit((np.log(params), np.log(share)), log_implied)[2])
    return measured


def _world(test: str, words: str, drawn: list[dict[str, float]]) -> Iterator[Number]:
    meanings = {
        "layers": "layers that are left with some of their weights",
        "correlation": "correlation of log implied L1 with log kept weights",
        "slope": "exponent of implied L1 ~ (kept weights)^b",
        "l1_over_implied": "L1 over implied L1, median over layers: 1 where thresholds are balanced",
        "density_coefficient": "exponent q where implied L1 ~ weights^p density^q",
    }
    for quantity in drawn[0]:
        values = [one[quantity] for one in drawn]
        low, high = _middle(values) if len(values) > 1 else (None, None)
        yield Number(test, quantity, float(np.median(values)), low, high, f"{words}: {meanings[quantity]}")


def _scale(c: _Columns, shape: stats.rv_continuous) -> Numbers:
    """The scale of each layer's weights at which its printed threshold leaves its printed density."""
    return np.asarray(c.threshold / shape.isf(c.density / 2.0))


def _tail_l1(params: Numbers, scale: Numbers, thresholds: Numbers, shape: stats.rv_continuous) -> Numbers:
    """Sum of |w| over the weights outside the threshold, of so many with this distribution."""
    z = thresholds / scale
    beyond: Callable[[Numbers], Numbers] = stats.norm.pdf if shape is stats.norm else lambda z: (1 + z) * np.exp(-z) / 2
    return np.asarray(2.0 * params * scale * beyond(z))


# -- arithmetic --------------------------------------------------------------------------------------------------------


def _paper(quantity: str, value: float, meaning: str, low: float | None = None, high: float | None = None) -> Number:
    """A number of the paper's own thresholds."""
    return Number("paper", quantity, value, low, high, meaning)


def _over_layers(quantity: str, values: Numbers, meaning: str) -> Number:
    """Median over layers, from the smallest to the largest."""
    return _paper(quantity, float(np.median(values)), meaning, float(values.min()), float(values.max()))


def _middle(values: list[float]) -> tuple[float, float]:
    """The middle 95 %."""
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)


def _correlation(x: Numbers, y: Numbers) -> float:
    return float(np.corrcoef(x, y)[0, 1])


def _slope(x: Numbers, y: Numbers) -> float:
    return float(stats.linregress(x, y).slope)


def _fit(regressors: tuple[Numbers, ...], y: Numbers) -> Numbers:
    """Least squares: the constant, and one coefficient for each regressor."""
    design = np.column_stack([np.ones_like(y), *regressors])
    return np.asarray(np.linalg.lstsq(design, y, rcond=None)[0])


def _predicted(regressors: tuple[Numbers, ...], y: Numbers) -> Numbers:
    constant, *coefficients = _fit(regressors, y)
    return np.asarray(constant + sum(b * x for b, x in zip(coefficients, regressors, strict=True)))


def _explained(regressors: tuple[Numbers, ...], y: Numbers) -> float:
    return float(1.0 - (y - _predicted(regressors, y)).var() / y.var())


def _within(groups: NDArray[np.int64], values: Numbers) -> Numbers:
    """The values, each minus the mean of its group."""
    return np.asarray(values - (np.bincount(groups, values) / np.bincount(groups))[groups])
