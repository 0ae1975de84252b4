"""Feather (Glentis Georgoulakis, Retsinas and Maragos, BMVC 2023).

As ST-3, with another threshold: sign(W) * (|W|^p - T^p)^(1/p), p = 3, which lies between the soft (p = 1) and the hard
one (p to infinity) and leaves large weights nearly as they are, so that no scale is needed. The gradient of pruned
weights is multiplied by ``pruned_gradient``: 1 up to 95 % sparsity and 0.5 above, as in the authors' code.

T is one global quantile of |W|; the sparsity follows the cubic schedule over the first half of training. It is
estimated anew at every step of the original, here at ``updates`` equal distances.
"""

from __future__ import annotations

from torch import Tensor, nn

from paper_repro.accounting import counted_layers
from paper_repro.methods.magnitude import MagnitudePruning
from paper_repro.methods.schedules import CubicThenHold
from paper_repro.methods.straight_through import StraightThrough

P = 3


class PowerThreshold(StraightThrough):
    """W -> sign(W) * (|W|^3 - T^3)^(1/3) where |W| > T, else 0; straight through."""

    def shrink(self, weight: Tensor) -> Tensor:
        # W * (1 - (T / |W|)^3)^(1/3): the same, and |W|^3 cannot underflow
        ratio = (self.threshold.clamp(min=0.0) / weight.abs()).clamp(max=1.0).nan_to_num(1.0)
        return weight * (1.0 - ratio**P) ** (1.0 / P)


class Feather(MagnitudePruning):
    """Prunes the network to one overall sparsity."""

    distributions = ("global", "balance")
    schedule = CubicThenHold(0.0, 0.5, updates=100)

    def attach(self, model: nn.Module) -> nn.Module:
        overall = self.sparsity_pct
        if overall is None:
            assert self.budget is not None
            sizes = {name: layer.weight.numel() for name, layer in counted_layers(model).items()}
            overall = sum(self.budget.get(name, 0.0) * size for name, size in sizes.items()) / sum(sizes.values())
        self.pruned_gradient = 1.0 if overall <= 95.0 else 0.5  # what the gradient of pruned weights is multiplied by
        return super().attach(model)

    def sparse(self, weight: Tensor) -> PowerThreshold:
        return PowerThreshold(weight, self.pruned_gradient)
