"""Parameters and MACs against layers counted by hand."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

from paper_repro import methods, models
from paper_repro.accounting import account, nonzero_sparsity_pct
from paper_repro.errors import Advice, UserError


def by_hand() -> nn.Sequential:
    """On (3, 8, 8): 3x3 convolution 3 -> 4 channels, stride 2: 4x4 out; depthwise 3x3: 4x4 out; linear 64 -> 5."""
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2, padding=1),
        nn.BatchNorm2d(4),
        nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False),
        nn.Flatten(),
        nn.Linear(64, 5),
    )


def test_layers_counted_by_hand() -> None:
    report = account(by_hand(), (3, 8, 8))
    assert [(layer.name, layer.params, layer.macs) for layer in report.layers] == [
        ("0", 4 * 3 * 9, 16 * 4 * 3 * 9),
        ("2", 4 * 9, 16 * 4 * 9),
        ("4", 64 * 5, 64 * 5),
    ]
    assert report.params == 464 and report.macs == 1728 + 576 + 320
    assert report.sparsity_pct == 0.0 and report.sparse_macs == report.macs


def test_zeros_are_counted_in_the_weights() -> None:
    model = by_hand()
    with torch.no_grad():
        model[0].weight[0] = 0.0  # a quarter of layer 0
        model[4].weight.zero_()
    report = account(model, (3, 8, 8))
    assert [layer.sparsity_pct for layer in report.layers] == [25.0, 0.0, 100.0]
    assert report.nonzero_params == 81 + 36
    assert report.sparse_macs == 0.75 * 1728 + 576
    assert report.sparsity_pct == pytest.approx(100 * (1 - 117 / 464))
    assert report.backbone().params == 144


def test_a_budget_replaces_the_measured_sparsity() -> None:
    report = account(by_hand(), (3, 8, 8)).with_budget({"0": 50.0, "2": 0.0, "4": 75.0})
    assert report.nonzero_params == 54 + 36 + 80
    assert report.sparse_macs == 864 + 576 + 80


def test_measuring_leaves_the_module_as_it_was() -> None:
    model = by_hand().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    account(model, (3, 8, 8))
    assert model.training and not any(module._forward_hooks for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    "budget, message",
    [
        ({"0": 50.0, "2": 0.0}, r"missing \['4'\]"),
        ({"0": 50.0, "2": 0.0, "4": 0.0, "5": 0.0}, r"unknown \['5'\]"),
        ({"0": 50.0, "2": 0.0, "4": 101.0}, "outside 0 to 100"),
    ],
)
def test_budgets_that_do_not_fit(budget: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        account(by_hand(), (3, 8, 8)).with_budget(budget)


def test_only_plain_modules_are_measured() -> None:
    model = methods.get("str").attach(by_hand())
    with pytest.raises(UserError, match="finalize"):
        account(model, (3, 8, 8))
    with pytest.raises(UserError, match="no convolution"):
        account(nn.ReLU(), (3, 8, 8))


class Attention(nn.Module):
    """What holds weights in other ways: attention, a place code, a layer never used."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 1)
        self.attention = nn.MultiheadAttention(8, 2)
        self.place = nn.Parameter(torch.zeros(1, 5, 8))
        self.unused = nn.Linear(8, 8)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        tokens = self.stem(images).flatten(2).permute(2, 0, 1)
        mixed, _ = self.attention(tokens, tokens, tokens)
        return mixed.permute(1, 2, 0).unflatten(2, images.shape[2:])


