"""Networks as users bring them: wrapped, averaged, with ties, with weights that something else makes; and numbers that
are hardly meant.
"""

from __future__ import annotations

import copy
import math
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from paper_repro import methods
from paper_repro.accounting import counted_layers, nonzero_sparsity_pct
from paper_repro.conformance.trial import network
from paper_repro.errors import Advice, UserError
from paper_repro.methods.base import attached_layers
from paper_repro.methods.distributions import cut, uniform

RANKING = ("gmp", "gmp-global", "dnw", "dpf", "st3", "st3-sigma", "feather")
STEPS = 20


def replaced(function: Callable[[Tensor], Tensor]) -> nn.Module:
    """The network of the conformance checks, with other weights."""
    model = network()
    with torch.no_grad():
        for layer in counted_layers(model).values():
            layer.weight.copy_(function(layer.weight))
    return model


def one_magnitude(weight: Tensor) -> Tensor:
    return 0.05 * weight.sign()


def four_bits(weight: Tensor) -> Tensor:
    """Sixteen values, none of them zero."""
    step = weight.abs().max() / 8
    return ((weight / step).floor().clamp(-8, 7) + 0.5) * step


def scheduled(method: methods.Method, model: nn.Module) -> None:
    for step in range(STEPS):
        method.before_step(model, step, STEPS)


# -- ties -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", [one_magnitude, four_bits])
@pytest.mark.parametrize("name", RANKING)
def test_of_equal_weights_as_many_go_as_were_asked_for(name: str, weights: Callable[[Tensor], Tensor]) -> None:
    method, model = methods.get(name, sparsity_pct=50.0), replaced(weights)
    method.attach(model)
    scheduled(method, model)
    layers = counted_layers(model).values()
    zeros = sum(int((layer.weight == 0).sum()) for layer in layers)
    if method.distribution in ("uniform", "erk"):
        assert zeros == sum(round(layer.weight.numel() / 2) for layer in layers)
    else:
        assert zeros == round(sum(layer.weight.numel() for layer in layers) / 2)
    kept = torch.cat([layer.weight.flatten() for layer in layers])
    assert torch.isfinite(kept).all() and kept.abs().sum() > 0.0


@pytest.mark.parametrize("name", RANKING)
def test_equal_weights_are_the_same_ones_after_a_stop(name: str) -> None:
    found = []
    for _ in range(2):
        method, model = methods.get(name, sparsity_pct=50.0), replaced(one_magnitude)
        method.attach(model)
        scheduled(method, model)
        found.append(model)
    resumed = methods.get(name, sparsity_pct=50.0).attach(network())
    resumed.load_state_dict(copy.deepcopy(found[0].state_dict()))
    for model in (found[1], resumed):
        for one, other in zip(counted_layers(found[0]).values(), counted_layers(model).values(), strict=True):
            assert torch.equal(one.weight, other.weight)


def test_ties_are_cut_without_a_pattern() -> None:
    """Not from the front, which would take whole filters and layers, and nested: who went goes again."""
    values = torch.full((32, 16, 3, 3), 0.5)
    gone = [values <= cut(values, k) for k in (1000, 2304)]
    assert [int(mask.sum()) for mask in gone] == [1000, 2304] and not (gone[0] & ~gone[1]).any()
    for dims in ((1, 2, 3), (0, 2, 3), (0, 1)):
        share = gone[1].double().mean(dims)
        assert share.min() > 0.2 and share.max() < 0.8


def test_without_ties_there_is_one_threshold() -> None:
    values = torch.rand(1000, generator=torch.Generator().manual_seed(0))
    assert cut(values, 400).shape == () and int((values <= cut(values, 400)).sum()) == 400
    assert cut(torch.tensor([1.0, 1.0, 2.0]), 2).shape == ()  # both go
    split = cut(torch.tensor([1.0, 2.0, 2.0, 3.0]), 2)
    assert sorted(split.tolist()) == [1.0, 1.0, 1.0, 2.0] and split[0] == split[3] == 1.0


# -- targets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slope", [1.0, 4.0])
@pytest.mark.parametrize("name", ["str", "str-filter", "str-weight"])
def test_a_target_is_reached_among_large_weights_where_g_can(name: str, slope: float) -> None:
    method = methods.get(name, target_sparsity_pct=90.0, s_init=-10.0, g="exp", slope=slope)
    model = method.attach(replaced(lambda weight: 3.0 * torch.randn_like(weight)))
    with warnings.catch_warnings():
        warnings.simplefilter("error", Advice)
        scheduled(method, model)
    assert nonzero_sparsity_pct(model) == pytest.approx(90.0, abs=0.05)


