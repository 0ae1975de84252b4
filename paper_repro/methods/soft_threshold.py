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

from paper_repro.methods.precision import wide

softshrink_backward = torch.ops.aten.softshrink_backward.grad_input

# Elements per step of the CPU's backward pass: three float32 blocks of this size stay in a core's level-2 cache.
BLOCK = 1 << 15

G: dict[str, Callable[[Tensor], Tensor]] = {"sigmoid": torch.sigmoid, "exp": torch.exp}
# |weight| -> the u with g(u) = |weight|; infinite for what no u reaches
G_INVERSE: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": lambda magnitude: torch.logit(magnitude.clamp(max=1.0)),
    "exp": torch.log,
}
# threshold g(u) -> g'(u)
G_DERIVATIVE: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": lambda threshold: threshold * (1.0 - threshold),
    "exp": lambda threshold: threshold,
}


class SoftThreshold(nn.Module):
    """The parametrization W -> S_g(W, s), with a learned s that broadcasts to W.

    The threshold is g(u) with u = slope * s. s is float32, or float64 where the weights are.
    """

    frozen_share: Tensor  # buffers that only a run which freezes its sparsity has: see str_target.Freeze
    frozen_s: Tensor

    def __init__(self, s: nn.Parameter, g: str = "sigmoid", slope: float = 1.0) -> None:
        super().__init__()
        self.s = s
        self.g = g
        self.slope = slope

    def threshold(self) -> Tensor:
        return G[self.g](self.slope * self.s)

    def pruned_at(self, magnitude: Tensor) -> Tensor:
        """The s at which the threshold is ``magnitude``; infinite for what no s reaches."""
        return G_INVERSE[self.g](magnitude) / self.slope

    def forward(self, weight: Tensor) -> Tensor:
        return soft_threshold(weight, self.threshold())


def soft_threshold(weight: Tensor, threshold: Tensor) -> Tensor:
    """Shrink ``weight`` towards zero by ``threshold``; what lies within the threshold becomes exactly zero.

    ``weight`` has any shape and floating dtype. ``threshold`` is non-negative and broadcasts to it: shape () for one
    threshold per layer, (out, 1, 1, 1) per filter, the weight's own shape per weight. Returns a tensor like
    ``weight``.
    """
    if torch.compiler.is_compiling():  # the compiler fuses the plain expression by itself
        return (torch.sign(weight) * torch.relu(torch.abs(weight) - threshold)).to(weight.dtype)
    if weight.device.type == "cpu" and threshold.numel() == 1 and _storage_order(weight) is not None:
        value = threshold.item()
        if value >= 0.0:  # false for NaN, which the general form below passes on
            return _OneThresholdOnCPU.apply(weight, threshold, value)
    return _SoftThreshold.apply(weight, threshold)


class _SoftThreshold(torch.autograd.Function):
    """Any device and any shape of threshold. No value is read back to the host, so a GPU never waits."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, threshold: Tensor) -> Tensor:
        # exactly sign(w) * relu(|w| - t): outside the threshold w - t or w + t, inside w - w
        shrunk = (weight - weight.clamp(-threshold, threshold)).to(weight.dtype)  # thresholds may be wider
        ctx.save_for_backward(shrunk)
        ctx.threshold = threshold.shape, threshold.dtype
        return shrunk

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        (shrunk,) = ctx.saved_tensors
        sign = shrunk.sign()
        grad_weight = grad * sign.abs()
        shape, dtype = ctx.threshold
        return grad_weight, -(grad_weight * sign).to(dtype).sum_to_size(shape)


def _storage_order(tensor: Tensor) -> tuple[int, ...] | None:
    """The order of dimensions in which ``tensor`` lies in memory without gaps: as it is, or channels_last; None for any
    other layout.
    """
    if tensor.is_contiguous():
        return tuple(range(tensor.dim()))
    if tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last):
        return (0, 2, 3, 1)
    return None


class _OneThresholdOnCPU(torch.autograd.Function):
    """One threshold for a weight that is contiguous or channels_last, in two library kernels.

    The second runs block by block, so that the sum for the threshold is taken while a block is in cache; blocks are
    summed in float64, each in float32 at least.
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor, threshold: Tensor, value: float) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.value = value
        ctx.threshold = threshold.shape, threshold.dtype
        return softshrink(weight, value)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        (weight,) = ctx.saved_tensors
        order = _storage_order(weight)
        assert order is not None
        grad_weight = torch.empty_like(weight)
        # a gradient in another layout is copied into the weight's
        grad, flat, out = (tensor.permute(order).reshape(-1) for tensor in (grad, weight, grad_weight))
        total = 0.0
        for first in range(0, len(flat), BLOCK):
            block = slice(first, first + BLOCK)
            part = softshrink_backward(grad[block], flat[block], ctx.value, grad_input=out[block])
            total += torch.dot(part.to(wide(part)), flat[block].sign().to(wide(part))).item()
        shape, dtype = ctx.threshold
        return grad_weight, weight.new_full(shape, -total, dtype=dtype), None
