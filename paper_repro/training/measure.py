"""Size and cost of a finalized network, in the words of a run's ``result.json``."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from torch import nn

from paper_repro.accounting import account
from paper_repro.methods.balance import Balance


def measure(
    plain: nn.Module,
    input_size: tuple[int, ...],
    thresholds: Mapping[str, float],
    balances: Mapping[str, Balance] = MappingProxyType({}),
) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """(the network as a whole, its layers); ``thresholds``: layer -> g(s), for those that have one, and ``balances``
    what holds a threshold that is learned.
    """
    report = account(plain, input_size)
    whole = {
        "sparsity_pct": report.sparsity_pct,
        "backbone_sparsity_pct": report.backbone().sparsity_pct,
        "params_m": report.params / 1e6,
        "nonzero_params_m": report.nonzero_params / 1e6,
        "macs_m": report.macs / 1e6,
        "sparse_macs_m": report.sparse_macs / 1e6,
    }
    layers = [
        {
            "layer": layer.name,
            "params": layer.params,
            "macs": layer.macs,
            "sparsity_pct": layer.sparsity_pct,
            "threshold": thresholds.get(layer.name),
            **_balance(balances.get(layer.name)),
        }
        for layer in report.layers
    ]
    return whole, layers


def _balance(balance: Balance | None) -> dict[str, float]:
    return {} if balance is None else {"kept_l1": balance.l1, "balance": balance.ratio}
