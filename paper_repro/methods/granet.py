"""GraNet: gradual pruning with regrowth (Liu et al., NeurIPS 2021, arXiv 2106.10404).

Starts at half the weights, at random places by ERK, and has an update at each of 250 equal distances but the last. In
the first 30 % of training each update first prunes all layers in one ranking by magnitude, along the cubic schedule
from half the weights to the target. Every update then rewires each layer as RigL does: it drops a share of the weights
that are left, and grows as many where the gradient is largest. That share falls along a cosine from 0.5 to 0.005 at the
end of training.

Read in the authors' code (``ImageNet/core.py``): an update every 4000 steps of 100 epochs at batch 128. Theirs come
after the optimizer's step, here before it, as for RigL; theirs end 2.4e-6 of the weights above the target, here at it.
Theirs drops the share rounded up, here rounded. Their processes draw masks of their own; here all have the first one's.
Their variants with one sparsity in all layers and with a dense first layer are left out. Their recipe is not part of
the method: learning rate 0.1 in steps, weight decay 1e-4 but for batch norm, at batch 128.
"""

from __future__ import annotations

import torch
from torch import nn

from paper_repro.accounting import CountedLayer
from paper_repro.methods.base import attached_layers, percent
from paper_repro.methods.distributions import OneRanking
from paper_repro.methods.mask import Mask
from paper_repro.methods.rigl import RigL
from paper_repro.methods.schedules import CosineDecay, Cubic


class GraNet(RigL):
    """From ``initial_sparsity_pct`` (0: dense), spread by ``distribution``, to an overall ``sparsity_pct`` at
    ``prune_end`` of training.
    """

    distributions = ("erk", "uniform", "balance")
    schedule = CosineDecay(0.0, 1.0, updates=250, height=0.5, floor=0.005)

    def __init__(
        self,
        sparsity_pct: float,
        initial_sparsity_pct: float = 50.0,
        distribution: str | None = None,
        prune_end: float = 0.3,
        drop: float | None = None,
        updates: int | None = None,
    ) -> None:
        start = min(percent(initial_sparsity_pct, "initial_sparsity_pct"), percent(sparsity_pct))
        super().__init__(start, distribution=distribution, drop=drop, updates=updates)
        self.initial_sparsity_pct, self.final_sparsity_pct = start, sparsity_pct
        self.pruning = Cubic(0.0, prune_end, max(1, round(prune_end * self.schedule.updates)))

    def parametrization(self, name: str, layer: CountedLayer) -> Mask:
        return self.sparse(layer.weight)  # a layer that starts dense need not stay so

    @torch.no_grad()
    def before_update(self, model: nn.Module, optimizer: torch.optim.Optimizer, step: int, total_steps: int) -> None:
        fraction = self.pruning.starting(step, total_steps)
        if fraction is not None:
            self.prune(model, fraction)
        super().before_update(model, optimizer, step, total_steps)

    def prune(self, model: nn.Module, fraction: float) -> None:
        """Take the smallest weights of all layers, until ``fraction`` of the way to the target is gone."""
        layers = attached_layers(model)
        wanted = self.initial_sparsity_pct + fraction * (self.final_sparsity_pct - self.initial_sparsity_pct)
        # a weight that has just grown may still be zero: it ranks above those that are missing
        weights = {
            name: raw.abs().clamp(min=torch.finfo(raw.dtype).tiny) * mask.mask for name, (mask, raw) in layers.items()
        }
        for name, threshold in OneRanking(wanted, lambda shape: 1.0).thresholds(weights, 1.0).items():
            there = layers[name][0].mask.clone()
            layers[name][0].prune(weights[name], threshold)
            layers[name][0].mask.mul_(there)  # a network as sparse as it ends gets none back by rounding
