"""STR on the ranks of low-rank products, on the network of Table 3 in small."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from paper_repro import methods, models
from paper_repro.accounting import account, low_rank_products, ranks
from paper_repro.errors import UserError
from paper_repro.methods.base import Method, attached
from paper_repro.models.fastgrnn import FastGRNN
from tests.reference.soft_threshold import soft_threshold as plain_soft_threshold

SIZE = (12, 4)  # steps, features
INPUTS = torch.randn(16, *SIZE, generator=torch.Generator().manual_seed(3))
LABELS = (INPUTS[:, :, 0].sum(1) > 0).long()


def network(seed: int = 0) -> FastGRNN:
    torch.manual_seed(seed)
    return models.fastgrnn(in_channels=4, hidden=10, rank_w=4, rank_u=10)


def eager(seed: int = 0) -> FastGRNN:
    """One with larger matrices, whose importances get gradients large enough to tell ranks apart."""
    model = network(seed)
    for layers in low_rank_products(model).values():
        for layer in layers:
            nn.init.normal_(layer.weight, std=0.5)
    return model


def attach(model: nn.Module, **arguments) -> Method:
    method = methods.get("str-rank", **arguments)
    method.attach(model)
    return method


def importances(model: FastGRNN, name: str) -> tuple[Tensor, Tensor]:
    held, _ = attached(low_rank_products(model)[name][0])
    return held.importance, held.soft.s


def sgd(model: nn.Module, method: Method) -> torch.optim.SGD:
    return torch.optim.SGD(method.param_groups(model, weight_decay=0.02), lr=0.1, momentum=0.9)


def train(model: nn.Module, method: Method, steps: int, first: int = 0, optimizer=None):
    optimizer = optimizer or sgd(model, method)
    for step in range(first, first + steps):
        method.before_step(model, step, 60)
        loss = nn.functional.cross_entropy(model(INPUTS), LABELS)
        optimizer.zero_grad()
        loss.backward()
        method.after_backward(model, step, 60)
        optimizer.step()
    return optimizer


def test_forward_is_the_papers_reparameterization() -> None:
    """W = (W1 * 1 m~^T) W2 with m~ = sign(m) relu(|m| - exp(s)), and U likewise (section 4.2.1), in row vectors."""
    dense, model = network(), network()
    attach(model, s_init=-0.5)
    with torch.no_grad():
        for name, values in (("w", [1.0, 0.5, -0.9, 2.0]), ("u", torch.linspace(-2.0, 2.0, 10).tolist())):
            importance, s = importances(model, name)
            importance.copy_(torch.tensor(values)[:, None])
            w1, w2 = (layer.weight.t() for layer in low_rank_products(dense)[name])
            kept = plain_soft_threshold(importance.flatten(), s.exp())
            product = (w1 * torch.ones(len(w1), 1).mm(kept[None, :])).mm(w2)
            assert torch.allclose(getattr(model, name).weight.t(), product, atol=1e-6)
    assert ranks(model) == {"w": 3, "u": 8}


def test_slope_times_s_decides() -> None:
    """s = -2 with slope 1 and s = -0.5 with slope 4 are the same network, as they are of thresholds on weights."""
    outputs = []
    for arguments in ({"s_init": -2.0}, {"s_init": -0.5, "slope": 4.0}):
        model = network()
        attach(model, **arguments)
        with torch.no_grad():
            for name in ("w", "u"):
                importance, _ = importances(model, name)
                importance.copy_(torch.linspace(0.0, 0.5, importance.numel()).view_as(importance))
            outputs.append(model(INPUTS))
        assert ranks(model) == {"w": 3, "u": 7}
    assert torch.allclose(*outputs)


@pytest.mark.parametrize("wanted", [[4], [4, 10, 2], [5, 8], [4, -1]])
def test_ranks_to_keep_that_the_network_cannot_have(wanted: list[int]) -> None:
    with pytest.raises(UserError, match=r"keep has .*one number for each of w \(0 to 4\), u \(0 to 10\)"):
        attach(network(), keep=[[4, 8], wanted])


def test_starts_as_the_network_without_it() -> None:
    dense, model = network(), network()
    attach(model, s_init=-20.0)
    with torch.no_grad():
        assert torch.allclose(model(INPUTS), dense(INPUTS), atol=1e-5)
    assert ranks(model) == {"w": 4, "u": 10}


def test_gradients_reach_every_parameter_and_kept_rank() -> None:
    model = network()
    attach(model, s_init=-5.0)
    nn.functional.cross_entropy(model(INPUTS), LABELS).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("rank_decay", [{}, {"u": 0.25}])
def test_everything_decays_alike_but_for_the_products_that_are_named(rank_decay: dict[str, float]) -> None:
    model = network()
    method = attach(model, rank_decay=rank_decay)
    groups = method.param_groups(model, weight_decay=0.125)
    decays = {id(parameter): group["weight_decay"] for group in groups for parameter in group["params"]}
    of_u = {id(value) for value in importances(model, "u")}
    assert decays == {id(p): rank_decay.get("u", 0.125) if id(p) in of_u else 0.125 for p in model.parameters()}
    assert method.decay_of_s(0.125) == rank_decay.get("u", 0.125)
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))


def test_the_rest_may_be_left_without_decay() -> None:
    """Lambda of Table 12, "on m_W and m_U" alone."""
    model = network()
    method = attach(model, decay_rest=False)
    groups = method.param_groups(model, weight_decay=0.125)
    decaying = {id(parameter) for group in groups if group["weight_decay"] for parameter in group["params"]}
    assert decaying == {id(value) for name in ("w", "u") for value in importances(model, name)}
    assert {group["weight_decay"] for group in groups} == {0.0, 0.125} and method.decay_of_s(0.125) == 0.125


def test_training_lowers_the_ranks_and_finalize_leaves_them_out() -> None:
    model = eager()
    method = attach(model, s_init=-3.0)
    train(model, method, 45)
    left = ranks(model)
    assert 0 < left["u"] < 10
    plain = method.finalize(model)
    assert isinstance(plain, FastGRNN) and ranks(plain) == left
    for name, (down, up) in low_rank_products(plain).items():
        assert (down.out_features, up.in_features) == (left[name], left[name])
        assert down.weight.shape == (left[name], down.in_features) and up.weight.shape == (10, left[name])
    with torch.no_grad():
        assert torch.allclose(plain(INPUTS), model(INPUTS), atol=1e-6)
    smaller = models.fastgrnn(in_channels=4, hidden=10, rank_w=left["w"], rank_u=left["u"])
    smaller.load_state_dict(plain.state_dict())  # nothing but a plain low-rank FastGRNN
    report = account(plain, SIZE)
    assert report.backbone().params == left["w"] * 14 + left["u"] * 20
    assert ranks(model) == left  # the original is as it was, and can go on
    train(model, method, 1)


def test_survives_ranks_that_are_all_gone() -> None:
    model = network()
    method = attach(model)
    with torch.no_grad():
        importances(model, "u")[1].fill_(5.0)
    train(model, method, 5)
    plain = method.finalize(model)
    assert ranks(plain)["u"] == 0
    with torch.no_grad():
        assert torch.isfinite(plain(INPUTS)).all() and torch.allclose(plain(INPUTS), model(INPUTS), atol=1e-6)
    assert account(plain, SIZE).backbone().params == 4 * 14


def test_resumed_training_ends_the_same() -> None:
    model = eager()
    method = attach(model, s_init=-3.0)
    optimizer = train(model, method, 40)
    saved = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    train(model, method, 5, first=40, optimizer=optimizer)
    again = network(seed=1)
    other = attach(again, s_init=-3.0)
    resumed = sgd(again, other)
    again.load_state_dict(saved[0])
    resumed.load_state_dict(saved[1])
    train(again, other, 5, first=40, optimizer=resumed)
    assert ranks(model)["u"] < 10
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name


def test_milestones_are_the_ranks_to_keep() -> None:
    model = network()
    method = attach(model, s_init=-0.5, keep=[[3, 6], [2, 6]])
    assert method.milestone(model) is None
    with torch.no_grad():
        importances(model, "w")[0][0] = 0.1
        importances(model, "u")[0][:4] = 0.1
    assert method.milestone(model) == "3/6"


def test_a_network_without_low_rank_products_is_refused() -> None:
    with pytest.raises(UserError, match="needs a network with low-rank products"):
        attach(models.fastgrnn())
    with pytest.raises(UserError, match="unknown low-rank product in rank_decay 'v'"):
        attach(network(), rank_decay={"v": 0.1})
    with pytest.raises(UserError, match="needs a network with low-rank products"):
        attach(models.resnet18(width=4))
