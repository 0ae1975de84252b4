"""Pruning by magnitude: what GMP, DNW, DPF, ST-3 and Feather share.

The *schedule* says what share of the target is reached when, the *distribution* below which magnitude weights go in
each layer, and the *parametrization* what becomes of them and of those that stay. A method chooses the three.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from paper_repro.accounting import CountedLayer, counted_layers
from paper_repro.errors import UserError, require_known
from paper_repro.methods.base import Method, attached_layers, percent
from paper_repro.methods.distributions import RANKINGS, Budget, distribute, kept_dense
from paper_repro.methods.n_of_m import is_pattern
from paper_repro.methods.schedules import Schedule

N_OF_M = "N:M"  # among the distributions of a method: any pattern, such as "2:4"


class Pruned(nn.Module, ABC):
    """A parametrization that prunes by a threshold on |W|."""

    @abstractmethod
    def prune(self, weight: Tensor, threshold: Tensor) -> None:
        """From now on, weights of magnitude at most ``threshold`` (shape (), or the weight's own) are zero."""


class ScheduledPruning(Method, ABC):
    """A method that is told its sparsity, and reaches it or keeps it along a schedule.

    ``sparsity_pct`` is spread over the layers as ``distribution`` says (by default the first of ``distributions``), or
    ``budget`` gives each layer its own (layer name -> percent). ``keep_dense`` names kinds of layers ("first", "last",
    "depthwise") that stay dense. With "uniform" the others have the sparsity asked for; with any other distribution
    the network as a whole has it. A pattern such as "2:4" needs neither: it is the sparsity of the layers that it
    fits. ``start``, ``end`` and ``updates`` replace those of the method's ``schedule``.
    """

    distributions: tuple[str, ...]
    distributes_once = False  # whether a budget that follows the weights is that of the initial ones
    schedule: Schedule

    def __init__(
        self,
        sparsity_pct: float | None = None,
        budget: Mapping[str, float] | None = None,
        distribution: str | None = None,
        keep_dense: Iterable[str] = (),
        start: float | None = None,
        end: float | None = None,
        updates: int | None = None,
    ) -> None:
        name, keep_dense = type(self).__name__, tuple(keep_dense)
        distribution = distribution or self.distributions[0]
        require_known(
            f"distribution of {name}", N_OF_M if is_pattern(distribution) else distribution, self.distributions
        )
        if is_pattern(distribution) and (sparsity_pct is not None or budget is not None):
            raise UserError(f"{name}: the pattern {distribution} says how sparse each layer is; leave the rest out")
        if budget is not None and distribution in RANKINGS:
            raise UserError(f"{name} with distribution {distribution!r} ranks all layers together and takes no budget")
        if budget is not None and keep_dense:
            raise UserError(f"{name} takes either budget or keep_dense: a budget keeps a layer dense by 0 %")
        if (sparsity_pct is None) == (budget is None) and not is_pattern(distribution):
            raise UserError(f"{name} takes either sparsity_pct or budget")
        self.sparsity_pct = None if sparsity_pct is None else percent(sparsity_pct)
        self.budget = budget
        self.distribution, self.keep_dense = distribution, keep_dense
        chosen: dict[str, Any] = {"start": start, "end": end, "updates": updates}
        self.schedule = replace(self.schedule, **{key: value for key, value in chosen.items() if value is not None})

    def attach(self, model: nn.Module) -> nn.Module:
        layers = counted_layers(model)
        self.target = distribute(
            layers, self.sparsity_pct, self.budget, self.distribution, self.keep_dense, once=self.distributes_once
        )
        self.dense = kept_dense(layers, self.keep_dense)
        if isinstance(self.target, Budget):
            self.dense |= {name for name, sparsity_pct in self.target.items() if sparsity_pct == 0.0}
        return super().attach(model)

    def parametrization(self, name: str, layer: CountedLayer) -> nn.Module | None:
        return None if name in self.dense else self.sparse(layer.weight)

    @abstractmethod
    def sparse(self, weight: Tensor) -> Pruned:
        """The parametrization of one layer that gets pruned."""


class MagnitudePruning(ScheduledPruning):
    """The smallest weights go, along ``schedule``. Nothing is ranked between its stages."""

    @torch.no_grad()
    def before_step(self, model: nn.Module, step: int, total_steps: int) -> None:
        fraction = self.schedule.starting(step, total_steps)
        if fraction is None:
            return
        layers = attached_layers(model)
        thresholds = self.target.thresholds({name: raw for name, (_, raw) in layers.items()}, fraction)
        for name, (pruned, raw) in layers.items():
            pruned.prune(raw, thresholds[name])
