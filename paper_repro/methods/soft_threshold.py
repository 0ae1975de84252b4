"""The soft threshold S(W, t) = sign(W) * relu(|W| - t), with gradients for W and for the threshold t (STR paper, eq.
2 to 4).

Written as above, it costs autograd about thirteen passes over memory. Here the same values and gradients take one
pass forward and one backward; ``tests/reference/soft_threshold.py`` is the plain twin that the tests hold it against.

    dL/dW = dL/dS  where |W| > t, else 0
    dL/dt = -sum of dL/dW * sign(W), over the weights that share the threshold
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import softshrink

# Elements per step of the CPU's backward pass: three float32 blocks of this size stay in a core's level-2 cache.
BLOCK = 1 << 15

G: dict[str, Callable[[Tensor], Tensor]] = {"sigmoid": torch.sigmoid, "exp": torch.exp}
# |weight| -> the s that prunes it; infinite for what no s can prune
G_INVERSE: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": lambda magnitude: torch.logit(magnitude.clamp(max=1.0)),
    "exp": torch.log,
}


class SoftThreshold(nn.Module):
    """The parametrization W -> S_g(W, s), with a learned s (float32) that broadcasts to W."""

    frozen_share: Tensor  # buffers that only a run which freezes its sparsity has: see str_target.Freeze
    frozen_s: Tensor

    def __init__(self, s: nn.Parameter, g: str = "sigmoid") -> None:
        super().__init__()
        self.s = s
        self.g = g

    def threshold(self) -> Tensor:
        return G[self.g](self.s)

    def forward(self, weight: Tensor) -> Tensor:
        return soft_threshold(weight, self.threshold())


def soft_threshold(weight: Tensor, threshold: Tensor) -> Tensor:
    """Shrink ``weight`` towards zero by ``threshold``; what lies within the threshold becomes exactly zero.

    ``weight`` has any shape and floating dtype. ``threshold`` is non-negative and broadcasts to it: shape () for one
    threshold per layer, (out, 1, 1, 1) per filter, the weight's own shape per weight. Returns a tensor like
    ``weight``.
    """
    if torch.compiler.is_compiling():  # the compiler fuses the plain expression by itself
        return torch.sign(weight) * torch.relu(torch.abs(weight) - threshold)
    if weight.device.type == "cpu" and threshold.numel() == 1 and weight.is_contiguous():
        value = threshold.item()
        if value >= 0.0:  # false for NaN, which the general form below passes on
            return _OneThresholdOnCPU.apply(weight, threshold, value)
    return _SoftThreshold.apply(weight, threshold)


class _SoftThreshold(torch.autograd.Function):
    """Any device and any shape of threshold. No value is read back to the host, so a GPU never waits."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, threshold: Tensor) -> Tensor:
        # exactly sign(w) * relu(|w| - t): outside the threshold w - t or w + t, inside w - w
        shrunk = weight - weight.clamp(-threshold, threshold)
        ctx.save_for_backward(shrunk)
        ctx.threshold_shape = threshold.shape
        return shrunk

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        (shrunk,) = ctx.saved_tensors
        sign = shrunk.sign()
        grad_weight = grad * sign.abs()
        return grad_weight, -(grad_weight * sign).sum_to_size(ctx.threshold_shape)


class _OneThresholdOnCPU(torch.autograd.Function):
    """One threshold for a contiguous weight, in two library kernels.

    The second runs block by block, so that the sum for the threshold is taken while a block is in cache; blocks are
    summed in float64.
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor, threshold: Tensor, value: float) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.value = value
        ctx.threshold_shape = threshold.shape
        return softshrink(weight, value)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        (weight,) = ctx.saved_tensors
        grad_weight = torch.empty_like(weight)
        total = 0.0
        flat = (tensor.reshape(-1).split(BLOCK) for tensor in (grad, weight, grad_weight))
        for grad_block, weight_block, out in zip(*flat, strict=True):
            torch.ops.aten.softshrink_backward.grad_input(grad_block, weight_block, ctx.value, grad_input=out)
            total += torch.dot(out, weight_block.sign()).item()
        return grad_weight, weight.new_full(ctx.threshold_shape, -total), None
