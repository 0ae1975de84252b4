"""N:M patterns: which weights stay, in which layers, what that costs, and how methods train them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from paper_repro import budgets, methods
from paper_repro.accounting import account, counted_layers, fullest_groups
from paper_repro.errors import UserError
from paper_repro.methods.balance import balances
from paper_repro.methods.base import attached, attached_layers
from paper_repro.methods.distributions import n_of_m
from paper_repro.methods.n_of_m import pattern
from tests.methods.test_family import Training


def network() -> nn.Module:
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 8, 1), nn.Flatten(), nn.Linear(32, 4))
    return nn.Sequential(*layers)


def test_the_largest_of_every_group_along_the_inputs_stay() -> None:
    weight = torch.tensor([[0.1, -4.0, 3.0, 0.2, 5.0, 0.3, 0.0, -1.0]])
    assert pattern("2:4").mask(weight).tolist() == [[0, 1, 1, 0, 1, 0, 0, 1]]
    assert pattern("1:8").mask(weight).tolist() == [[0, 0, 0, 0, 1, 0, 0, 0]]
    taps = torch.zeros(1, 4, 1, 2)  # four input channels, two places of the kernel
    taps[0, :, 0, 0], taps[0, :, 0, 1] = torch.tensor([4.0, 3.0, 2.0, 1.0]), torch.tensor([10.0, 20.0, 30.0, 40.0])
    assert pattern("2:4").mask(taps)[0, :, 0].T.tolist() == [[1, 1, 0, 0], [0, 0, 1, 1]]
    equal = pattern("2:4").mask(torch.zeros(3, 8))
    assert equal.unflatten(-1, (-1, 4)).sum(-1).tolist() == [[2, 2]] * 3


@pytest.mark.parametrize("text", ["4:2", "2:2", "0:4", "2:x", ":4"])
def test_what_is_no_pattern_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="is no N:M pattern; write it like 2:4"):
        methods.get("sr-ste", distribution=text)


def test_a_layer_whose_inputs_do_not_divide_stays_dense() -> None:
    budget = n_of_m(counted_layers(network()), pattern("2:4"))
    assert dict(budget) == {"0": 0.0, "1": 0.0, "2": 50.0, "4": 50.0}
    assert dict(n_of_m(counted_layers(network()), pattern("1:4"), ["last"]))["4"] == 0.0
    assert dict(budgets.load("1:8", network())) == {"0": 0.0, "1": 0.0, "2": 87.5, "4": 87.5}
    with pytest.raises(UserError, match="no layer can be 3:5"):
        methods.get("gmp", distribution="3:5").attach(network())


@pytest.mark.parametrize("name", ["gmp-nm", "sr-ste", "str-nm"])
def test_a_transposed_convolution_has_no_pattern(name: str) -> None:
    """Its weight has the outputs where others have the inputs: groups along that dimension would be of outputs."""
    model = nn.Sequential(nn.Conv2d(4, 8, 3), nn.ConvTranspose2d(8, 4, 3))
    method = methods.get(name, distribution="2:4")
    method.attach(model)
    for step in range(100 if name == "gmp-nm" else 0):  # the others have the pattern at once
        method.before_step(model, step, 100)
    assert bool((model[1].weight != 0.0).all()) and fullest_groups(model, 4) == {"0": 2}


@pytest.mark.parametrize("name", ["gmp-nm", "sr-ste"])
def test_the_account_of_a_pattern_is_its_budget(name: str) -> None:
    method = methods.get(name, distribution="1:4")
    model = method.attach(network())
    for step in range(100):
        method.before_step(model, step, 100)
    measured = account(method.finalize(model), (3, 6, 6))
    wanted = account(network(), (3, 6, 6)).with_budget(n_of_m(counted_layers(network()), pattern("1:4")))
    assert [layer.sparse_macs for layer in measured.layers] == [layer.sparse_macs for layer in wanted.layers]
    assert measured.layers[2].sparse_macs == measured.layers[2].macs / 4
    assert fullest_groups(method.finalize(model), 4) == {"2": 1, "4": 1}


def test_gmp_takes_one_weight_of_each_group_after_the_other() -> None:
    method = methods.get("gmp", distribution="1:4", start=0.0, end=0.9, updates=90)
    model = method.attach(nn.Sequential(nn.Linear(8, 2)))
    left = []
    for step in range(100):
        method.before_step(model, step, 100)
        left.append(int(model[0].weight.ne(0).sum()) // 4)
    assert list(dict.fromkeys(left)) == [4, 3, 2, 1]
    assert left.index(1) == next(step for step in range(91) if 1.0 - (1.0 - step / 90) ** 3 > 5.0 / 6.0)
    with pytest.raises(UserError, match="says how sparse each layer is"):
        methods.get("gmp", distribution="2:4", sparsity_pct=50.0)
    with pytest.raises(UserError, match="distribution of DNW"):
        methods.get("dnw", distribution="2:4")


def test_sr_ste_by_hand() -> None:
    model = nn.Sequential(nn.Linear(4, 1, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, -2.0, 3.0, 0.5]]))
    method = methods.get("sr-ste", decay=0.1)
    method.attach(model)
    assert model[0].weight.tolist() == [[0.0, -2.0, 3.0, 0.0]]
    model[0].weight.backward(torch.tensor([[1.0, 2.0, 3.0, 4.0]]))
    method.after_backward(model, 0, 10)
    _, raw = attached(model[0])
    assert raw.grad.flatten().tolist() == pytest.approx([1.1, 2.0, 3.0, 4.05])  # unused weights decay on top of it


@pytest.mark.parametrize("name", ["sr-ste", "str-nm"])
def test_the_pattern_holds_at_every_step(name: str) -> None:
    training = Training(name, distribution="2:4", **({"s_init": -3.0} if name == "str-nm" else {}))
    for _ in range(6):
        training.step()
        groups = fullest_groups(training.model, 4)
        assert set(groups) == {layer for layer in counted_layers(training.model) if layer != "conv1"}
        assert max(groups.values()) <= 2


def test_str_under_a_pattern_by_hand() -> None:
    model = nn.Sequential(nn.Linear(4, 1, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, -2.0, 3.0, 0.5]]))
    method = methods.get("str-nm", s_init=0.0)  # the threshold is 1/2, and g' is 1/4
    method.attach(model)
    assert model[0].weight.tolist() == [[0.0, -1.5, 2.5, 0.0]]
    model[0].weight.backward(torch.tensor([[1.0, 2.0, 3.0, 4.0]]))
    soft, raw = attached(model[0])
    assert raw.grad.tolist() == [[0.0, 2.0, 3.0, 0.0]] and soft.s.grad.item() == pytest.approx(-0.25 * (3.0 - 2.0))
    with torch.no_grad():
        soft.s.fill_(-1.0)  # the pattern takes what the threshold would leave
    (balance,) = method.balances(model).values()
    slope = float(torch.sigmoid(torch.tensor(-1.0)) * torch.sigmoid(torch.tensor(1.0)))
    assert (balance.l1, balance.ratio) == (5.0, pytest.approx(slope * 5.0))
    assert balances([(soft, raw)])[0].l1 == 6.5  # without the pattern


def test_str_under_a_pattern_can_be_led_to_a_sparsity() -> None:
    plain = Training("str-nm", distribution="2:4", s_init=-10.0, target_sparsity_pct=90.0).finish()
    assert account(plain, (1, 14, 14)).sparsity_pct == pytest.approx(90.0, abs=0.1)
    assert max(fullest_groups(plain, 4).values()) <= 2


def test_less_than_the_pattern_takes_cannot_be_asked_of_str() -> None:
    """Half of the weights of layers 2 and 4."""
    taken = 100.0 * (32 + 64) / (216 + 72 + 64 + 128)
    with pytest.raises(UserError, match=rf"the pattern 2:4 alone takes {taken:.2f} %"):
        methods.get("str-nm", target_sparsity_pct=taken - 1.0).attach(network())
    methods.get("str-nm", target_sparsity_pct=taken + 1.0).attach(network())


def test_a_threshold_under_a_pattern_balances_the_weights_in_use() -> None:
    """Where kept weights rest (dL/dW = -decay W), loss and decay pull s equally hard at a ratio of 1."""
    training = Training("str-nm", distribution="2:4", s_init=-3.0)
    decay = 1e-3
    for layer, (soft, raw) in attached_layers(training.model).items():
        used = counted_layers(training.model)[layer].weight
        raw.grad = soft.s.grad = None
        used.backward(torch.where(used != 0.0, -decay * raw.detach(), 7.0))  # unused weights may have any gradient
        ratio = training.method.balances(training.model)[layer].ratio
        assert soft.s.grad.item() / (decay * abs(soft.s.item())) == pytest.approx(ratio, rel=1e-4), layer
