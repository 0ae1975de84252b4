"""Straight-through pruning: the forward pass uses a thresholded weight, the gradient goes to the raw one unchanged.

A pruned weight keeps learning, and comes back when it grows past the threshold. Between two stages of the schedule
the threshold stands still and weights cross it freely, so that the sparsity may move by a little; at the end of a
cosine schedule the learning rate is too small for that to be seen.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from paper_repro.methods.magnitude import Pruned


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, used: Tensor, pruned_gradient: float) -> Tensor:
        ctx.pruned_gradient = pruned_gradient
        if pruned_gradient != 1.0:
            ctx.save_for_backward(used)
        return used.view_as(used)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        if ctx.pruned_gradient == 1.0:
            return grad, None, None
        (used,) = ctx.saved_tensors
        return torch.where(used == 0.0, ctx.pruned_gradient * grad, grad), None, None


def straight_through(weight: Tensor, used: Tensor, pruned_gradient: float = 1.0) -> Tensor:
    """The value of ``used``, with its gradient handed to ``weight``: d/d weight = d/d used, times ``pruned_gradient``
    where ``used`` is zero. Both have the same shape.
    """
    return _StraightThrough.apply(weight, used.detach(), pruned_gradient)


class StraightThrough(Pruned):
    """W -> shrink(W, threshold); the threshold is saved with the model and is below all weights at first. It has shape
    (), or the weight's where equal weights were told apart (``distributions.cut``).
    """

    threshold: Tensor

    def __init__(self, weight: Tensor, pruned_gradient: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("threshold", weight.new_tensor(-1.0))
        self.pruned_gradient = pruned_gradient

    def forward(self, weight: Tensor) -> Tensor:
        with torch.no_grad():
            used = self.shrink(weight)
        return straight_through(weight, used, self.pruned_gradient)

    def shrink(self, weight: Tensor) -> Tensor:
        """What the forward pass uses. Here the hard threshold: weights above it as they are, the others zero."""
        return torch.where(weight.abs() <= self.threshold, 0.0, weight)  # what is not a number stays visible

    @torch.no_grad()
    def prune(self, weight: Tensor, threshold: Tensor) -> None:
        self._shape_threshold(threshold)
        self.threshold.copy_(threshold)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        self._shape_threshold(state_dict.get(f"{prefix}threshold", self.threshold))
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _shape_threshold(self, like: Tensor) -> None:
        if like.shape != self.threshold.shape:
            self.threshold = self.threshold.new_empty(like.shape)