def test_a_transposed_convolution_costs_each_input_its_weights() -> None:
    """Three by three pixels of four channels, each of which feeds 2 x 2 pixels of three filters: 36 x 12 products. In
    two groups, each feeds half of the six filters.
    """
    for layer, products in (
        (nn.ConvTranspose2d(4, 3, 2, stride=2), 3 * 3 * 4 * 3 * 2 * 2),
        (nn.ConvTranspose2d(4, 6, 2, stride=2, groups=2), 3 * 3 * 4 * 3 * 2 * 2),
    ):
        report = account(nn.Sequential(layer), (4, 3, 3))
        assert (report.params, report.macs) == (4 * 3 * 2 * 2, products)
    assert account(nn.Sequential(nn.ConvTranspose1d(4, 3, 5)), (4, 10)).macs == 10 * 4 * 3 * 5


@pytest.mark.parametrize("name", ["str", "gmp", "gmp-erk", "st3", "rigl", "str-filter"])
def test_a_transposed_convolution_is_pruned_as_any_layer(name: str) -> None:
    arguments = {"target_sparsity_pct": 75.0} if name.startswith("str") else {"sparsity_pct": 75.0}
    method, model = methods.get(name, **arguments), nn.Sequential(nn.Conv2d(3, 8, 3), nn.ConvTranspose2d(8, 4, 4))
    method.attach(model)
    for step in range(20):
        method.before_step(model, step, 20)
    plain = method.finalize(model)
    assert account(plain, (3, 8, 8)).sparsity_pct == pytest.approx(75.0, abs=0.5)
    assert int((plain[1].weight == 0).sum()) > 0


def test_what_is_not_counted_and_what_never_ran_is_named() -> None:
    with pytest.warns(Advice) as said:
        report = account(Attention(), (3, 4, 4))
    assert report.not_counted == {"attention.in_proj_weight": 192, "place": 40}
    assert report.never_ran == ("attention.out_proj", "unused")
    text = " ".join(str(item.message) for item in said)
    assert all(name in text for name in (*report.not_counted, *report.never_ran))
    assert report.backbone().not_counted == report.not_counted


@pytest.mark.parametrize("name", ["resnet50", "resnet18", "mobilenet_v1"])
def test_of_the_networks_of_the_paper_nothing_is_left_out(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", Advice)
        account(models.get(name, width=8, num_classes=10), (3, 32, 32))


def test_of_fastgrnn_nothing_is_left_out() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", Advice)
        account(models.get("fastgrnn", num_classes=2, in_channels=9, rank_w=3, rank_u=4, hidden=8), (128, 9))


def test_measuring_leaves_each_module_in_its_mode() -> None:
    """Such as a batch norm whose statistics are to stand still while the others train."""
    model = by_hand().train()
    model[1].eval()
    account(model, (3, 8, 8))
    assert [module.training for module in model] == [True, False, True, True, True] and model.training


def test_a_weight_that_layers_share_counts_once_and_its_work_each_time() -> None:
    model = nn.Sequential(nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False))
    model[1].weight = model[0].weight
    with torch.no_grad():
        model[0].weight[0] = 0.0
    report = account(model, (8,))
    assert (report.params, report.nonzero_params, report.macs, report.sparse_macs) == (64, 56, 128, 112)
    assert [layer.tied_to for layer in report.layers] == ["", "0"]
    assert nonzero_sparsity_pct(model) == report.sparsity_pct == 12.5
    method = methods.get("gmp", sparsity_pct=50.0)
    assert nonzero_sparsity_pct(method.attach(model)) == 12.5


def test_layers_that_share_a_weight_and_prune_it_each_in_its_way_count_each() -> None:
    """In training as when finalized: their weights are two then."""
    model = nn.Sequential(nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False))
    model[2].weight = model[1].weight = model[0].weight
    method = methods.get("gmp", budget={"0": 75.0, "1": 25.0, "2": 75.0})
    method.attach(model)
    for step in range(10):
        method.before_step(model, step, 10)
    assert nonzero_sparsity_pct(model) == account(method.finalize(model), (8,)).sparsity_pct == 50.0


def test_a_network_without_layers_that_count_has_no_sparsity() -> None:
    assert nonzero_sparsity_pct(nn.Sequential(nn.BatchNorm1d(3))) == 0.0
