"""The methods that came after STR, worked out by hand; what all methods must do is in ``tests/conformance``."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from paper_repro import methods
from paper_repro.accounting import account
from paper_repro.errors import UserError
from paper_repro.methods.acdc import Phases
from paper_repro.methods.autosparse import LeakyThreshold
from paper_repro.methods.base import attached, attached_layers, momentum_of
from paper_repro.methods.granet import GraNet
from paper_repro.methods.lats import SoftShrink
from paper_repro.methods.optg import OptG, ScoredMask
from paper_repro.methods.sparse_training import Layer
from paper_repro.methods.spartan import offset
from tests.methods.test_family import STEPS, Training


def row(*values: float) -> nn.Module:
    """A network of one layer without bias, with these weights."""
    layer = nn.Linear(len(values), 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([values]))
    return nn.Sequential(layer)


def backward(network: nn.Module, gradient: list[float]) -> Tensor:
    """The gradient of the raw weight of ``row``, where that of the weight in use is ``gradient``."""
    network[0].weight.backward(torch.tensor([gradient]))
    _, raw = attached(network[0])
    assert raw.grad is not None
    return raw.grad[0]


def close(values: Tensor, expected: list[float]) -> bool:
    return torch.allclose(values.detach().flatten(), torch.tensor(expected), rtol=1e-4, atol=1e-6)


# -- LATS ------------------------------------------------------------------------------------------------------------


def test_lats_shrinks_and_hands_the_gradient_to_all_weights() -> None:
    network = row(1.0, -0.5, 0.1, -0.05)
    method = methods.get("s-lats", final_threshold=0.4)
    method.attach(network)
    method.before_step(network, 50, 100)  # f(1/2) = 1/2 + 1/pi = 0.8183
    d = 0.4 * 0.818310
    assert close(network[0].weight, [1.0 - d, -0.5 + d, 0.0, 0.0])
    assert close(backward(network, [1.0, 2.0, 3.0, 4.0]), [1.0, 2.0, 3.0, 4.0])
    assert method.thresholds(network) == {"0": pytest.approx(d)}
    assert SoftShrink(torch.ones(2))(torch.tensor([1.0, torch.nan])).isnan().tolist() == [False, True]


def test_s_lats_is_the_integral_of_a_cosine_and_lats_that_of_its_steps() -> None:
    smooth = methods.get("s-lats", final_threshold=1.0)
    assert [smooth.share(time) for time in (0.0, 0.1, 0.3, 0.5, 0.9, 1.0)] == pytest.approx(
        [0.0, 0.198, 0.558, 0.818, 0.998, 1.0], abs=5e-4
    )
    steps = methods.get("lats", final_threshold=1.0, epochs=4)  # rates 2, 1.7071, 1 and 0.2929 fifths
    assert [steps.share(time) for time in (0.0, 0.25, 0.375, 0.5, 0.75, 1.0)] == pytest.approx(
        [0.0, 0.4, 0.57071, 0.74142, 0.94142, 1.0], abs=1e-5
    )
    assert methods.get("lats", final_threshold=1.0).epochs == 100
    with pytest.raises(UserError, match="above 0"):
        methods.get("s-lats", final_threshold=0.0)


# -- AC/DC -----------------------------------------------------------------------------------------------------------


def test_acdc_has_the_phases_of_the_authors_hundred_epochs() -> None:
    phases = Phases(0.0, 1.0, updates=20)
    begins = {epoch: phases.starting(epoch, 100) for epoch in range(100)}
    assert [epoch for epoch, value in begins.items() if value == 1.0] == [10, 20, 30, 40, 50, 60, 70, 85]
    assert [epoch for epoch, value in begins.items() if value == 0.0] == [15, 25, 35, 45, 55, 65, 75]
    assert sum(phases.value(phases.stage(epoch / 100)) for epoch in range(100)) == 50


def test_acdc_has_its_phases_at_every_twentieth_of_training() -> None:
    """With ten stages no dense phase would ever begin."""
    with pytest.raises(UserError, match="multiple of 20"):
        methods.get("acdc", sparsity_pct=90.0, updates=10)


def test_acdc_by_hand() -> None:
    """Half of four weights: pruned at 10 % of training, back from zero at 15 %, pruned anew at 20 %."""
    network = row(4.0, -3.0, 1.0, 2.0)
    method = methods.get("acdc", sparsity_pct=50.0)
    method.attach(network)
    _, raw = attached(network[0])
    method.before_step(network, 9, 100)
    assert close(network[0].weight, [4.0, -3.0, 1.0, 2.0])
    method.before_step(network, 10, 100)
    assert close(network[0].weight, [4.0, -3.0, 0.0, 0.0])
    assert close(backward(network, [1.0] * 4), [1.0, 1.0, 0.0, 0.0])
    method.before_step(network, 15, 100)
    assert close(network[0].weight, [4.0, -3.0, 0.0, 0.0])
    assert close(backward(network, [1.0] * 4), [2.0, 2.0, 1.0, 1.0])  # on top of the first
    with torch.no_grad():
        raw.copy_(torch.tensor([[0.5, -3.0, 0.0, -1.0]]))
    method.before_step(network, 20, 100)
    assert close(network[0].weight, [0.0, -3.0, 0.0, -1.0])


def test_acdc_brings_weights_back_from_zero_without_momentum() -> None:
    training = Training("acdc", sparsity_pct=90.0)
    mask, raw = attached(training.model.layer1[0].conv1)
    while training.done < 6:  # of 40: sparse from 4 to 5
        training.step()
    pruned = mask.mask == 0.0
    assert pruned.any() and bool((raw[pruned] != 0.0).any())
    momentum = momentum_of(training.optimizer, raw)
    assert momentum is not None and bool((momentum != 0.0).any())
    training.method.before_step(training.model, 6, STEPS)
    assert bool((mask.mask == 1.0).all()) and bool((raw[pruned] == 0.0).all())
    training.method.before_update(training.model, training.optimizer, 6, STEPS)
    left = [momentum_of(training.optimizer, parameter) for parameter in training.model.parameters()]
    assert all(bool((value == 0.0).all()) for value in left if value is not None)


# -- AutoSparse --------------------------------------------------------------------------------------------------------


def test_autosparse_by_hand() -> None:
    s = nn.Parameter(torch.tensor(math.log(0.25 / 0.75)))  # the threshold is 1/4, and its slope 3/16
    operator = LeakyThreshold(s)
    operator.alpha.fill_(0.5)
    weight = torch.tensor([[1.0, -0.5, 0.2, -0.1]], requires_grad=True)
    used = operator(weight)
    assert close(used, [0.75, -0.25, 0.0, 0.0])
    used.backward(torch.tensor([[1.0, 2.0, 4.0, 8.0]]))
    assert close(weight.grad, [1.0, 2.0, 2.0, 4.0])
    assert s.grad.item() == pytest.approx(-3.0 / 16.0 * (1.0 - 2.0 + 2.0 - 4.0))


def test_autosparse_has_one_s_for_each_filter() -> None:
    """s = 0 and s = -ln 3 are thresholds of 1/2 and 1/4; the gradient of each s is a sum over its own filter."""
    s = nn.Parameter(torch.tensor([[0.0], [-math.log(3.0)]]))
    operator = LeakyThreshold(s)
    operator.alpha.fill_(0.5)
    weight = torch.tensor([[1.0, -0.3], [-0.3, 0.2]], requires_grad=True)
    sparse = operator(weight)
    assert close(sparse, [0.5, 0.0, -0.05, 0.0])
    sparse.backward(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    assert close(weight.grad, [1.0, 1.0, 3.0, 2.0])
    assert close(s.grad, [-0.25 * (1.0 - 1.0), -3.0 / 16.0 * (-3.0 + 2.0)])


def test_autosparse_anneals_alpha_to_zero_and_does_not_decay_s() -> None:
    method = methods.get("autosparse", alpha=0.5)
    shares = [method.alpha_at(time) / 0.5 for time in (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)]
    assert shares == pytest.approx([1.0, 0.992, 0.953, 0.5, 0.146, 0.0, 0.0], abs=1e-3)
    network = row(1.0, 0.5)
    method.attach(network)
    method.before_step(network, 50, 100)
    operator, _ = attached(network[0])
    assert operator.alpha.item() == 0.25 and operator.threshold().item() == pytest.approx(0.0066929, abs=1e-6)
    first, of_s = method.param_groups(network, 1e-3)
    assert (first["weight_decay"], of_s["weight_decay"]) == (1e-3, 0.0) and of_s["params"] == [operator.s]


# -- GraNet ------------------------------------------------------------------------------------------------------------


def test_granet_prunes_by_the_cubic_and_rewires_less_and_less() -> None:
    method = GraNet(sparsity_pct=90.0)
    pruned = [50.0 + 40.0 * method.pruning.value(update) for update in (1, 10, 25, 50, 74, 75)]
    assert pruned == pytest.approx([51.6, 64.0, 78.2, 88.5, 90.0, 90.0], abs=0.06)
    assert (method.pruning.end, method.pruning.updates) == (0.3, 75)
    assert [method.schedule.value(update) for update in (0, 125, 250)] == pytest.approx([0.5, 0.2525, 0.005])


def test_granet_ranks_all_layers_and_grows_where_the_gradient_is_largest() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 1, bias=False), nn.Linear(1, 4, bias=False))
    method = GraNet(sparsity_pct=50.0, initial_sparsity_pct=0.0, prune_end=1.0, updates=1, drop=1.0)
    method.attach(network)
    (first, raw), (second, other) = attached(network[0]), attached(network[1])
    with torch.no_grad():
        raw.copy_(torch.tensor([[4.0, 3.0, 0.1, 0.2]]))
        other.copy_(torch.tensor([[2.0], [0.3], [1.0], [0.4]]))
    method.prune(network, 1.0)
    assert (first.mask.flatten().tolist(), second.mask.flatten().tolist()) == ([1, 1, 0, 0], [1, 0, 1, 0])
    raw.grad = torch.tensor([[0.0, 9.0, 1.0, 2.0]])
    other.grad = torch.zeros_like(other)
    with torch.no_grad():
        layers = {"0": Layer.of(first, raw, torch.optim.SGD([raw], lr=1.0))}
        method.rewire(layers, 0.5)  # the smaller one goes, and comes back where its gradient is largest
        assert first.mask.flatten().tolist() == [1, 1, 0, 0] and raw[0, 1] == 3.0
        raw.grad[0, 1] = 0.0
        method.rewire(layers, 0.5)
    assert first.mask.flatten().tolist() == [1, 0, 0, 1] and raw[0, 3] == 0.0


def test_granet_has_fewer_weights_at_every_update() -> None:
    training = Training("granet", sparsity_pct=90.0, updates=10)
    counts = []
    for _ in range(20):
        training.step()
        counts.append(sum(int(mask.mask.sum()) for mask, _ in attached_layers(training.model).values()))
    assert counts == sorted(counts, reverse=True) and counts[-1] < counts[0]


# -- Spartan -----------------------------------------------------------------------------------------------------------


def test_spartan_finds_the_soft_mask_that_sums_to_the_weights_it_keeps() -> None:
    values = torch.tensor([0.0, 1.0])  # sigmoid(-1/2) + sigmoid(1/2) = 1
    assert offset(values, 1).item() == pytest.approx(-0.5, abs=1e-3)
    assert offset(torch.tensor([1.0, torch.nan]), 1).item() == 0.0  # the loss says what is wrong
    generator = torch.Generator().manual_seed(0)
    for beta in (1.0, 10.0, 100.0):
        values = beta * torch.randn(20000, generator=generator).abs()
        assert torch.sigmoid(values + offset(values, 1000)).sum().item() == pytest.approx(1000.0, rel=2e-3)


def test_spartan_derives_the_mask() -> None:
    """Against finite differences of W m(W), whose mask sums to as many weights after every change."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 2, bias=False), nn.Linear(4, 2, bias=False)).double()
    method = methods.get("spartan", sparsity_pct=50.0, beta=3.0, updates=4)
    method.attach(network)
    method.before_step(network, 39, 100)
    method.before_step(network, 40, 100)  # of a schedule that ends at 80: beta is 2
    layers = list(attached_layers(network).values())
    assert {mask.beta.item() for mask, _ in layers} == {2.0}
    flat = torch.cat([raw.detach().flatten() for _, raw in layers])
    kept = sum(int(mask.hard.sum()) for mask, _ in layers)
    assert kept == 10 and sum(float(mask.soft.sum()) for mask, _ in layers) == pytest.approx(10.0, rel=1e-3)
    gradient = torch.randn(20, dtype=torch.float64)
    for (_, raw), part in zip(layers, gradient.split([12, 8]), strict=True):
        raw.grad = part.view_as(raw).clone()
    method.after_backward(network, 41, 100)
    derived = torch.cat([raw.grad.flatten() for _, raw in layers])

    def loss(weights: Tensor) -> float:
        low, high = -100.0, 100.0
        for _ in range(200):
            middle = (low + high) / 2.0
            low, high = (low, middle) if torch.sigmoid(2.0 * weights.abs() + middle).sum() > 10.0 else (middle, high)
        return float((gradient * weights * torch.sigmoid(2.0 * weights.abs() + low)).sum())

    for at in range(20):
        step = torch.zeros(20, dtype=torch.float64)
        step[at] = 1e-6
        assert float(derived[at]) == pytest.approx((loss(flat + step) - loss(flat - step)) / 2e-6, rel=2e-3, abs=2e-3)


