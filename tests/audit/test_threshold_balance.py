"""The balance of thresholds on the paper's data: worked by hand, and on made-up layers of which the answer is known."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from paper_repro.audit import threshold_balance
from paper_repro.audit.threshold_balance import layers
from paper_repro.methods.balance import implied_l1


@pytest.fixture(scope="module")
def paper() -> dict[tuple[str, str], threshold_balance.Number]:
    return {(number.test, number.quantity): number for number in threshold_balance.tests(layers("resnet50"))}


def test_the_first_layer_by_hand() -> None:
    first = layers("resnet50").iloc[0]
    assert (first.layer, first.params, first.fan_in, first.sparsity_pct) == ("conv1", 9408, 147, 59.80)
    assert first.kept_weights == pytest.approx(9408 * 0.402)
    t = first.threshold
    assert first.implied_l1 == pytest.approx(math.log((1 - t) / t) / (t * (1 - t))) == pytest.approx(implied_l1(t))
    assert first.implied_mean == pytest.approx(0.1585, abs=1e-4)


def test_only_the_table_of_figure_3_has_layers() -> None:
    assert len(layers("resnet50")) == 54
    assert layers("mobilenetv1").empty and layers("family").empty


def test_what_the_paper_gives(paper: dict[tuple[str, str], threshold_balance.Number]) -> None:
    """Computed once more by other means: numpy's polyfit and corrcoef on the two columns."""
    found = layers("resnet50")
    kept, implied = np.log(found["kept_weights"]), np.log(found["implied_l1"])
    assert paper["paper", "correlation"].value == pytest.approx(np.corrcoef(kept, implied)[0, 1])
    assert paper["paper", "slope"].value == pytest.approx(np.polyfit(kept, implied, 1)[0])
    assert paper["paper", "explained by kept weights"].value == pytest.approx(np.corrcoef(kept, implied)[0, 1] ** 2)
    assert round(paper["paper", "correlation"].value, 3) == 0.984
    assert paper["paper", "layers_above_threshold"].value == 54
    low, high = paper["paper", "correlation"].low, paper["paper", "correlation"].high
    assert low is not None and high is not None and low < 0.984 < high


def test_the_rivals_agree_less(paper: dict[tuple[str, str], threshold_balance.Number]) -> None:
    for test in ("by weights", "by position", "by fan-in", "permuted", "uniform"):
        for shape in ("gaussian", "laplace"):
            assert paper[f"{test}, {shape}", "correlation"].value < 0.85
            if test != "uniform":
                assert paper[f"{test}, {shape}", "density_coefficient"].value < 0.5
    assert ("uniform, gaussian", "density_coefficient") not in paper  # the densities are all the same


def made_up(threshold_of: Callable[[np.ndarray, np.ndarray], np.ndarray], shape: stats.rv_continuous) -> pd.DataFrame:
    """40 layers with weights of a fresh network, as the audit would read them: nothing of the weights but how many are
    kept. ``threshold_of`` is given their magnitudes, rising, and the L1 norm from each on.
    """
    rng = np.random.default_rng(1)
    found = []
    shapes = [(np.exp(rng.uniform(10, 13)), int(rng.integers(64, 1024))) for _ in range(20)]
    for index, (size, fan_in) in enumerate([*shapes, *shapes]):
        weights = np.sort(np.abs(shape.rvs(size=int(size), random_state=rng))) * np.sqrt(2 / fan_in)
        l1 = weights[::-1].cumsum()[::-1]
        t = float(threshold_of(weights, l1))
        kept = float((weights > t).sum())
        implied = implied_l1(t)
        found.append(
            (f"l{index}", len(weights), fan_in, 100 * (1 - kept / len(weights)), kept, t, implied, implied / kept)
        )
    return pd.DataFrame(found, columns=layers("resnet50").columns)


def balanced(weights: np.ndarray, l1: np.ndarray) -> np.ndarray:
    """The lowest threshold at which the loss pulls as hard as decay."""
    t = np.minimum(weights, 0.5)
    return t[int(np.argmax(t * (1 - t) * l1 >= np.log((1 - t) / t)))]


def test_layers_that_are_balanced_are_recognised_and_others_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the first network every threshold is balanced, in the second it cuts 80 to 95 % off: the tail of the
    distribution that the weights really have tells the two apart.
    """
    monkeypatch.setattr(threshold_balance, "DRAWS", 3)
    ratios, rng = {}, np.random.default_rng(2)

    def cut(weights: np.ndarray, l1: np.ndarray) -> np.ndarray:
        return np.quantile(weights, rng.uniform(0.8, 0.95))

    for name, rule in (("balanced", balanced), ("cut", cut)):
        numbers = {(n.test, n.quantity): n for n in threshold_balance.tests(made_up(rule, stats.norm))}
        ratios[name] = numbers["paper", "gaussian_tail_l1_over_implied"]
    assert ratios["balanced"].value == pytest.approx(1.0, abs=0.02)
    assert ratios["balanced"].low == pytest.approx(1.0, abs=0.1)
    assert abs(math.log(ratios["cut"].value)) > 1.0


@pytest.mark.parametrize("shape", [stats.norm, stats.laplace])
def test_the_l1_norm_of_a_tail_is_that_of_drawn_weights(shape: stats.rv_continuous) -> None:
    weights = np.abs(shape.rvs(size=400_000, random_state=np.random.default_rng(0))) * 0.3
    wanted = weights[weights > 0.4].sum()
    one = np.array([1.0])
    found = threshold_balance.tail_l1(400_000 * one, 0.3 * one, 0.4 * one, shape)
    assert found == pytest.approx(wanted, rel=0.02)