@pytest.mark.parametrize("target", ["controller", "freeze"])
def test_a_target_that_the_sigmoid_cannot_reach_is_said(target: str) -> None:
    method = methods.get("str", target_sparsity_pct=90.0, target=target)
    model = method.attach(replaced(lambda weight: 3.0 * torch.randn_like(weight)))
    with pytest.warns(Advice, match="out of reach.*exp") as said:
        scheduled(method, model)
    reached, told = nonzero_sparsity_pct(model), re.search(r"prune (\S+) %", str(said[0].message))
    assert told and float(told[1]) == pytest.approx(reached, abs=0.05) and reached < 50.0


def test_large_weights_are_not_what_a_target_that_is_overshot_is_explained_by() -> None:
    """Three quarters of the weights are 0.05, the others 2."""
    method = methods.get("str", target_sparsity_pct=50.0)
    model = method.attach(replaced(lambda weight: torch.where(torch.rand_like(weight) < 0.75, 0.05, 2.0)))
    with pytest.warns(Advice, match="overshot.*equal magnitude"):
        scheduled(method, model)


@pytest.mark.parametrize("g", ["sigmoid", "exp"])
@pytest.mark.parametrize("name", ["str", "str-weight", "str-bn", "str-filter-pruning"])
def test_a_target_that_equal_values_stand_in_the_way_of_is_said(name: str, g: str) -> None:
    """All or none go. Importances of filters, and scales of batch norms, are equal before training."""
    method = methods.get(name, target_sparsity_pct=50.0, s_init=-10.0, g=g)
    model = method.attach(replaced(one_magnitude))
    for operand in method.operands(model).values() if "-" in name else ():
        operand.values.data.fill_(0.3)
    with pytest.warns(Advice, match="the target is .*equal magnitude"):
        scheduled(method, model)
    assert abs(nonzero_sparsity_pct(model) - 50.0) > 10.0


def test_a_target_for_a_network_without_layers_is_refused() -> None:
    with pytest.raises(UserError, match="no convolution or fully connected layer"):
        methods.get("str", target_sparsity_pct=50.0).attach(nn.Sequential(nn.BatchNorm1d(3)))


# -- wrappers ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def one_process(tmp_path: Path) -> Iterator[None]:
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


WRAPPERS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "DistributedDataParallel": DistributedDataParallel,
    "DataParallel": nn.DataParallel,
    "compiled": lambda model: torch.compile(model, backend="eager"),
    "compiled, in parallel": lambda model: nn.DataParallel(torch.compile(model, backend="eager")),
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("attach_to", ["model", "wrapper"])
@pytest.mark.parametrize("name", ["gmp", "gmp-global", "dnw", "rigl", "str", "str-bn", "str-filter-pruning"])
def test_a_wrapped_model_is_the_model(one_process: None, name: str, attach_to: str, wrapper: str) -> None:
    arguments = {"s_init": -0.1, "g": "exp"} if name.startswith("str") else {"sparsity_pct": 80.0}
    arguments |= {"target_sparsity_pct": 80.0} if name == "str" else {}
    ends = []
    for wrap in (lambda model: model, WRAPPERS[wrapper]):
        torch.manual_seed(0)
        method, model = methods.get(name, **arguments), network()
        if attach_to == "model":
            wrapped = wrap(method.attach(model))
        else:
            wrapped = method.attach(wrap(model))
        for step in range(STEPS):
            method.before_step(wrapped, step, STEPS)
            for _, raw in attached_layers(wrapped).values():
                raw.grad = torch.ones_like(raw)
            method.after_backward(wrapped, step, STEPS)
        assert method.thresholds(wrapped).keys() == method.thresholds(model).keys()
        ends.append(method.finalize(wrapped).state_dict())
    assert list(ends[0]) == list(ends[1]) == list(network().state_dict())
    assert all(torch.equal(ends[0][key], ends[1][key]) for key in ends[0])


# -- averages ---------------------------------------------------------------------------------------------------------