def test_spartan_is_at_its_target_when_the_masks_stand_still() -> None:
    """Also where that is before a fifth of training, the time in which k falls otherwise."""
    training = Training("spartan", sparsity_pct=90.0, end=0.1)
    assert account(training.finish(), (1, 14, 14)).sparsity_pct == pytest.approx(90.0, abs=0.1)


def test_spartan_makes_its_masks_at_every_step_until_they_stand_still() -> None:
    method, made = methods.get("spartan", sparsity_pct=50.0), []
    for steps in (10, 500_500):
        made.append([step for step in (*range(10), steps - 1) if method.schedule.starting(step, steps) is not None])
    assert made == [[0, 1, 2, 3, 4, 5, 6, 7, 8], list(range(10))]


def test_spartan_uses_the_masks_and_freezes_them() -> None:
    network = row(4.0, -3.0, 2.0, 1.0)
    method = methods.get("spartan", sparsity_pct=50.0, beta=1.0, updates=4)
    method.attach(network)
    method.before_step(network, 0, 100)
    assert close(network[0].weight, [4.0, -3.0, 2.0, 1.0])  # of all weights the mask is 1
    method.before_step(network, 40, 100)  # sigmoid(v + mu) at mu = -2.5 sums to 2
    soft = [1.0 / (1.0 + math.exp(2.5 - value)) for value in (4.0, 3.0)]
    assert torch.allclose(network[0].weight, torch.tensor([[4.0 * soft[0], -3.0 * soft[1], 0.0, 0.0]]), rtol=1e-3)
    assert close(backward(network, [1.0, 1.0, 1.0, 1.0]), [1.0, 1.0, 1.0, 1.0])  # before the mask is derived
    method.after_backward(network, 90, 100)
    _, raw = attached(network[0])
    assert torch.allclose(raw.grad, torch.tensor([[soft[0], soft[1], 0.0, 0.0]]), rtol=1e-3)


