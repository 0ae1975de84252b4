"""Budgets and rankings: what they add up to, and by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from paper_repro import methods, models
from paper_repro.accounting import account, counted_layers
from paper_repro.errors import UserError
from paper_repro.methods.balance import slopes_to_keep
from paper_repro.methods.base import attached
from paper_repro.methods.distributions import (
    RANKINGS,
    Balanced,
    Budget,
    OneRanking,
    balance,
    distribute,
    erk,
    kept_dense,
    kth_smallest,
    uniform,
)


def network() -> nn.Module:
    torch.manual_seed(0)
    return models.resnet18(num_classes=4, width=8, in_channels=1)


def overall(model: nn.Module, budget: Budget) -> float:
    return account(model, (1, 28, 28)).with_budget(budget).sparsity_pct


@pytest.mark.parametrize("sparsity_pct", [0.0, 10.0, 50.0, 80.0, 90.0, 95.0, 98.0, 99.0])
@pytest.mark.parametrize("keep_dense", [(), ("first",), ("first", "last")])
def test_erk_meets_the_sparsity_exactly_whatever_is_capped(sparsity_pct: float, keep_dense: tuple[str, ...]) -> None:
    model = network()
    budget = erk(counted_layers(model), sparsity_pct, keep_dense)
    assert overall(model, budget) == pytest.approx(sparsity_pct, abs=1e-9)
    assert all(0.0 <= value <= 100.0 for value in budget.values())
    dense = [name for name in ("conv1", "fc") if {"conv1": "first", "fc": "last"}[name] in keep_dense]
    assert all(budget[name] == 0.0 for name in dense)


def test_erk_at_90_caps_layers_and_gives_their_share_to_the_others() -> None:
    layers = {"small": nn.Conv2d(2, 2, 1, bias=False), "large": nn.Conv2d(100, 100, 3, bias=False)}
    budget = erk(layers, 90.0)
    assert budget["small"] == 0.0  # (2 + 2 + 1 + 1) / 4 is far more than (100 + 100 + 3 + 3) / 90,000
    assert budget["large"] == pytest.approx(100.0 * (1.0 - (0.1 * 90_004 - 4) / 90_000))


def test_erk_that_the_dense_layers_make_impossible_says_so() -> None:
    layers = {"first": nn.Linear(100, 100), "last": nn.Linear(100, 2)}
    with pytest.raises(UserError, match="ERK cannot reach 90 %"):
        erk(layers, 90.0, ["first"])


def test_one_ranking_by_hand() -> None:
    weights = {"a": torch.tensor([[1.0, -4.0]]), "b": torch.tensor([[2.0], [3.0]])}
    thresholds = OneRanking(50.0, RANKINGS["global"]).thresholds(weights, 1.0)
    assert {name: value.item() for name, value in thresholds.items()} == {"a": 2.0, "b": 2.0}
    # sigma: |W| * sqrt(sum of the dimensions); b's dimensions add up to 3, as do a's, so give b one more
    weights["b"] = torch.tensor([[2.0], [3.0], [0.5]])
    scores = sorted([3**0.5 * 1.0, 3**0.5 * 4.0, 2.0 * 2.0, 3.0 * 2.0, 0.5 * 2.0])
    thresholds = OneRanking(40.0, RANKINGS["sigma"]).thresholds(weights, 1.0)
    assert thresholds["a"].item() == pytest.approx(scores[1] / 3**0.5)
    assert thresholds["b"].item() == pytest.approx(scores[1] / 2.0)


def test_one_ranking_prunes_more_where_layers_are_kept_dense() -> None:
    layers = {"a": nn.Linear(10, 10), "b": nn.Linear(10, 30)}
    ranking = distribute(layers, 60.0, None, "global", ["first"])
    assert isinstance(ranking, OneRanking) and ranking.sparsity_pct == pytest.approx(80.0)
    with pytest.raises(UserError, match="cannot be reached"):
        distribute(layers, 90.0, None, "global", ["first"])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_kth_smallest_is_what_sorting_gives(dtype: torch.dtype) -> None:
    values = torch.rand(7, 11, generator=torch.Generator().manual_seed(0)).to(dtype)
    assert kth_smallest(values, 30) == values.flatten().sort().values[29]
    assert (values > kth_smallest(values, 0)).all()


def test_kth_smallest_of_a_channels_last_weight() -> None:
    values = torch.rand(4, 3, 2, 2, generator=torch.Generator().manual_seed(0)).to(memory_format=torch.channels_last)
    assert kth_smallest(values, 5) == values.flatten().sort().values[4]


@pytest.mark.parametrize("values, message", [({"conv1": 101.0}, "between 0 and 100"), ({"conv1": -1.0}, "between")])
def test_a_budget_out_of_range_says_so(values: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Budget(values)


def test_a_budget_for_another_network_says_what_differs() -> None:
    with pytest.raises(UserError, match=r"missing \['b'\], unknown \['c'\]"):
        distribute({"a": nn.Linear(1, 1), "b": nn.Linear(1, 1)}, None, {"a": 1.0, "c": 2.0}, "uniform")


@pytest.mark.parametrize("sparsity_pct", [0.0, 37.0, 90.0, 99.5, 100.0])
@pytest.mark.parametrize("keep_dense", [(), ("last",)])
def test_the_balance_budget_meets_the_sparsity_exactly(sparsity_pct: float, keep_dense: tuple[str, ...]) -> None:
    model = network()
    if sparsity_pct == 100.0 and keep_dense:
        with pytest.raises(UserError, match="cannot be reached"):
            balance(counted_layers(model), sparsity_pct, keep_dense)
        return
    budget = balance(counted_layers(model), sparsity_pct, keep_dense)
    assert overall(model, budget) == pytest.approx(sparsity_pct, abs=0.01)
    assert not keep_dense or budget["fc"] == 0.0


def test_every_layer_of_a_balance_budget_is_balanced_at_one_slope() -> None:
    """What a layer keeps is what it would keep at a common slope, but for the one layer in which it ran out."""
    weights = {
        "many": torch.randn(40000, generator=torch.Generator().manual_seed(0)) ** 3 * 0.02,
        "few": torch.randn(2000, generator=torch.Generator().manual_seed(1)) ** 3 * 0.1,
    }
    kept = Balanced(80.0).densities(weights)
    needed = {name: slopes_to_keep(weight.abs().sort(descending=True).values) for name, weight in weights.items()}
    at = {name: float(needed[name][round(kept[name] * len(needed[name])) - 1]) for name in weights}
    assert sum(kept[name] * weights[name].numel() for name in weights) == pytest.approx(0.2 * 42000, abs=1)
    assert at["few"] == pytest.approx(at["many"], rel=0.05)


def test_the_balance_follows_the_weights_where_the_budget_of_the_initial_ones_does_not() -> None:
    layers = counted_layers(network())
    assert isinstance(distribute(layers, 90.0, None, "balance"), Balanced)
    assert dict(distribute(layers, 90.0, None, "balance", once=True)) == dict(balance(layers, 90.0))


def test_gmp_solves_the_balance_anew_at_every_stage() -> None:
    """A layer that grows between two stages keeps more of its weights at the second."""

    def densities(factor: float) -> dict[str, float]:
        model = network()
        method = methods.get("gmp-balance", sparsity_pct=60.0, start=0.0, end=0.5, updates=2)
        method.attach(model)
        method.before_step(model, 25, 100)
        with torch.no_grad():
            attached(model.layer3[0].conv1)[1].mul_(factor)
        method.before_step(model, 50, 100)
        layers = account(method.finalize(model), (1, 28, 28)).layers
        return {layer.name: 1.0 - layer.sparsity_pct / 100.0 for layer in layers}

    as_it_was, larger = densities(1.0), densities(2.0)
    assert larger["layer3.0.conv1"] > 1.2 * as_it_was["layer3.0.conv1"]
    assert any(larger[name] < before for name, before in as_it_was.items())


def test_uniform_spares_the_kinds_that_are_kept_dense() -> None:
    layers = counted_layers(network())
    budget = uniform(layers, 90.0, ["first", "last"])
    assert budget["conv1"] == budget["fc"] == 0.0 and set(list(budget.values())[1:-1]) == {90.0}


def test_depthwise_convolutions_are_kept_dense_in_any_number_of_dimensions() -> None:
    kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    layers = {kind.__name__: kind(4, 8, 3, groups=4) for kind in kinds}
    layers |= {f"{kind.__name__}, in two groups": kind(4, 8, 3, groups=2) for kind in kinds}
    layers["of one channel"] = nn.Conv1d(1, 8, 3)
    assert kept_dense(layers, ["depthwise"]) == {kind.__name__ for kind in kinds}
