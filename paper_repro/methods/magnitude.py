"""Pruning by magnitude: what GMP, DNW, DPF, ST-3 and Feather share.

The *schedule* says what share of the target is reached when, the *distribution* below which magnitude weights go in
each layer, and the *parametrization* what becomes of them and of those that stay. A method chooses the three.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from paper_repro.accounting import CountedLayer, counted_layers
from paper_repro.errors import UserError, unknown
from paper_repro.methods.base import Method, attached_layers
from paper_repro.methods.distributions import BUDGETS, RANKINGS, Budget, distribute, kept_dense
from paper_repro.methods.schedules import Schedule


class Pruned(nn.Module):
    """A parametrization that prunes by a threshold on |W|."""

    def prune(self, weight: Tensor, threshold: Tensor) -> None:
        """From now on, weights of magnitude at most ``threshold`` (shape ()) are zero."""
        raise NotImplementedError


class SparsityTarget(Method):
    """A method that is told its sparsity: one number and how it is spread, or a budget (layer name -> percent).

    ``keep_dense`` names kinds of layers ("first", "last", "depthwise") that stay dense. With "uniform" the others
    have the sparsity asked for; with any other distribution the network as a whole has it.
    """

    distributions: tuple[str, ...] = (*BUDGETS, *RANKINGS)

    def __init__(
        self,
        sparsity_pct: float | None = None,
        budget: Mapping[str, float] | None = None,
        distribution: str = "uniform",
        keep_dense: Iterable[str] = (),
    ) -> None:
        name = type(self).__name__
        if (sparsity_pct is None) == (budget is None):
            raise UserError(f"{name} takes either sparsity_pct or budget")
        if distribution not in self.distributions:
            raise unknown(f"distribution of {name}", distribution, self.distributions)
        if budget is not None and distribution in RANKINGS:
            raise UserError(f"{name} with distribution {distribution!r} ranks all layers together and takes no budget")
        self.sparsity_pct, self.budget = sparsity_pct, budget
        self.distribution, self.keep_dense = distribution, tuple(keep_dense)

    def attach(self, model: nn.Module) -> nn.Module:
        layers = counted_layers(model)
        self.target = distribute(layers, self.sparsity_pct, self.budget, self.distribution, self.keep_dense)
        self.dense = kept_dense(layers, self.keep_dense)
        if isinstance(self.target, Budget):
            self.dense |= {name for name, sparsity_pct in self.target.items() if sparsity_pct == 0.0}
        return super().attach(model)

    def parametrization(self, name: str, layer: CountedLayer) -> nn.Module | None:
        return None if name in self.dense else self.sparse(layer.weight)

    def sparse(self, weight: Tensor) -> nn.Module:
        """The parametrization of one layer that gets pruned."""
        raise NotImplementedError


class MagnitudePruning(SparsityTarget):
    """The smallest weights go, along ``schedule``. Nothing is ranked between its stages."""

    schedule: Schedule

    def sparse(self, weight: Tensor) -> Pruned:
        raise NotImplementedError

    @torch.no_grad()
    def before_step(self, model: nn.Module, step: int, total_steps: int) -> None:
        fraction = self.schedule.starting(step, total_steps)
        if fraction is None:
            return
        layers = attached_layers(model)
        thresholds = self.target.thresholds({name: raw for name, (_, raw) in layers.items()}, fraction)
        for name, (pruned, raw) in layers.items():
            pruned.prune(raw, thresholds[name])