def test_dual_averaging_is_a_hard_mask_with_the_gradient_of_all_until_it_freezes() -> None:
    network = row(4.0, -3.0, 2.0, 1.0)
    method = methods.get("dual-averaging", sparsity_pct=50.0, updates=80)
    method.attach(network)
    method.before_step(network, 10, 100)  # half way to the target
    assert close(network[0].weight, [4.0, -3.0, 2.0, 0.0])
    method.before_step(network, 30, 100)
    assert close(network[0].weight, [4.0, -3.0, 0.0, 0.0])
    backward(network, [1.0, 2.0, 3.0, 4.0])
    _, raw = attached(network[0])
    method.after_backward(network, 30, 100)
    assert close(raw.grad, [1.0, 2.0, 3.0, 4.0])
    method.after_backward(network, 80, 100)
    assert close(raw.grad, [1.0, 2.0, 0.0, 0.0])


# -- scores ------------------------------------------------------------------------------------------------------------


def test_a_score_gets_the_gradient_of_a_mask_of_ones() -> None:
    weight = torch.tensor([[2.0, -3.0]], requires_grad=True)
    masked = ScoredMask(weight, torch.zeros(1, 2))
    masked.mask.copy_(torch.tensor([[1.0, 0.0]]))
    used = masked(weight)
    assert close(used, [2.0, 0.0])
    used.backward(torch.tensor([[5.0, 7.0]]))
    assert close(weight.grad, [5.0, 0.0]) and close(masked.score.grad, [10.0, -21.0])


