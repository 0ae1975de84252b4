"""The overall sparsity that a recipe asks for, where it asks for one: counted on the network that it trains.

A budget gives a narrow network another overall sparsity than the full one, and so do layers that are kept dense: what
a run is held to is computed from the account of its own network, not typed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from paper_repro.data.catalog import dataset as facts_of
from paper_repro.spec import Spec

ASKED = {"sparsity_pct", "budget", "target_sparsity_pct"}  # arguments that say how sparse a network becomes


def asks(arguments: Mapping[str, Any]) -> bool:
    """Whether the arguments of a method say how sparse its network becomes; an N:M pattern does."""
    return bool(ASKED & arguments.keys()) or ":" in arguments.get("distribution", "")


def overall_sparsity_pct(spec: Spec) -> float | None:
    """In percent, to two decimals; None where ``method_args`` name neither a sparsity nor a budget nor an N:M pattern.

    A sparsity alone is the overall one, however a method spreads it over the layers. With ``keep_dense`` it is that
    of the layers that are pruned, but for ERK and one ranking of all layers, which meet the overall sparsity without
    them. UserError for a budget that does not fit the network.
    """
    arguments = spec.method_args
    for name in ("sparsity_pct", "target_sparsity_pct"):
        if name in arguments and not arguments.get("keep_dense"):
            return float(arguments[name])
    if not asks(arguments) or "target_sparsity_pct" in arguments:
        return None
    if "sparsity_pct" in arguments and _distribution(spec.method, arguments) != "uniform":
        return float(arguments["sparsity_pct"])
    what = ("budget", "sparsity_pct", "distribution", "keep_dense")
    asked = {name: arguments[name] for name in what if name in arguments}
    return _counted(spec.model, json.dumps(spec.model_args), spec.dataset, json.dumps(asked))


def _distribution(method: str, method_args: Mapping[str, Any]) -> Any:
    """How a method spreads its sparsity: as its arguments say, or else as is its way."""
    from paper_repro.methods import METHODS

    entry = METHODS.get(method)
    asked = {**(entry.preset if entry else {}), **method_args}.get("distribution")
    return asked or (getattr(entry.load(), "distributions", ("uniform",))[0] if entry else "uniform")


@lru_cache(maxsize=256)
def _counted(model: str, model_args: str, dataset: str, sparsity_arguments: str) -> float:
    from paper_repro import models  # only here: reading a table needs no torch
    from paper_repro.accounting import Account, LayerAccount, counted_layers
    from paper_repro.methods.distributions import Budget, distribute

    data, asked = facts_of(dataset), json.loads(sparsity_arguments)
    network = models.outline(model, **{**data.fitting, **json.loads(model_args)})
    layers = counted_layers(network)
    sizes = {name: layer.weight.numel() for name, layer in layers.items()}
    budget = distribute(
        layers, asked.get("sparsity_pct"), asked.get("budget"), asked.get("distribution", "uniform"),
        asked.get("keep_dense", ()),
    )  # fmt: skip
    assert isinstance(budget, Budget)
    dense = Account(tuple(LayerAccount(name, size, size, 0) for name, size in sizes.items()))
    return round(dense.with_budget(budget).sparsity_pct, 2)
