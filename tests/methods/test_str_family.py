"""STR and its extensions: what shares a threshold, filter pruning by importance and by batch-norm scale."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import batch_norm, conv2d
from torch.nn.utils import parametrize

from paper_repro import methods, models
from paper_repro.accounting import account, counted_layers, nonzero_sparsity_pct
from paper_repro.errors import UserError
from tests.reference.soft_threshold import soft_threshold as plain

FAMILY = ["str", "str-gs", "str-filter", "str-weight", "str-filter-pruning", "str-bn"]
G_OF = torch.sigmoid(torch.tensor(-2.0))


def network() -> nn.Module:
    torch.manual_seed(0)
    return models.resnet18(num_classes=4, width=4, in_channels=1)


def batch() -> Tensor:
    return torch.randn(4, 1, 28, 28, generator=torch.Generator().manual_seed(1))


def sparse_network(name: str) -> tuple[nn.Module, methods.Method]:
    """A network in which about half of what the method thresholds is off, after a step of training."""
    model, method = network(), methods.get(name, s_init=-2.0)
    method.attach(model)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            if parameter_name.endswith("importance") or (
                "bn" in parameter_name and "weight.original" in parameter_name
            ):
                parameter.copy_(2 * G_OF * torch.rand(parameter.shape, generator=generator))
    step(model, method)
    return model, method


def step(model: nn.Module, method: methods.Method, lr: float = 0.01) -> None:
    optimizer = torch.optim.SGD(method.param_groups(model, weight_decay=1e-3), lr=lr, momentum=0.9)
    loss = nn.functional.cross_entropy(model(batch()), torch.tensor([0, 1, 2, 3]))
    loss.backward()
    optimizer.step()


@pytest.mark.parametrize("name", FAMILY)
def test_finalized_network_is_plain_and_predicts_the_same(name: str) -> None:
    names = set(network().state_dict())
    model, method = sparse_network(name)
    finalized = method.finalize(model)
    assert set(finalized.state_dict()) == names
    assert torch.equal(finalized.eval()(batch()), model.eval()(batch()))
    measured = account(finalized, (1, 28, 28)).sparsity_pct
    assert measured == pytest.approx(nonzero_sparsity_pct(model)) and 10.0 < measured < 99.9


@pytest.mark.parametrize("name", FAMILY)
def test_state_survives_saving_loading_and_copying(name: str) -> None:
    model, _ = sparse_network(name)
    fresh = methods.get(name, s_init=-1.0).attach(network())
    fresh.load_state_dict(copy.deepcopy(model.state_dict()))
    assert torch.equal(fresh.eval()(batch()), model.eval()(batch()))
    twin = copy.deepcopy(model)
    expected = model(batch())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert torch.equal(twin(batch()), expected)  # nothing of the copy reads the original


@pytest.mark.parametrize("name", FAMILY)
def test_no_parameter_is_listed_or_stored_twice(name: str) -> None:
    model = methods.get(name).attach(network())
    stored = [value.data_ptr() for key, value in model.state_dict().items() if value.numel() and ".s" not in key]
    assert len(stored) == len(set(stored))
    (group,) = methods.get(name).param_groups(model, weight_decay=1e-3)
    assert len(group["params"]) == len({id(parameter) for parameter in group["params"]})
    thresholds = {id(p) for key, p in model.named_parameters(remove_duplicate=False) if key.endswith(".s")}
    expected = {"str-gs": 1, "str-bn": 20, "str-filter-pruning": 20}.get(name, 21)
    assert len(thresholds) == expected


@pytest.mark.parametrize("name", FAMILY)
def test_one_layer_of_zeros_trains_on(name: str) -> None:
    model, method = sparse_network(name)
    values = dict(model.named_parameters(remove_duplicate=False))
    with torch.no_grad():
        for key, value in values.items():
            if key.startswith("layer2.0.") and key.endswith(".s") and name != "str-gs":
                value.fill_(20.0)
        if name == "str-gs":
            values["layer2.0.conv1.parametrizations.weight.original"].mul_(1e-6)
    assert torch.count_nonzero(model.layer2[0].conv1.weight) == 0
    step(model, method)
    assert all(torch.isfinite(value).all() for value in model.parameters())
    assert torch.isfinite(method.finalize(model).eval()(batch())).all()


@pytest.mark.parametrize("name", FAMILY)
def test_channels_last_gives_the_same_values(name: str) -> None:
    model, _ = sparse_network(name)
    there = copy.deepcopy(model).to(memory_format=torch.channels_last)
    for key, layer in counted_layers(model).items():
        assert torch.equal(layer.weight, there.get_submodule(key).weight)
    out = there(batch().contiguous(memory_format=torch.channels_last))
    assert torch.allclose(out, model(batch()), atol=1e-5)


@pytest.mark.parametrize("name", FAMILY)
def test_dense_at_the_papers_s_init_with_gradients_of_zero(name: str) -> None:
    model = methods.get(name, s_init=-3200.0).attach(network())
    assert nonzero_sparsity_pct(model) == 0.0
    model(batch()).sum().backward()
    thresholds = [value for key, value in model.named_parameters() if key.endswith(".s")]
    # a gradient of None would make SGD skip s, which would then never decay
    assert all(value.grad is not None and not value.grad.any() for value in thresholds)


@pytest.mark.parametrize(
    "granularity, shape", [("layer", ()), ("global", ()), ("filter", (4, 1, 1, 1)), ("weight", (4, 1, 7, 7))]
)
def test_s_has_the_shape_of_its_granularity(granularity: str, shape: tuple[int, ...]) -> None:
    model = methods.get("str", granularity=granularity).attach(network())
    assert model.state_dict()["conv1.parametrizations.weight.0.s"].shape == shape
    linear = methods.get("str", granularity="filter").attach(nn.Sequential(nn.Linear(3, 5)))
    assert linear.state_dict()["0.parametrizations.weight.0.s"].shape == (5, 1)


@pytest.mark.parametrize("name", ["str", "str-gs", "str-filter", "str-weight"])
def test_gradients_against_a_plain_autograd_twin(name: str) -> None:
    model = methods.get(name, s_init=-2.0).attach(network()).double()
    values = {key: value.detach().requires_grad_() for key, value in model.named_parameters(remove_duplicate=False)}
    if name == "str-gs":
        one = values["conv1.parametrizations.weight.0.s"]
        values = {key: one if key.endswith(".s") else value for key, value in values.items()}

    twin_values = {}
    for key, value in values.items():
        if key.endswith("weight.original"):
            s = values[key.replace("original", "0.s")]
            twin_values[key.replace(".parametrizations.weight.original", ".weight")] = plain(value, torch.sigmoid(s))
        elif not key.endswith(".s"):
            twin_values[key] = value
    functional_call(network().double(), twin_values, batch().double()).square().sum().backward()
    model(batch().double()).square().sum().backward()
    for key, value in model.named_parameters():
        assert torch.allclose(value.grad, values[key].grad, rtol=1e-6, atol=1e-9), key


def test_the_shared_threshold_moves_once_per_step_and_survives_copies() -> None:
    method = methods.get("str-gs", s_init=-2.0)
    model = method.attach(network())
    s = model.conv1.parametrizations.weight[0].s
    before = s.item()
    optimizer = torch.optim.SGD(method.param_groups(model, weight_decay=0.5), lr=0.1)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    assert s.item() == pytest.approx(before * (1 - 0.1 * 0.5))
    twin = copy.deepcopy(model)
    twin.load_state_dict(model.state_dict())
    with torch.no_grad():
        twin.conv1.parametrizations.weight[0].s.fill_(3.0)
    assert twin.fc.parametrizations.weight[0].s.item() == 3.0 and s.item() < 0
    assert len(set(methods.get("str-gs").thresholds(twin).values())) == 1
    other = method.attach(network())  # the same method on another network shares nothing with the first
    assert other.conv1.parametrizations.weight[0].s is not s


def test_thresholds_are_means_over_the_layer() -> None:
    method = methods.get("str-filter", s_init=-2.0)
    model = method.attach(network())
    s = model.conv1.parametrizations.weight[0].s
    with torch.no_grad():
        s.copy_(torch.tensor([-2.0, -2.0, 0.0, 0.0]).view(4, 1, 1, 1))
    assert method.thresholds(model)["conv1"] == pytest.approx((G_OF.item() + 0.5) / 2)


def test_filter_pruning_by_hand() -> None:
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 3, bias=False))
    method = methods.get("str-filter-pruning", s_init=0.0)  # g(0) = 0.5
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, -2.0], [3.0, 4.0]]))
    method.attach(model)
    assert model[0].weight.tolist() == [[0.5, -1.0], [1.5, 2.0]]  # importance 1
    with torch.no_grad():
        model[0].parametrizations.weight[0].importance.copy_(torch.tensor([[0.4], [0.75]]))
    assert model[0].weight.tolist() == [[0.0, 0.0], [0.75, 1.0]]
    model[0].weight.sum().backward()
    held = model[0].parametrizations.weight
    assert held[0].importance.grad.tolist() == [[0.0], [7.0]] and held.original.grad.tolist() == [[0, 0], [0.25, 0.25]]
    assert held[0].soft.s.grad.item() == pytest.approx(-7.0 * 0.25)  # g'(0) = 1/4
    assert not parametrize.is_parametrized(model[1])  # the classes stay
    assert method.thresholds(model) == {"0": 0.5}


def test_batch_norm_by_hand() -> None:
    model = nn.Sequential(nn.Conv2d(1, 3, 1), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 2, 1))
    scales, shifts = torch.tensor([1.5, 0.25, -0.75]), torch.tensor([2.0, 2.0, 4.0])
    with torch.no_grad():
        model[1].weight.copy_(scales)
        model[1].bias.copy_(shifts)
    raw = model[0].weight.detach().clone()
    method = methods.get("str-bn", s_init=0.0)  # g(0) = 0.5
    method.attach(model)
    assert model[1].weight.tolist() == [1.0, 0.0, -0.25]
    assert model[1].bias.tolist() == [2.0, 0.0, -1.0]
    assert torch.equal(model[0].weight.squeeze(), raw.squeeze() * torch.tensor([1.0, 0.0, 1.0]))
    assert not parametrize.is_parametrized(model[3]) and method.thresholds(model) == {"0": 0.5}
    finalized = method.finalize(model)
    assert torch.count_nonzero(finalized[0].weight) == 2 and finalized[1].weight.tolist() == [1.0, 0.0, -0.25]


def test_batch_norm_gradients_against_a_plain_autograd_twin() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4)).double()
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([1.0, 0.3, -0.8, 0.5000001]))
        model[1].bias.copy_(torch.tensor([0.1, 0.2, 0.3, 0.4]))
    weight, scale, shift = (
        value.detach().clone().requires_grad_() for value in (model[0].weight, model[1].weight, model[1].bias)
    )
    s = torch.tensor(0.0, dtype=torch.float64, requires_grad=True)
    images, target = torch.randn(3, 2, 6, 6).double(), torch.randn(3, 4, 4, 4).double()

    methods.get("str-bn", s_init=0.0).attach(model).double()
    (model(images) * target).sum().backward()
    thresholded = plain(scale, torch.sigmoid(s))
    normalized = batch_norm(conv2d(images, weight), None, None, thresholded, thresholded * shift, training=True)
    (normalized * target).sum().backward()

    held = model[1].parametrizations
    for ours, theirs in (
        (model[0].parametrizations.weight.original, weight),
        (held.weight.original, scale),
        (held.bias.original, shift),
        (held.weight[0].s, s),
    ):
        assert torch.allclose(ours.grad, theirs.grad, rtol=1e-9, atol=1e-12)


class DefinedOutOfOrder(nn.Module):
    """The batch norms are used in another order than they are defined in; conv3 feeds two things."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3 = nn.Conv2d(1, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
        self.bn2, self.bn1, self.bn3 = nn.BatchNorm2d(4), nn.BatchNorm2d(4), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv3(self.bn2(self.conv2(self.bn1(self.conv1(x)))))
        return x + self.bn3(x)