def test_optg_prunes_in_the_middle_of_training_by_score() -> None:
    method = OptG(sparsity_pct=90.0)
    shares = [method.schedule.value(epoch) for epoch in (45, 48, 50, 52, 55, 60)]
    assert shares == pytest.approx([0.0067, 0.1192, 0.5, 0.8808, 0.9933, 1.0], abs=1e-4)
    network = row(4.0, 3.0, 2.0, 1.0)
    method = OptG(sparsity_pct=50.0)
    method.attach(network)
    mask, _ = attached(network[0])
    with torch.no_grad():
        mask.score.copy_(torch.tensor([[-2.0, 1.0, -1.0, 0.0]]))
    method.before_step(network, 50, 100)  # half of the half
    assert close(network[0].weight, [0.0, 3.0, 2.0, 1.0])
    method.before_step(network, 60, 100)
    assert close(network[0].weight, [0.0, 3.0, 0.0, 1.0])
    optimizer = torch.optim.SGD(method.param_groups(network, 1e-3), lr=0.1)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [1e-3, 0.0]
    method.before_update(network, optimizer, 48, 100)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.1, 0.01192], abs=1e-5)


def test_binmask_by_hand() -> None:
    network = row(4.0, 3.0)
    method = methods.get("binmask", pressure=0.5)
    method.attach(network)
    mask, _ = attached(network[0])
    assert bool((mask.score >= 0.0).all()) and mask.score.max() < 0.1
    with torch.no_grad():
        mask.score.copy_(torch.tensor([[2.0, -0.1]]))
    method.before_step(network, 0, 10)
    assert close(mask.score, [1.0, -0.1]) and close(network[0].weight, [4.0, 0.0])
    assert close(backward(network, [1.0, 1.0]), [1.0, 0.0])
    method.after_backward(network, 0, 10)
    assert close(mask.score.grad, [4.5, 3.0])  # the gradient times W, and the pressure on the open gate


