"""The paper's numbers, computed again: from the full-size network built as a real module, and the published budgets.

Nothing here takes a dense count from a table. Every result is an ``Estimate``: the value, and how far it may be off
because the budget was itself printed rounded. The rounding errors of a budget's cells are taken as independent and
uniform, and their weighted sum at two standard deviations (95 %), not at the worst case in which all 54 err the same
way: for ResNet50 and two decimals that is 0.035 M MACs and 0.0013 points of sparsity. A sum printed as 766M and
recomputed as 766.536 M is then a truncation, not the rounding of the budget (by a narrow margin: 2.1 standard
deviations); the worst case, 0.2 M, would hide it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from torch import nn
from torch.nn.modules.module import register_module_forward_hook

from paper_repro import models
from paper_repro.accounting import Account, account, counted_layers
from paper_repro.data.catalog import dataset
from paper_repro.methods.distributions import erk, uniform
from paper_repro.paper.library import TOTALS
from paper_repro.paper.quantity import Quantity

MILLION = 1e6


@dataclass(frozen=True)
class Estimate:
    """A recomputed number; ``spread`` is what the rounding of its inputs leaves open to either side."""

    value: float
    spread: float = 0.0
    note: str = ""

    def __sub__(self, other: Estimate) -> Estimate:
        return Estimate(self.value - other.value, math.hypot(self.spread, other.spread))


@dataclass(frozen=True)
class Network:
    """The full-size network of a table, built for real; ``average_pool`` counts the additions of the last pool."""

    layers: Mapping[str, nn.Module]
    account: Account
    batch_norm_params: int
    average_pool: int


@lru_cache
def network(model_name: str, data_set: str) -> Network:
    """A full-size network, measured on images as they are in ``data_set``: 224 px for ImageNet-1K."""
    facts = dataset(data_set)
    model = models.get(model_name, **facts.fitting)
    pooled: list[int] = []

    def count(module: nn.Module, inputs: Any, _output: Any) -> None:
        if isinstance(module, nn.AdaptiveAvgPool2d):
            pooled.append(inputs[0][0].numel())

    with register_module_forward_hook(count):
        measured = account(model, facts.input_size)
    weights = sum(parameter.numel() for parameter in model.parameters())
    return Network(counted_layers(model), measured, weights - measured.params, sum(pooled))


def spread(half_widths: Iterable[float]) -> float:
    """Two standard deviations of a sum of independent errors, uniform within +-half_width; at most their sum."""
    half_widths = list(half_widths)
    return min(sum(half_widths), 2.0 * math.sqrt(sum(h * h for h in half_widths) / 3.0))


def under_budget(net: Network, cells: Mapping[str, Quantity]) -> dict[str, Estimate]:
    """sparsity_pct, backbone_sparsity_pct, params_m and macs_m of the network under a printed budget."""
    sparse = net.account.with_budget({layer: cell.value for layer, cell in cells.items() if layer not in TOTALS})
    layers = sparse.layers
    half = [cells[layer.name].half_unit / 100.0 for layer in layers]
    weights = [layer.params * h for layer, h in zip(layers, half, strict=True)]
    macs = [layer.macs * h for layer, h in zip(layers, half, strict=True)]
    backbone = sparse.backbone()
    return {
        "sparsity_pct": Estimate(sparse.sparsity_pct, 100.0 * spread(weights) / sparse.params),
        "backbone_sparsity_pct": Estimate(backbone.sparsity_pct, 100.0 * spread(weights[:-1]) / backbone.params),
        "params_m": Estimate(sparse.nonzero_params / MILLION, spread(weights) / MILLION),
        "macs_m": Estimate(sparse.sparse_macs / MILLION, spread(macs) / MILLION),
    }


def params_at(net: Network, sparsity: Quantity) -> Estimate:
    """Parameters (M) left by an overall sparsity, however it is spread over the layers."""
    total = net.account.params / MILLION
    return Estimate(total * (1.0 - sparsity.value / 100.0), total * sparsity.half_unit / 100.0)


def under_uniform(
    net: Network, pruned: Quantity, keep_dense: Iterable[str] = (), counts_batch_norm: bool = False
) -> dict[str, Estimate]:
    """The same numbers with sparsity ``pruned`` in every layer but the kinds in ``keep_dense``.

    ``counts_batch_norm``: its parameters are part of the network, and stay.
    """
    budget = uniform(net.layers, pruned.value, keep_dense)
    sparse = net.account.with_budget(budget)
    norm = net.batch_norm_params if counts_batch_norm else 0
    share = pruned.half_unit / 100.0
    pruned_params = sum(layer.params for layer in sparse.layers if budget[layer.name])
    pruned_macs = sum(layer.macs for layer in sparse.layers if budget[layer.name])
    total, left = sparse.params + norm, sparse.nonzero_params + norm
    return {
        "sparsity_pct": Estimate(100.0 * (1.0 - left / total), 100.0 * share * pruned_params / total),
        "params_m": Estimate(left / MILLION, share * pruned_params / MILLION),
        "macs_m": Estimate(sparse.sparse_macs / MILLION, share * pruned_macs / MILLION),
    }


def under_erk(net: Network, sparsity: Quantity) -> dict[str, Estimate]:
    """Parameters and MACs under the exact ERK budget of an overall sparsity."""

    def macs(at: float) -> float:
        return net.account.with_budget(erk(net.layers, at)).sparse_macs / MILLION

    low, high = sparsity.value - sparsity.half_unit, sparsity.value + sparsity.half_unit
    return {
        "params_m": params_at(net, sparsity),
        "macs_m": Estimate(macs(sparsity.value), abs(macs(low) - macs(high)) / 2.0),
    }
