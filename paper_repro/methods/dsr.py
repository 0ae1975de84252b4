"""DSR: dynamic sparse reparameterization (Mostafa and Wang, ICML 2019), a baseline of the paper's Table 1.

SET with the drop and the allocation replaced. All weights below one global threshold are dropped, in whatever layer,
but for the last one of each; the threshold is halved or doubled after a rewiring in which more or fewer than about the
share ``drop`` of all weights went (10 % either way is tolerated). As many grow at random places other than those just
left, in each layer in proportion to the weights that survived there. A layer that is full passes the rest on.

The threshold starts at 0.001, as in the original. Its number of dropped weights is given per network there; here it is
a tenth of all. It rewires to 95 % of training at distances that double three times; here to 75 % at equal ones. The STR
paper keeps the first and the last layer dense (``keep_dense=["first", "last"]``).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from paper_repro.methods.mask import Mask
from paper_repro.methods.schedules import Hold
from paper_repro.methods.set import SET
from paper_repro.methods.sparse_training import Layer, Layers, apportion, existing, largest

TOLERANCE = 0.1


class MaskWithThreshold(Mask):
    """A mask, and the global threshold (shape (), the same in all layers), both saved with the model."""

    threshold: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__(weight)
        self.register_buffer("threshold", weight.new_tensor(1e-3))


class DSR(SET):
    """Starts from one sparsity in all layers, ERK, or a ``budget``; the layers then exchange weights."""

    schedule = Hold(0.0, 0.75, updates=75, height=0.1)

    def sparse(self, weight: Tensor) -> MaskWithThreshold:
        return MaskWithThreshold(weight)

    def rewire(self, layers: Layers, share: float) -> int:
        there = sum(existing(layer.mask) for layer in layers.values())
        dropped = super().rewire(layers, share)
        excess = dropped / (share * there) - 1.0 if there else 0.0
        for layer in layers.values():
            threshold = layer.parametrization.threshold
            threshold.mul_(0.5 if excess > TOLERANCE else 2.0 if excess < -TOLERANCE else 1.0)
        return dropped

    def keep(self, layer: Layer, share: float) -> Tensor:
        kept = layer.mask * (layer.raw.abs() >= layer.parametrization.threshold)
        if not kept.any():  # nothing would ever grow here again
            last = layer.raw.abs().masked_fill(layer.mask == 0, -torch.inf)
            kept = largest(last, min(1, existing(layer.mask)))
        return kept

    def growth_score(self, layer: Layer) -> Tensor:
        return super().growth_score(layer) - layer.mask  # where a weight has just been only if nothing else is left

    def allocate(self, layers: Layers, before: Mapping[str, int], survivors: Mapping[str, int]) -> dict[str, int]:
        room = {name: layer.raw.numel() - survivors[name] for name, layer in layers.items()}
        return apportion(sum(before.values()) - sum(survivors.values()), survivors, room)