def test_continuous_sparsification_by_hand() -> None:
    network = row(4.0, 3.0)
    method = methods.get("continuous-sparsification", s_init=0.0, penalty=1.0)
    method.attach(network)
    gate, _ = attached(network[0])
    assert close(network[0].weight, [4.0, 3.0])  # sigmoid(0) / sigmoid(0)
    method.before_step(network, 25, 100)
    b = math.sqrt(200.0)
    with torch.no_grad():
        gate.s.copy_(torch.tensor([[1.0, -1.0]]) * math.log(3.0) / b)  # gates 3/4 and 1/4, twice that with the scale
    assert close(network[0].weight, [6.0, 1.5])
    assert close(backward(network, [1.0, 1.0]), [1.5, 0.5])
    assert close(gate.s.grad, [4.0 * 2.0 * b * 3.0 / 16.0, 3.0 * 2.0 * b * 3.0 / 16.0])
    gate.s.grad.zero_()
    method.after_backward(network, 25, 100)
    assert close(gate.s.grad, [2.0 * b * 3.0 / 16.0] * 2)
    method.before_step(network, 50, 100)
    assert close(network[0].weight, [8.0, 0.0])
    with pytest.raises(UserError, match="above 0 and at most 1"):
        methods.get("continuous-sparsification", end=0.0)


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam])
def test_hard_gates_stay_as_they_are(optimizer: type[torch.optim.Optimizer]) -> None:
    network = row(4.0, 3.0)
    method = methods.get("continuous-sparsification", s_init=0.0)
    gate, raw = attached(method.attach(network)[0])
    momentum = {"momentum": 0.9} if optimizer is torch.optim.SGD else {}
    update = optimizer(method.param_groups(network, 0.0), lr=0.1, **momentum)
    kept, weights = [], []
    for step in range(10):
        method.before_step(network, step, 10)
        update.zero_grad()
        backward(network, [1.0, -1.0])
        method.after_backward(network, step, 10)
        update.step()
        kept.append(gate.s.detach().clone())
        weights.append(raw.detach().clone())
    assert not torch.equal(kept[3], kept[4])
    assert all(torch.equal(s, kept[4]) for s in kept[5:])
    assert not torch.equal(weights[4], weights[5])


def test_gates_are_hard_in_the_last_step_at_the_latest() -> None:
    network = row(4.0, 3.0)
    method = methods.get("continuous-sparsification", s_init=0.0, end=1.0)
    gate, _ = attached(method.attach(network)[0])
    with torch.no_grad():
        gate.s.copy_(torch.tensor([[0.001, -0.001]]))
    method.before_step(network, 98, 100)
    assert (network[0].weight != 0.0).all()
    method.before_step(network, 99, 100)
    assert close(method.finalize(network)[0].weight, [8.0, 0.0])
