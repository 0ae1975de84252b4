"""The protocol: what attaching, training steps and finalizing do, for each method."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from paper_repro import methods, models
from paper_repro.accounting import account, counted_layers, nonzero_sparsity_pct
from paper_repro.errors import UserError
from paper_repro.methods.distributions import kth_smallest
from paper_repro.methods.mask import Mask
from tests.reference.soft_threshold import soft_threshold

CASES = {"dense": {}, "str": {"s_init": -3.0}, "gmp": {"sparsity_pct": 90.0}}


def network() -> nn.Module:
    torch.manual_seed(0)
    return models.resnet18(num_classes=4, width=4, in_channels=1)


def batch() -> torch.Tensor:
    return torch.randn(4, 1, 28, 28, generator=torch.Generator().manual_seed(1))


def all_steps(method: methods.Method, model: nn.Module) -> None:
    """What a method does by its schedule in a whole training, without the training."""
    for step in range(100):
        method.before_step(model, step, 100)


@pytest.mark.parametrize("name", CASES)
def test_finalized_module_is_plain_and_predicts_the_same(name: str) -> None:
    model, method = network(), methods.get(name, **CASES[name])
    names = set(model.state_dict())
    assert method.attach(model) is model
    all_steps(method, model)
    model(batch())  # moves the running statistics
    plain = method.finalize(model)
    assert set(plain.state_dict()) == names
    assert not any(parametrize.is_parametrized(module) for module in plain.modules())
    assert torch.equal(plain.eval()(batch()), model.eval()(batch()))
    model.train()(batch()).sum().backward()  # finalizing leaves the original as it was
    assert account(plain, (1, 28, 28)).sparsity_pct == pytest.approx(nonzero_sparsity_pct(model))


@pytest.mark.parametrize("name", CASES)
def test_state_survives_saving_and_loading(name: str) -> None:
    trained, fresh = network(), network()
    for model in (trained, fresh):
        methods.get(name, **CASES[name]).attach(model)
    method = methods.get(name, **CASES[name])
    method.attach(network())
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.mul_(0.5)
    fresh.load_state_dict(copy.deepcopy(trained.state_dict()))
    assert torch.equal(fresh.eval()(batch()), trained.eval()(batch()))


def test_every_layer_is_parametrized_and_everything_decays() -> None:
    model = methods.get("str", s_init=-3200.0).attach(network())
    layers = counted_layers(model)
    assert len(layers) == 21 and all(parametrize.is_parametrized(layer, "weight") for layer in layers.values())
    (group,) = methods.get("str").param_groups(model, weight_decay=1e-3)
    assert group["weight_decay"] == 1e-3
    assert {id(p) for p in group["params"]} == {id(p) for p in model.parameters()}
    assert sum(name.endswith(".s") for name, _ in model.named_parameters()) == 21


@pytest.mark.parametrize("g, function", [("sigmoid", torch.sigmoid), ("exp", torch.exp)])
def test_str_is_the_papers_operator(g: str, function) -> None:
    model = network()
    raw = copy.deepcopy(model)
    methods.get("str", s_init=-2.0, g=g).attach(model)
    expected = soft_threshold(raw.conv1.weight, function(torch.tensor(-2.0)))
    assert torch.equal(model.conv1.weight, expected)


def test_at_the_papers_s_init_str_is_dense_and_s_has_a_zero_gradient() -> None:
    model = methods.get("str", s_init=-3200.0).attach(network())
    plain = network()
    assert torch.equal(model.eval()(batch()), plain.eval()(batch()))
    model(batch()).sum().backward()
    s = model.conv1.parametrizations.weight[0].s
    # it must exist: SGD skips a parameter whose gradient is None, and s would never decay
    assert s.grad is not None and s.grad.item() == 0.0


def test_str_reports_its_thresholds() -> None:
    method = methods.get("str", s_init=-3.0)
    thresholds = method.thresholds(method.attach(network()))
    assert set(thresholds) == set(counted_layers(network()))
    assert thresholds["conv1"] == pytest.approx(0.0474258732)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_gmp_masks_exactly_the_smallest(memory_format: torch.memory_format) -> None:
    weight = torch.randn(8, 4, 3, 3, generator=torch.Generator().manual_seed(0)).to(memory_format=memory_format)
    mask = Mask(weight)
    mask.prune(weight, kth_smallest(weight.abs(), 216))
    pruned = mask(weight)
    assert torch.count_nonzero(pruned == 0) == 216
    assert weight[pruned == 0].abs().max() < weight[pruned != 0].abs().min()


def test_gmp_prunes_along_the_schedule_and_spares_kept_weights() -> None:
    model = network()
    method = methods.get("gmp", sparsity_pct=90.0)
    method.attach(model)
    seen = []
    for step in range(100):
        method.before_step(model, step, 100)
        seen.append(nonzero_sparsity_pct(model))
    assert seen[20] == 0.0 and 0.0 < seen[25] < seen[50] < seen[80]
    assert seen[80] == seen[99] == pytest.approx(90.0, abs=0.05)
    model(batch()).sum().backward()
    raw = model.layer1[0].conv1.parametrizations.weight
    assert torch.all(raw.original.grad[raw[0].mask == 0] == 0) and torch.any(raw.original.grad != 0)


def test_gmp_keeps_first_and_depthwise_layers_dense() -> None:
    model = models.mobilenet_v1(num_classes=10, width=8)
    method = methods.get("gmp", sparsity_pct=90.0, keep_dense=["first", "depthwise"])
    method.attach(model)
    all_steps(method, model)
    by_name = {layer.name: layer.sparsity_pct for layer in account(method.finalize(model), (3, 32, 32)).layers}
    assert by_name["model.0.0"] == by_name["model.3.0"] == 0.0
    assert by_name["model.3.3"] == pytest.approx(90.0, abs=0.5) and by_name["fc"] == pytest.approx(90.0, abs=0.5)


def test_gmp_takes_a_budget() -> None:
    model = network()
    budget = {name: 10.0 + index for index, name in enumerate(counted_layers(model))}
    method = methods.get("gmp", budget=budget)
    method.attach(model)
    all_steps(method, model)
    for layer in account(method.finalize(model), (1, 28, 28)).layers:
        assert layer.sparsity_pct == pytest.approx(budget[layer.name], abs=50.0 / layer.params + 1e-9)


@pytest.mark.parametrize(
    "name, arguments, message",
    [
        ("st", {}, "Did you mean 'str'"),
        ("str", {"s_int": -1.0}, "Did you mean 's_init'"),
        ("str", {"g": "sigmoyd"}, "Did you mean 'sigmoid'"),
        ("gmp", {}, "either sparsity_pct or budget"),
        ("gmp", {"sparsity_pct": 90.0, "start": 0.9}, "0 <= 0.9 < 0.8 <= 1"),
    ],
)
def test_bad_arguments_say_what_to_do(name: str, arguments: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        methods.get(name, **arguments)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"sparsity_pct": 190.0}, "between 0 and 100"),
        ({"sparsity_pct": 90.0, "keep_dense": ["depthwize"]}, "Did you mean 'depthwise'"),
        ({"budget": {"conv1": 10.0}}, "does not fit the network"),
    ],
)
def test_bad_budgets_say_what_to_do(arguments: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        methods.get("gmp", **arguments).attach(network())