def test_batch_norms_are_paired_as_computed() -> None:
    model = DefinedOutOfOrder()
    methods.get("str-bn", s_init=-2.0).attach(model)
    assert model.conv1.parametrizations.weight[0].batch_norm == (model.bn1,)
    assert model.conv2.parametrizations.weight[0].batch_norm == (model.bn2,)
    assert not parametrize.is_parametrized(model.conv3) and not parametrize.is_parametrized(model.bn3)


class Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) if x.sum() > 0 else x


def test_networks_that_str_bn_cannot_prune_are_refused() -> None:
    with pytest.raises(UserError, match="no convolution whose output goes to a batch norm"):
        methods.get("str-bn").attach(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))
    with pytest.raises(UserError, match="cannot trace"):
        methods.get("str-bn").attach(Branches())


def test_a_target_where_every_layer_stays_dense_is_refused() -> None:
    """The classes are not pruned, and here is nothing else."""
    method = methods.get("str-filter-pruning", target_sparsity_pct=50.0)
    with pytest.raises(UserError, match=r"target_sparsity_pct = 50 is out of reach.* 100\.00 % of the weights"):
        method.attach(nn.Sequential(nn.Linear(4, 4)))


def test_misspelt_granularity_names_the_nearest() -> None:
    with pytest.raises(UserError, match="filter"):
        methods.get("str", granularity="filtre")


def test_filter_pruning_behind_batch_norm_by_hand() -> None:
    """The batch norm takes the factor: it would divide it out of the convolution again."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 1, bias=False), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 2, 1))
    with torch.no_grad():
        model[1].bias.fill_(2.0)
    raw = model[0].weight.detach().clone()
    methods.get("str-filter-pruning", s_init=0.0).attach(model)  # g(0) = 0.5
    importance = model[0].parametrizations.weight[0].importance
    with torch.no_grad():
        importance.copy_(torch.tensor([1.0, 0.4, 0.75]).view(3, 1, 1, 1))
    assert model[1].weight.tolist() == [0.5, 0.0, 0.25] and model[1].bias.tolist() == [1.0, 0.0, 0.5]
    assert torch.equal(model[0].weight.squeeze(), raw.squeeze() * torch.tensor([1.0, 0.0, 1.0]))
    model(torch.randn(4, 1, 5, 5)).square().sum().backward()
    gradient = importance.grad.flatten()
    assert gradient[0].abs() > 0.1 and gradient[1] == 0.0 and gradient[2].abs() > 0.1
