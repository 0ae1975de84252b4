"""FastGRNN's recurrence as one differentiable operation, some four times as fast as a loop under autograd.

The loop costs some fifteen small operations per step going forward and more than twice as many going back, each with a
new tensor and a node in the graph. Here forward writes what backward will want into one block of memory, and backward
is written out. With p = x W + h U, what must run step by step is

    dL/dp_t = dL/dh_t * dh_t/dp_t,    dL/dh_(t-1) = dL/dh_t * z_t + dL/dp_t U^T

and the gradients of W and U are taken over ``CHUNK`` steps at a time, while they are in cache. What stands beside the
matrix products is compiled for the CPU in float32 (``fastgrnn_kernels``) and made of torch's operations elsewhere.
Tests hold both, and ``FastGRNN.unrolled``, which evaluates, against the plain loop in ``tests/reference/fastgrnn.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

GATES: dict[str, Callable[[Tensor], Tensor]] = {"sigmoid": torch.sigmoid, "tanh": torch.tanh}
CHUNK = 16  # steps; of 8, 16, 32 and 128 the fastest at batch 100 and hidden size 80

Add = Callable[[Tensor, Tensor], object]  # (target, x): target += x times a matrix


def scan(
    inputs: Tensor, w: Tensor, u: Tensor, bias_gate: Tensor, bias_update: Tensor, zeta: Tensor, nu: Tensor, gate: str,
    factors: tuple[Tensor, ...] = (),
) -> Tensor:  # fmt: skip
    """The last state (batch, hidden) for ``inputs`` (steps, batch, features); ``w`` (hidden, features) and ``u``
    (hidden, hidden) as ``nn.Linear`` holds them. The state before the first step is 0.

    ``factors``: (rank, hidden) and (hidden, rank), in the order of use, whose product ``u`` is. Multiplying by them is
    faster where they are thin; the gradient goes to ``u`` all the same.
    """
    thin = tuple(factor.detach() for factor in factors)
    last: Tensor = _Scan.apply(inputs, w, u, bias_gate, bias_update, zeta, nu, gate, thin)
    return last


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, w: Tensor, u: Tensor, bias_gate: Tensor, bias_update: Tensor, zeta: Tensor,
        nu: Tensor, gate: str, thin: tuple[Tensor, ...],
    ) -> Tensor:  # fmt: skip
        steps, batch, _ = inputs.shape
        zeta, nu = torch.sigmoid(zeta), torch.sigmoid(nu)
        # one allocation: what is freed as one block is not given back to the system and faulted in again
        room = inputs.new_empty(3, steps + 1, batch, len(u))
        gates, _, states = room
        torch.addmm(bias_gate, inputs.flatten(0, 1), w.t(), out=gates[:steps].flatten(0, 1))
        states[0] = 0.0
        share, leak = torch.stack((zeta, nu)).tolist()  # a GPU is waited for once
        constants = (gate, share, share + leak)
        _arithmetic(room, *constants).forward(bias_update - bias_gate, _adder(*(factor.t() for factor in thin or (u,))))
        ctx.save_for_backward(inputs, w, u, room, zeta, nu)
        ctx.constants, ctx.thin = constants, thin
        return states[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        inputs, w, u, room, zeta, nu = ctx.saved_tensors
        states, steps = room[2], len(inputs)
        d_w, d_u = room.new_zeros(inputs.shape[2], len(u)), torch.zeros_like(u)
        d_inputs = torch.empty_like(inputs) if ctx.needs_input_grad[0] else None
        arithmetic = _arithmetic(room, *ctx.constants)
        add = _adder(*(reversed(ctx.thin) if ctx.thin else (u,)))
        d_h = grad.clone(memory_format=torch.contiguous_format)
        for end in range(steps, 0, -CHUNK):
            part = slice(max(0, end - CHUNK), end)
            d_p, d_h = arithmetic.backward(part, d_h, add)
            d_u.addmm_(d_p.flatten(0, 1).t(), states[part].flatten(0, 1))
            d_w.addmm_(inputs[part].flatten(0, 1).t(), d_p.flatten(0, 1))
            if d_inputs is not None:
                torch.matmul(d_p, w, out=d_inputs[part])
        d_gate, d_pre, leaked, kept = arithmetic.sums
        leaked, kept = leaked.sum(), kept.sum()
        d_zeta, d_nu = (leaked - kept) * zeta * (1.0 - zeta), leaked * nu * (1.0 - nu)
        return d_inputs, d_w.t(), d_u, d_gate, d_pre - d_gate, d_zeta, d_nu, None, None


def _adder(*matrices: Tensor) -> Add:
    """Adds x times the matrices, of which there are one or two."""
    if len(matrices) == 1:
        return lambda target, x: target.addmm_(x, matrices[0])
    first, second = matrices
    return lambda target, x: target.addmm_(x.mm(first), second)


class _Arithmetic(Protocol):
    """The steps, given how to multiply by U. ``room`` (3, steps + 1, batch, hidden) holds gates, candidates and states,
    the first two of which have one place to spare; ``share`` is sigmoid(zeta), ``total`` that and sigmoid(nu).
    """

    sums: Tensor  # (4, hidden): over steps and batch, of dL/db_z, dL/dp, dL/dh' c and dL/dh' c z

    def __init__(self, room: Tensor, gate: str, share: float, total: float) -> None: ...

    def forward(self, shift: Tensor, add: Add) -> None:
        """Fills ``room``, whose gates hold x W + b_z and whose first state is there; ``shift`` is b_h - b_z."""

    def backward(self, part: slice, d_h: Tensor, add: Add) -> tuple[Tensor, Tensor]:
        """For the steps ``part``: dL/dp (steps, batch, hidden), and dL/dh before them, from ``d_h`` after them."""


def _arithmetic(room: Tensor, gate: str, share: float, total: float) -> _Arithmetic:
    compiled = room.device.type == "cpu" and room.dtype == torch.float32
    return (_Compiled if compiled else _Eager)(room, gate, share, total)


class _Compiled:
    def __init__(self, room: Tensor, gate: str, share: float, total: float) -> None:
        from paper_repro.models import fastgrnn_kernels  # its compiler takes half a second to import

        self.kernels = fastgrnn_kernels
        self.gates, _, self.states = room
        self.arrays = tuple(room.numpy())
        self.constants = (np.float32(share), np.float32(total), gate == "tanh")
        self.d_p = room.new_empty(CHUNK, *self.gates.shape[1:])
        self.sums = room.new_zeros(4, room.shape[-1])

    def forward(self, shift: Tensor, add: Add) -> None:
        shifts, step = shift.numpy(), self.kernels.forward_step
        for t, (p, h) in enumerate(zip(self.gates[:-1].unbind(), self.states[:-1].unbind(), strict=True)):
            add(p, h)
            step(*self.arrays, t, shifts, *self.constants)

    def backward(self, part: slice, d_h: Tensor, add: Add) -> tuple[Tensor, Tensor]:
        d_p = self.d_p[: part.stop - part.start]
        grad, grads, sums, step = d_h.numpy(), d_p.numpy(), self.sums.numpy(), self.kernels.backward_step
        for t, d_p_t in zip(range(part.stop - 1, part.start - 1, -1), reversed(d_p.unbind()), strict=True):
            step(*self.arrays, t, grad, grads[t - part.start], sums, *self.constants)
            add(d_h, d_p_t)
        return d_p, d_h


_BACKWARD = {  # (grad, output, grad_input=) -> grad_input
    "sigmoid": torch.ops.aten.sigmoid_backward.grad_input,
    "tanh": torch.ops.aten.tanh_backward.grad_input,
}


class _Eager:
    def __init__(self, room: Tensor, gate: str, share: float, total: float) -> None:
        self.room, self.gate, self.share, self.total = room, gate, share, total
        self.sums = room.new_zeros(4, room.shape[-1])

    def forward(self, shift: Tensor, add: Add) -> None:
        gates, candidates, states = (each.unbind() for each in self.room)
        for z, c, h, h_next in zip(gates[:-1], candidates[:-1], states[:-1], states[1:], strict=True):
            add(z, h)
            torch.add(z, shift, out=c).tanh_()
            z.tanh_() if self.gate == "tanh" else z.sigmoid_()
            torch.add(h, c, alpha=-self.share, out=h_next).mul_(z).add_(c, alpha=self.total)

    def backward(self, part: slice, d_h: Tensor, add: Add) -> tuple[Tensor, Tensor]:
        z, c, h = self.room[:, part]
        # dh'/dp = gate'(p) (h - share c) + tanh'(p) (total - share z)
        through_gate = torch.add(h, c, alpha=-self.share)
        _BACKWARD[self.gate](through_gate, z, grad_input=through_gate)
        slope = torch.mul(z, -self.share).add_(self.total)
        _BACKWARD["tanh"](slope, c, grad_input=slope).add_(through_gate)
        d_p, after = torch.empty_like(z), torch.empty_like(z)  # after: dL/dh' of every step
        after[-1] = d_h
        before = torch.empty_like(d_h)
        befores = (before, *after[:-1].unbind())
        each = list(zip(after.unbind(), befores, d_p.unbind(), slope.unbind(), z.unbind(), strict=True))
        for d_h_t, d_h_before, d_p_t, slope_t, z_t in reversed(each):
            torch.mul(d_h_t, slope_t, out=d_p_t)
            torch.mul(d_h_t, z_t, out=d_h_before)
            add(d_h_before, d_p_t)
        leaked = after * c
        for total, parts in zip(self.sums, (through_gate.mul_(after), d_p, leaked, leaked * z), strict=True):
            total += parts.sum((0, 1))
        return d_p, before
