"""Ending at a sparsity that was asked for: the move by hand, any granularity and length, and what cannot be reached."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from paper_repro import methods, models
from paper_repro.accounting import account, counted_layers, nonzero_sparsity_pct
from paper_repro.errors import UserError
from paper_repro.methods.soft_threshold import SoftThreshold
from paper_repro.methods.str_target import SAMPLE, Operand, lift, move, quantile, sampling_stride
from paper_repro.spec import Spec
from paper_repro.training.forecast import forecast, require_pruning
from tests.methods.test_str_family import batch
from tests.methods.test_str_family import network as family_network

CASES = [
    ("str", {}, 90.0),
    ("str", {}, 98.0),
    ("str", {"target": "freeze", "s_init": -50.0}, 90.0),
    ("str", {"target": "freeze", "s_init": -6.0}, 95.0),
    ("str", {"g": "exp"}, 90.0),
    ("str-gs", {}, 97.91),
    ("str-filter", {}, 95.0),
    ("str-weight", {}, 95.0),
    ("str-filter-pruning", {}, 50.0),
    ("str-bn", {}, 50.0),
]
IDS = ["-".join([name, *map(str, arguments.values()), f"{target:g}"]) for name, arguments, target in CASES]
# Training is plain, at a learning rate high enough that sparsity would leave the target if it were not held there.
LR, WEIGHT_DECAY = 0.02, 1e-2


def network() -> nn.Module:
    """A small network whose weights are below 1, as those of real ones are: a sigmoid prunes nothing larger."""
    model = family_network()
    with torch.no_grad():
        for layer in counted_layers(model).values():
            layer.weight.mul_(0.1)
    return model


def train(name: str, arguments: dict, target: float, steps: int, stop_at: int | None = None):
    """(method, model, overall sparsity before each step) of a short training; with ``stop_at`` it is stopped there and
    goes on in new objects, from what a checkpoint would hold.
    """

    def fresh():
        model, method = network(), methods.get(name, target_sparsity_pct=target, **arguments)
        method.attach(model)
        return model, method, torch.optim.SGD(method.param_groups(model, WEIGHT_DECAY), lr=LR, momentum=0.875)

    model, method, optimizer = fresh()
    seen = []
    for step in range(steps):
        if step == stop_at:
            state = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
            model, method, optimizer = fresh()
            model.load_state_dict(state[0])
            optimizer.load_state_dict(state[1])
        for group in optimizer.param_groups:
            group["lr"] = LR * (1.0 - step / steps)
        method.before_step(model, step, steps)
        seen.append(nonzero_sparsity_pct(model))
        optimizer.zero_grad()
        cross_entropy(model(batch()), torch.tensor([0, 1, 2, 3])).backward()
        optimizer.step()
    return method, model, seen


@pytest.mark.parametrize("steps", [7, 60])
@pytest.mark.parametrize("name, arguments, target", CASES[:-2], ids=IDS[:-2])
def test_training_ends_within_half_a_point(name: str, arguments: dict, target: float, steps: int) -> None:
    method, model, seen = train(name, arguments, target, steps)
    measured = account(method.finalize(model), (1, 28, 28)).sparsity_pct
    assert measured == pytest.approx(target, abs=0.5)
    held = seen[round(0.65 * steps) :]
    assert max(held) - min(held) < 2.0 and all(torch.isfinite(value).all() for value in model.parameters())


@pytest.mark.parametrize("name, arguments, target", CASES[-2:], ids=IDS[-2:])
def test_whole_filters_end_as_near_as_filters_allow(name: str, arguments: dict, target: float) -> None:
    """In this network the largest filter is 0.66 points, so that a few of them are worth more than half a point."""
    method, model, _ = train(name, arguments, target, 60)
    assert account(method.finalize(model), (1, 28, 28)).sparsity_pct == pytest.approx(target, abs=2.5)


@pytest.mark.parametrize("name, arguments, target", CASES, ids=IDS)
def test_a_stopped_training_goes_on_bit_by_bit(name: str, arguments: dict, target: float) -> None:
    _, whole, _ = train(name, arguments, target, 24)
    for stop_at in (3, 16):
        _, resumed, _ = train(name, arguments, target, 24, stop_at)
        for key, value in whole.state_dict().items():
            assert torch.equal(value, resumed.state_dict()[key]), key


def test_the_controller_needs_neither_s_init_nor_weight_decay() -> None:
    ends = []
    for s_init in (-3200.0, -50.0, -20.0):
        _, model, seen = train("str", {"s_init": s_init}, 90.0, 50)
        ends.append(model.conv1.parametrizations.weight.original.detach())
        assert seen[9] < 0.1 and seen[12] > 5.0  # nothing before start = 0.2
    assert torch.allclose(ends[0], ends[1], atol=0.02) and torch.allclose(ends[1], ends[2], atol=0.02)


def test_the_controller_takes_the_place_of_the_decay_of_s() -> None:
    method = methods.get("str-gs", target_sparsity_pct=90.0)
    model = method.attach(network())
    rest, thresholds = method.param_groups(model, weight_decay=0.5)
    assert (rest["weight_decay"], thresholds["weight_decay"]) == (0.5, 0.0)
    assert len(thresholds["params"]) == 1 and len(rest["params"]) + 1 == len(list(model.parameters()))
    plain = methods.get("str", target_sparsity_pct=90.0, target="freeze")
    assert len(plain.param_groups(plain.attach(network()), weight_decay=0.5)) == 1


def test_what_the_gradient_made_of_the_layers_is_kept() -> None:
    method = methods.get("str", target_sparsity_pct=90.0)
    model = method.attach(network())
    thresholds = [layer.parametrizations.weight[0].s for layer in counted_layers(model).values()]
    with torch.no_grad():
        for index, s in enumerate(thresholds):
            s.fill_(-9.0 + 0.25 * index)
    method.before_step(model, 60, 100)
    assert nonzero_sparsity_pct(model) == pytest.approx(90.0, abs=0.1)
    steps = torch.stack([s.detach() for s in thresholds]).diff()
    assert torch.allclose(steps, torch.full_like(steps, 0.25), atol=1e-5)


def test_freezing_keeps_the_sparsity_of_every_layer() -> None:
    method = methods.get("str", s_init=-50.0, target_sparsity_pct=80.0, target="freeze")
    model = method.attach(network())
    thresholds = [layer.parametrizations.weight[0].s for layer in counted_layers(model).values()]
    with torch.no_grad():
        for index, s in enumerate(thresholds):
            s.fill_(-3.5 + 0.05 * index)  # as training would have left them, above the target
    assert nonzero_sparsity_pct(model) > 80.0
    method.before_step(model, 40, 100)

    def sparsities() -> list[float]:
        return [100.0 * (layer.weight == 0).double().mean().item() for layer in counted_layers(model).values()]

    before = sparsities()
    assert nonzero_sparsity_pct(model) == pytest.approx(80.0, abs=0.1)
    with torch.no_grad():
        for index, layer in enumerate(counted_layers(model).values()):
            layer.parametrizations.weight.original.mul_(0.5 + 0.1 * index)
            thresholds[index].add_(1.0)  # what the optimizer would do
    method.before_step(model, 99, 100)
    assert sparsities() == pytest.approx(before, abs=0.8)  # a weight of the smallest layer is 0.7 %


def operand(values: list[float], s: float, weights_each: int = 1) -> Operand:
    return Operand(SoftThreshold(nn.Parameter(torch.tensor(s))), torch.tensor(values), weights_each)


def test_the_move_by_hand() -> None:
    """Thresholds of sigmoid(-1) and sigmoid(0); values whose critical s is -4, -3, -2, -1 and -2, -1, 0, 1."""
    first = operand(torch.sigmoid(torch.tensor([-4.0, -3.0, -2.0, -1.0])).tolist(), s=-5.0)
    second = operand((-torch.sigmoid(torch.tensor([-2.0, -1.0, 0.0, 1.0]))).tolist(), s=-2.0)
    # missing: 1, 2, 3, 4 and 0, 1, 2, 3
    assert move([first, second], 5 / 8).item() == pytest.approx(2.0, abs=1e-5)
    assert move([first, second], 1 / 8).item() == pytest.approx(0.0, abs=1e-5)
    lift([first, second, second], torch.tensor(2.0))
    assert (first.soft.s.item(), second.soft.s.item()) == (-3.0, 0.0)  # and the second, listed twice, once
    assert move([first, second], 1 / 8).item() == pytest.approx(-2.0, abs=1e-5)


def test_values_stand_for_as_many_weights_as_hang_on_them() -> None:
    parts = [torch.tensor([1.0, 3.0]), torch.tensor([2.0, 4.0])]
    assert quantile(parts, [10, 30], 0.125).item() == 1.0  # 10 of 80
    assert quantile(parts, [10, 30], 0.5).item() == 2.0  # 40 of 80
    assert quantile(parts, [10, 30], 0.6).item() == 3.0  # nearest to 48 is 50
    assert quantile(parts, [1, 1], 0.5).item() == 2.0


def test_values_that_no_threshold_prunes_do_not_break_the_move() -> None:
    shift = move([operand([0.0, 0.0, 2.0, 3.0], s=-1.0)], 0.9)
    assert torch.isfinite(shift)
    assert torch.isfinite(move([operand([0.0, 0.0, 2.0, 3.0], s=-1.0)], 0.1))


def test_a_sample_is_enough_and_prefers_no_tap_of_a_kernel() -> None:
    assert sampling_stride(1000) == 1
    stride = sampling_stride(200 * SAMPLE)
    assert 200 <= stride <= 211 and all(stride % factor for factor in (2, 3, 5, 7))
    model = models.resnet50(num_classes=10, width=32)
    method = methods.get("str", target_sparsity_pct=95.0)
    method.attach(model)
    method.before_step(model, 60, 100)
    assert sampling_stride(sum(layer.weight.numel() for layer in counted_layers(model).values())) > 1
    assert nonzero_sparsity_pct(model) == pytest.approx(95.0, abs=0.15)
    method.before_step(model, 99, 100)  # the last move is exact
    assert nonzero_sparsity_pct(model) == pytest.approx(95.0, abs=0.001)


def test_nothing_is_computed_between_two_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    method = methods.get("str", target_sparsity_pct=95.0)
    method.attach(network())
    looked = []
    monkeypatch.setattr(method, "operands", lambda model: looked.append(model) or {})
    monkeypatch.setattr(type(method.target), "apply", lambda *arguments: None)
    for step in range(3000):
        method.before_step(network, step, 3000)
    assert 100 <= len(looked) <= 130  # 60 moves between 20 and 60 % of training, as dense after it, and the last step


def test_what_cannot_be_asked_for() -> None:
    for wrong in (0.0, 100.0, -5.0):
        with pytest.raises(UserError, match="between 0 and 100"):
            methods.get("str", target_sparsity_pct=wrong)
    with pytest.raises(UserError, match="controller"):
        methods.get("str", target_sparsity_pct=90.0, target="controler")
    with pytest.raises(UserError, match="granularity = 'layer'"):
        methods.get("str-gs", target_sparsity_pct=90.0, target="freeze")
    with pytest.raises(UserError, match="start"):
        methods.get("str", target_sparsity_pct=90.0, start=0.7, end=0.5)
    linear = nn.Sequential(nn.Linear(10, 10, bias=False), nn.Linear(10, 10, bias=False))
    with pytest.raises(UserError, match=r"hold 50\.00 % of the weights"):
        methods.get("str-filter-pruning", target_sparsity_pct=60.0).attach(linear)


SPEC = Spec(
    model="resnet50",
    dataset="cifar10",
    method="str",
    epochs=10,
    batch_size=256,
    lr=0.1,
    weight_decay=1e-5,  # by itself this would never prune
    method_args={"target_sparsity_pct": 90.0},
)


def test_the_forecast_knows_the_target() -> None:
    with pytest.raises(UserError, match="would stay dense"):
        require_pruning(replace(SPEC, method_args={}))
    assert require_pruning(SPEC).onset_epoch == pytest.approx(2.0)
    frozen = replace(SPEC, method_args={"target_sparsity_pct": 90.0, "target": "freeze"})
    assert require_pruning(frozen).onset_epoch == pytest.approx(6.0)
    early = replace(frozen, weight_decay=0.1)
    assert forecast(early).onset_step == forecast(replace(early, method_args={})).onset_step
    with pytest.raises(UserError, match=r"from epoch 9\.5"):
        require_pruning(replace(SPEC, method_args={"target_sparsity_pct": 90.0, "start": 0.95, "end": 1.0}))
