"""SNFS: sparse networks from scratch, by sparse momentum (Dettmers and Zettlemoyer, 2019), a baseline of Table 1.

RigL with the gradient replaced by its running mean (the momentum), which also says how many weights each layer gets:
what all layers drop together is given out in proportion to the mean |momentum| of the weights that each has, and
grows where the |momentum| of missing weights is largest. A layer that is full passes the rest on. The share that is
dropped decays from one half along a cosine.

The momentum needs dense gradients at every step, as in the original. It is a running mean of the method's own, with the
optimizer's coefficient, because the optimizer's holds the gradients of the weights in use alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from paper_repro.methods.base import attached_layers, wide
from paper_repro.methods.mask import Mask
from paper_repro.methods.rigl import RigL
from paper_repro.methods.schedules import CosineDecay
from paper_repro.methods.sparse_training import Layers, apportion


class MaskWithMomentum(Mask):
    """A mask, and the running mean of the weight's dense gradient, both saved with the model."""

    momentum: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__(weight)
        self.register_buffer("momentum", torch.zeros_like(weight, dtype=wide(weight)))


class SNFS(RigL):
    """Starts from one sparsity in all layers, ERK, or a ``budget``; the layers then exchange weights."""

    schedule = CosineDecay(0.0, 1.0, updates=100, height=0.5)
    momentum = 0.875  # of the optimizer, in all recipes of this project

    def sparse(self, weight: Tensor) -> MaskWithMomentum:
        return MaskWithMomentum(weight)

    def before_step(self, model: nn.Module, step: int, total_steps: int) -> None:
        for mask, _ in attached_layers(model).values():
            mask.dense_gradient = True

    @torch.no_grad()
    def after_backward(self, model: nn.Module, step: int, total_steps: int) -> None:
        for mask, raw in attached_layers(model).values():
            if raw.grad is not None:
                mask.momentum.lerp_(raw.grad.to(mask.momentum.dtype), 1.0 - self.momentum)
        super().after_backward(model, step, total_steps)

    def growth_score(self, mask: Any, raw: Tensor) -> Tensor:
        return mask.momentum.abs()

    def allocate(self, layers: Layers, before: Mapping[str, int], survivors: Mapping[str, int]) -> dict[str, int]:
        means = {
            name: float((self.growth_score(mask, raw) * mask.mask).sum()) / max(before[name], 1)
            for name, (mask, raw) in layers.items()
        }
        room = {name: raw.numel() - survivors[name] for name, (_, raw) in layers.items()}
        return apportion(sum(before.values()) - sum(survivors.values()), means, room)
