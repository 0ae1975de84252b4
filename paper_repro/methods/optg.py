"""OptG: a score per weight, the sum of its movements, decides which are pruned (Zhang et al., 2022, arXiv 2201.12826).

    W -> W * h,    dL/dW = G * h,    dL/dscore = G * W for all weights    (G: the gradient of W * h)

The scores start at 0, are trained by the same SGD without weight decay, and are ranked over all layers together at 100
equal distances. At the share x of training s * sigmoid(100 (x - 1/2)) of the weights go, s being the target: all
pruning falls into a tenth of training around its middle. The learning rate of the scores is that of the weights times
the same sigmoid. Masked weights keep their value, get no gradient, and decay.

Read in the authors' code: one ranking an epoch in 100 epochs; 100 is its beta (1 per epoch in the configuration that
it ships, 0.5 by default) times them. There each layer then drops its share of the global ranking, rounded down; here
exactly those of the ranking go.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from paper_repro.methods.base import attached_layers, decay_groups
from paper_repro.methods.magnitude import MagnitudePruning
from paper_repro.methods.mask import Mask
from paper_repro.methods.precision import wide
from paper_repro.methods.schedules import Sigmoid


class ScoredMask(Mask):
    """W -> W * mask. ``score``, a parameter like the weight, gets the gradient that a mask of ones would."""

    def __init__(self, weight: Tensor, score: Tensor) -> None:
        super().__init__(weight)
        self.score = nn.Parameter(score.to(wide(weight)))

    def forward(self, weight: Tensor) -> Tensor:
        gradient_only = (self.score - self.score.detach()) * weight.detach()  # its value is zero
        return weight * self.mask + gradient_only.to(weight.dtype)


class OptG(MagnitudePruning):
    """Prunes the network to one overall sparsity. It takes no budget by layer: how many weights each keeps is what its
    scores decide.
    """

    distributions = ("global",)
    schedule = Sigmoid(0.0, 1.0, updates=100)

    def sparse(self, weight: Tensor) -> ScoredMask:
        return ScoredMask(weight, torch.zeros_like(weight, requires_grad=False))

    def param_groups(self, model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
        return decay_groups(model, weight_decay, [([mask.score for mask, _ in attached_layers(model).values()], 0.0)])

    @torch.no_grad()
    def before_step(self, model: nn.Module, step: int, total_steps: int) -> None:
        fraction = self.schedule.starting(step, total_steps)
        if fraction is None:
            return
        layers = {name: mask for name, (mask, _) in attached_layers(model).items()}
        lowest = min(mask.score.min() for mask in layers.values())
        scores = {name: mask.score - lowest for name, mask in layers.items()}  # rankings are of what is not negative
        for name, threshold in self.target.thresholds(scores, fraction).items():
            layers[name].prune(scores[name], threshold)

    def before_update(self, model: nn.Module, optimizer: torch.optim.Optimizer, step: int, total_steps: int) -> None:
        scores = {id(mask.score) for mask, _ in attached_layers(model).values()}
        for group in optimizer.param_groups:
            if any(id(parameter) in scores for parameter in group["params"]):
                group["lr"] *= self.schedule.value(self.schedule.stage(step / total_steps))
