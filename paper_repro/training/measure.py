"""Size and cost of a finalized network, in the words of a run's ``result.json``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from paper_repro.accounting import account


def measure(
    plain: nn.Module, input_size: tuple[int, ...], thresholds: Mapping[str, float]
) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """(the network as a whole, its layers); ``thresholds``: layer -> g(s), for those that have one."""
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
        }
        for layer in report.layers
    ]
    return whole, layers
