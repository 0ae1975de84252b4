"""Parameters and MACs against layers counted by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from paper_repro import methods
from paper_repro.accounting import account
from paper_repro.errors import UserError


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