def test_an_average_of_str_networks_is_sparse_or_refused() -> None:
    method = methods.get("str", s_init=-3200.0)
    model = method.attach(network())
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.99))
    average.update_parameters(model)
    for operand in method.operands(model).values():
        operand.soft.s.data.fill_(-3.0)  # after a long decay
    average.update_parameters(model)
    sparse = nonzero_sparsity_pct(method.finalize(model))
    with pytest.raises(UserError, match="copy_thresholds"):
        method.finalize(average)
    method.copy_thresholds(model, average)
    assert nonzero_sparsity_pct(method.finalize(average)) == pytest.approx(sparse) and sparse > 10.0


def test_an_average_of_masked_networks_is_sparse() -> None:
    method = methods.get("gmp", sparsity_pct=80.0)
    model = method.attach(network())
    scheduled(method, model)
    average = AveragedModel(model)
    average.update_parameters(model)
    assert nonzero_sparsity_pct(method.finalize(average)) == pytest.approx(nonzero_sparsity_pct(model))


# -- what a finalized copy keeps --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["str", "gmp", "str-bn", "str-filter-pruning"])
def test_a_finalized_copy_keeps_order_and_requires_grad(name: str) -> None:
    model = network()
    model.get_submodule("wide.conv").requires_grad_(False)
    expected = [(key, parameter.requires_grad) for key, parameter in model.named_parameters()]
    method = methods.get(name, **({"sparsity_pct": 50.0} if name == "gmp" else {}))
    plain = method.finalize(method.attach(model))
    assert [(key, parameter.requires_grad) for key, parameter in plain.named_parameters()] == expected


def test_a_finalized_copy_keeps_tied_weights_tied() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    model[1].weight = model[0].weight
    plain = methods.get("gmp", sparsity_pct=50.0)
    plain = plain.finalize(plain.attach(model))
    assert plain[0].weight is plain[1].weight


# -- what else makes a weight -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda layer: parametrizations.weight_norm(layer), "WeightNorm"),
        (lambda layer: parametrizations.spectral_norm(layer), "SpectralNorm"),
        (lambda layer: weight_norm(layer), "WeightNorm"),
        (lambda layer: spectral_norm(layer), "SpectralNorm"),
        (lambda layer: prune.l1_unstructured(layer, "weight", 0.5), "L1Unstructured"),
        (lambda layer: prune.random_unstructured(layer, "bias", 0.5), "RandomUnstructured"),
    ],
)
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("name", ["str", "gmp", "dense"])
def test_what_makes_a_weight_already_is_named(name: str, change: Callable[[nn.Module], object], named: str) -> None:
    model = network()
    change(model.get_submodule("fc"))
    with pytest.raises(UserError, match=rf"layer fc: .*{named}"):
        methods.get(name, **({"sparsity_pct": 50.0} if name == "gmp" else {})).attach(model)


def test_a_method_is_not_attached_twice() -> None:
    model = methods.get("str").attach(network())
    with pytest.raises(UserError, match="a method is attached to this model already"):
        methods.get("str").attach(model)


# -- numbers that are hardly meant ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda: methods.get("gmp", sparsity_pct=0.9),
        lambda: methods.get("rigl", sparsity_pct=0.9),
        lambda: methods.get("str", target_sparsity_pct=0.9),
        lambda: uniform(counted_layers(network()), 0.9),
    ],
)
def test_a_share_in_place_of_percent_is_said(make: Callable[[], object]) -> None:
    with pytest.warns(Advice, match=r"0\.9 .*percent.* 90"):
        make()


def test_percent_are_not_remarked_on() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", Advice)
        for sparsity_pct in (0.0, 1.0, 90.0, 100.0):
            methods.get("gmp", sparsity_pct=sparsity_pct)


@pytest.mark.parametrize(("decay", "dense"), [(1e-4, True), (0.05, False)])
def test_str_in_a_loop_of_ones_own_says_when_it_will_stay_dense(decay: float, dense: bool) -> None:
    method = methods.get("str", s_init=-100.0)
    model = method.attach(network())
    optimizer = torch.optim.SGD(method.param_groups(model, decay), lr=1.0)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for step in range(100):
            method.before_step(model, step, 100)
            for operand in method.operands(model).values():
                operand.soft.s.grad = torch.zeros_like(operand.soft.s)
            optimizer.step()
    advice = [str(item.message) for item in said if issubclass(item.category, Advice)]
    assert len(advice) == int(dense) and all("stays dense" in text and "-100" in text for text in advice)
    s = next(iter(method.operands(model).values())).soft.s.item()
    assert s == pytest.approx(-100.0 * math.pow(1.0 - decay, 100), rel=1e-4) and (s < -10.0) == dense
