"""SNFS: sparse networks from scratch, by sparse momentum (Dettmers and Zettlemoyer, 2019), a baseline of Table 1.

RigL with the gradient replaced by the optimizer's momentum, which also says how many weights each layer gets: what all
layers drop together is given out in proportion to the mean |momentum| of the weights that each has, and grows where
the |momentum| of missing weights is largest. A layer that is full passes the rest on. The share that is dropped decays
from 0.5 along a cosine to 0.005.

Read in the authors' code (``sparselearning/core.py``): gradients are dense at every step and missing weights zero, so
that missing weights collect the momentum of their gradients and have it when they grow. Their script for ImageNet
drops 0.2 instead of 0.5. Theirs fills a layer to 99 % and gives the rest to all others alike, here to 100 % and in the
same proportion. Theirs drops less from a layer that is more than 80 % full and has more momentum than the average;
here all drop the same share.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from paper_repro.methods.base import attached_layers
from paper_repro.methods.rigl import RigL
from paper_repro.methods.schedules import CosineDecay
from paper_repro.methods.sparse_training import Layer, Layers, apportion


class SNFS(RigL):
    """Starts from one sparsity in all layers, ERK, or a ``budget``; the layers then exchange weights."""

    schedule = CosineDecay(0.0, 1.0, updates=100, height=0.5, floor=0.005)
    missing_momentum = True

    @torch.no_grad()
    def before_step(self, model: nn.Module, step: int, total_steps: int) -> None:
        for mask, raw in attached_layers(model).values():
            mask.dense_gradient = True
            if raw.requires_grad:
                raw.mul_(mask.mask)  # missing weights have nothing that could decay into momentum

    def growth_score(self, layer: Layer) -> Tensor:
        return layer.momentum.abs()

    def allocate(self, layers: Layers, before: Mapping[str, int], survivors: Mapping[str, int]) -> dict[str, int]:
        means = {
            name: float((layer.momentum.abs() * layer.mask).sum()) / max(before[name], 1)
            for name, layer in layers.items()
        }
        room = {name: layer.raw.numel() - survivors[name] for name, layer in layers.items()}
        return apportion(sum(before.values()) - sum(survivors.values()), means, room)
