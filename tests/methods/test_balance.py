"""The balance of thresholds, and the slope that moves it: by hand, and against training itself."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from paper_repro import methods, models
from paper_repro.accounting import nonzero_sparsity_pct
from paper_repro.errors import UserError
from paper_repro.methods.balance import Balance, balances, implied_l1, slopes_to_keep, summary
from paper_repro.methods.soft_threshold import SoftThreshold

FAMILY = ["str", "str-gs", "str-filter", "str-weight", "str-filter-pruning", "str-bn"]


def sigmoid(u: float) -> float:
    return 1 / (1 + math.exp(-u))


def operator(s: float | Tensor, g: str = "sigmoid", slope: float = 1.0) -> SoftThreshold:
    return SoftThreshold(nn.Parameter(torch.as_tensor(s, dtype=torch.float64)), g, slope)


def test_the_threshold_is_g_of_slope_times_s() -> None:
    assert operator(-1.5, slope=4.0).threshold().item() == pytest.approx(sigmoid(-6.0))
    assert operator(-1.5, "exp", slope=2.0).threshold().item() == pytest.approx(math.exp(-3.0))
    assert operator(-0.5, slope=4.0).pruned_at(torch.tensor(sigmoid(-6.0))).item() == pytest.approx(-1.5, rel=1e-5)


def test_the_gradient_of_s_has_the_slope() -> None:
    soft = operator(-0.5, slope=4.0)
    weight = torch.tensor([0.9, -0.6, 0.05], dtype=torch.float64, requires_grad=True)
    soft(weight).backward(torch.tensor([1.0, -2.0, 7.0], dtype=torch.float64))
    t = sigmoid(-2.0)
    # the first two are kept; each moves by -sign(w) with the threshold, which moves by slope * g' with s
    assert soft.s.grad is not None
    assert soft.s.grad.item() == pytest.approx(4.0 * t * (1 - t) * -(1.0 + 2.0))


def test_balance_by_hand() -> None:
    soft = operator(-0.5, slope=4.0)
    t = sigmoid(-2.0)
    (found,) = balances([(soft, torch.tensor([0.9, -0.6, 0.05], dtype=torch.float64))])
    assert found.l1 == pytest.approx(1.5)
    assert found.ratio == pytest.approx(16 * t * (1 - t) * 1.5 / 2.0)
    assert implied_l1(t, slope=4.0) == pytest.approx(found.l1 / found.ratio)
    assert implied_l1(math.exp(-3.0), "exp") == pytest.approx(3.0 * math.exp(3.0))


def test_pulls_on_one_s_are_added_up() -> None:
    shared = operator(-2.0)
    one, two = torch.tensor([0.5, 0.01]), torch.tensor([[-0.25], [1.0]])
    first, second = balances([(shared, one), (SoftThreshold(shared.s), two)])
    assert (first.l1, second.l1) == (0.5, 1.25)
    together = balances([(shared, torch.cat([one, two.flatten()]))])[0].ratio
    assert first.ratio == second.ratio == pytest.approx(together)
    per_filter = operator(torch.full((2, 1), -2.0))
    (found,) = balances([(per_filter, two)])
    assert found.ratio == pytest.approx(balances([(operator(-2.0), two)])[0].ratio / 2)  # two s share the pull


def test_a_layer_without_weights_has_no_pull_and_a_sleeping_threshold_none_either() -> None:
    assert balances([(operator(-1.0), torch.zeros(3))]) == [(0.0, 0.0)]
    (asleep,) = balances([(operator(-3200.0), torch.ones(3))])
    assert asleep.l1 == 3.0 and asleep.ratio == 0.0
    assert balances([]) == []


def test_the_summary_counts_layers_near_balance_and_leaves_out_those_without_weights() -> None:
    ratios = [0.5, 0.7, 1.2, 1.6, 4.0]
    said = summary([*(Balance(1.0, ratio) for ratio in ratios), Balance(0.0, 0.0)])
    assert said == (
        "median ratio 1.2, from 0.5 to 4; within a factor 1.5 of 1 in 2 of 5 layers; 1 layer without weights"
    )
    assert summary([Balance(0.0, 0.0)] * 2) == "no layer keeps any weight; 2 layers without weights"


@pytest.mark.parametrize("g, slope", [("sigmoid", 1.0), ("sigmoid", 5.0), ("exp", 1.0)])
def test_training_ends_where_the_balance_says(g: str, slope: float) -> None:
    """SGD itself, on one layer whose loss asks for fixed weights: s settles where ratio = 1. No term of the derivation
    is used here.
    """
    torch.manual_seed(0)
    target = torch.randn(2000, dtype=torch.float64) * 0.3
    weight = target.clone().requires_grad_()
    soft = operator(-8.0 / slope, g, slope)
    optimizer = torch.optim.SGD([weight, soft.s], lr=0.05, momentum=0.5, weight_decay=1e-2)
    for _ in range(12000):
        optimizer.zero_grad()
        (0.5 * (soft(weight) - target).square().sum()).backward()
        optimizer.step()
    (found,) = balances([(soft, weight)])
    assert 0 < (soft(weight) == 0).double().mean() < 0.9
    assert found.ratio == pytest.approx(1.0, abs=0.02)


def crossing(magnitudes: Tensor, slope: float) -> float:
    """The lowest threshold at which the loss pulls as hard as decay, by looking at a fine grid."""
    for u in torch.linspace(-40, 0, 40001, dtype=torch.float64).tolist():
        t = sigmoid(u)
        l1 = magnitudes[magnitudes > t].sum().item()
        if slope**2 * t * (1 - t) * l1 >= abs(u):
            return t
    return 0.5


@pytest.mark.parametrize("scale, slope", [(0.05, 1.0), (0.05, 0.2), (0.5, 3.0), (3.0, 0.05), (0.05, 0.001)])
def test_what_a_slope_keeps_lies_above_the_lowest_crossing(scale: float, slope: float) -> None:
    weights = torch.randn(3000, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * scale
    ordered = weights.abs().sort(descending=True).values
    kept = int((ordered > crossing(ordered, slope)).sum())
    assert int((slopes_to_keep(ordered) <= slope).sum()) == pytest.approx(kept, abs=max(1, 2e-3 * kept))


def test_slopes_to_keep_by_hand() -> None:
    a, b, c = 0.4, 0.2, 0.1

    def needed(t: float, l1: float) -> float:
        return math.sqrt(abs(math.log(t / (1 - t))) / (t * (1 - t) * l1))

    one, two, three = needed(a, a), needed(b, a + b), needed(c, a + b + c)
    assert one < two < three
    found = slopes_to_keep(torch.tensor([a, b, c]))
    assert found.tolist() == pytest.approx([one, two, three], rel=1e-6)
    # many small weights are kept together or not at all: keeping one of them takes what keeping all of them takes
    many = slopes_to_keep(torch.full((1000,), 0.01))
    assert many.unique().numel() == 1 and many[0].item() == pytest.approx(needed(0.01, 10.0), rel=1e-6)
    assert slopes_to_keep(torch.tensor([0.9, 0.6]))[1] == 0.0  # g(0) = 0.5: no decay of s prunes these


def test_s_is_as_wide_as_the_weights_and_never_narrower_than_float32() -> None:
    for dtype, wanted in (
        (torch.float64, torch.float64),
        (torch.float32, torch.float32),
        (torch.bfloat16, torch.float32),
    ):
        for granularity in ("layer", "global", "filter", "weight"):
            layer = nn.Linear(3, 2, bias=False, dtype=dtype)
            methods.get("str", s_init=-2.0, granularity=granularity).attach(layer)
            assert {p.dtype for name, p in layer.named_parameters() if name.endswith(".s")} == {wanted}


def test_on_a_float64_network_the_operator_is_the_formula_to_1e_12() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(8, 8, 3, bias=False, dtype=torch.float64)
    raw = layer.weight.detach().clone()
    methods.get("str", s_init=-0.7, slope=3.0).attach(layer)
    threshold = 1 / (1 + math.exp(3.0 * 0.7))
    wanted = raw.sign() * (raw.abs() - threshold).clamp(min=0)
    assert (layer.weight - wanted).abs().max().item() < 1e-12


@pytest.mark.parametrize("name", FAMILY)
def test_slope_times_s_decides_for_every_granularity(name: str) -> None:
    """s = -2 with slope 1 and s = -0.5 with slope 4 are the same network."""
    finalized = []
    for arguments in ({"s_init": -2.0}, {"s_init": -0.5, "slope": 4.0}):
        torch.manual_seed(0)
        model = models.resnet18(num_classes=4, width=4, in_channels=1)
        method = methods.get(name, **arguments)
        method.attach(model)
        finalized.append(method.finalize(model))
        assert set(method.balances(model)) == set(method.thresholds(model)) != set()
    one, two = (nn.utils.parameters_to_vector(model.parameters()) for model in finalized)
    assert torch.allclose(one, two)


@pytest.mark.parametrize(
    ("target", "granularity"),
    [("freeze", "layer"), *(("controller", name) for name in ("layer", "global", "filter", "weight"))],
)
def test_a_target_is_reached_at_any_slope(target: str, granularity: str) -> None:
    torch.manual_seed(0)
    model = models.resnet18(num_classes=4, width=4, in_channels=1)
    towards = {"target_sparsity_pct": 80.0, "target": target, "start": 0.0, "end": 0.5}
    method = methods.get("str", s_init=-6.0, slope=5.0, granularity=granularity, **towards)
    method.attach(model)
    for step in range(10):
        method.before_step(model, step, 10)
    assert nonzero_sparsity_pct(model) == pytest.approx(80.0, abs=0.1)


@pytest.mark.parametrize("slope", [0.0, -1.0, math.inf, math.nan])
def test_a_slope_that_is_none(slope: float) -> None:
    with pytest.raises(UserError, match="slope"):
        methods.get("str", slope=slope)
