"""ST-3 and ST-3-sigma: straight-through gradients, soft thresholding (Vanderschueren, De Vleeschouwer, WACV 2023).

One global quantile of |W| is the threshold of all layers; it follows the cubic schedule from 5 % to 50 % of training.
The forward pass uses scale * sign(W) * relu(|W| - threshold), and the gradient goes to the raw weight unchanged:
neither mask nor scale enter it. The scale, one per output filter, makes up for the magnitude that the filter loses,

    scale = 1.01 / (kept + 0.01),   kept = mean(|W|, pruned ones as 0) / mean(|W|), both over the filter,

with 1e-6 added above and below the fraction bar; it is 1 where nothing is pruned. ST-3-sigma ranks
|W| * sqrt(n_out + n_in + k_h + k_w) instead (the sum of the dimensions, as in the authors' code), which prunes small
layers less and saves multiply-adds.

Threshold and scale are estimated anew at every step of the original, here at ``updates`` equal distances.
"""

from __future__ import annotations

import torch
from torch import Tensor

from paper_repro.methods.magnitude import MagnitudePruning
from paper_repro.methods.precision import wide
from paper_repro.methods.schedules import CubicThenHold
from paper_repro.methods.straight_through import StraightThrough


class ScaledSoftThreshold(StraightThrough):
    """W -> scale * sign(W) * relu(|W| - threshold), straight through."""

    scale: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__(weight)
        self.threshold.zero_()  # soft: at -1 it would add to the weights
        self.register_buffer("scale", weight.new_ones(len(weight), *[1] * (weight.dim() - 1)))

    def shrink(self, weight: Tensor) -> Tensor:
        return (weight - weight.clamp(-self.threshold, self.threshold)) * self.scale

    @torch.no_grad()
    def prune(self, weight: Tensor, threshold: Tensor) -> None:
        super().prune(weight, threshold.clamp(min=0.0))
        magnitude = weight.abs().to(wide(weight))
        left = torch.where(magnitude > self.threshold, magnitude, 0.0)
        kept = (left.flatten(1).mean(1) + 1e-6) / (magnitude.flatten(1).mean(1) + 1e-6)
        self.scale.copy_((1.01 / (kept + 0.01)).view_as(self.scale))


class ST3(MagnitudePruning):
    """Prunes the network to one overall sparsity; distribution "global" is ST-3, "sigma" ST-3-sigma."""

    distributions = ("global", "sigma", "balance")
    schedule = CubicThenHold(0.05, 0.5, updates=90)

    def sparse(self, weight: Tensor) -> ScaledSoftThreshold:
        return ScaledSoftThreshold(weight)
