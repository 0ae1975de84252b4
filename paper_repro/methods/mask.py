"""The parametrization W -> W * mask, for methods that decide now and then which weights exist."""

from __future__ import annotations

import torch
from torch import Tensor

from paper_repro.methods.magnitude import Pruned
from paper_repro.methods.straight_through import straight_through


class Mask(Pruned):
    """The mask (like the weight, ones and zeros) is saved with the model.

    Masked weights get no gradient, except while ``dense_gradient`` is set: then all get dL/dW~, as if the mask were
    not there.
    """

    mask: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", torch.ones_like(weight))
        self.dense_gradient = False

    def forward(self, weight: Tensor) -> Tensor:
        return straight_through(weight, weight * self.mask) if self.dense_gradient else weight * self.mask

    @torch.no_grad()
    def prune(self, weight: Tensor, threshold: Tensor) -> None:
        self.mask.copy_(weight.abs() > threshold)
