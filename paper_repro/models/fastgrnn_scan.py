"""FastGRNN's recurrence as one differentiable operation, up to four times as fast as a loop under autograd.

The loop costs some fifteen small operations per step going forward and more than twice as many going back, each with a
new tensor and a node in the graph. Here forward writes what backward will want into one block of memory, and backward
is written out. With p = x W + h U, what must run step by step is

    dL/dp_t = dL/dh_t * slope_t,    dL/dh_(t-1) = dL/dh_t * z_t + dL/dp_t U^T

and everything else is taken over ``CHUNK`` steps at a time, while they are in cache. ``FastGRNN.unrolled`` is the plain
twin that the tests hold this against.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

GATES: dict[str, Callable[[Tensor], Tensor]] = {"sigmoid": torch.sigmoid, "tanh": torch.tanh}
CHUNK = 16  # steps; of 4, 8, 16 and 32 the fastest at batch 100 and hidden size 80

_BACKWARD = {  # (grad, output, grad_input=) -> grad_input
    "sigmoid": torch.ops.aten.sigmoid_backward.grad_input,
    "tanh": torch.ops.aten.tanh_backward.grad_input,
}


@torch.compiler.disable  # nothing is left to fuse, and a compiler would unroll the steps
def scan(
    inputs: Tensor, w: Tensor, u: Tensor, bias_gate: Tensor, bias_update: Tensor, zeta: Tensor, nu: Tensor, gate: str,
    factors: tuple[Tensor, ...] = (),
) -> Tensor:  # fmt: skip
    """The last state (batch, hidden) for ``inputs`` (steps, batch, features), which get no gradient; ``w`` (hidden,
    features) and ``u`` (hidden, hidden) as ``nn.Linear`` holds them. The state before the first step is 0.

    ``factors``: (rank, hidden) and (hidden, rank), in the order of use, whose product ``u`` is. Multiplying by them is
    faster where they are thin; the gradient goes to ``u`` all the same.
    """
    thin = tuple(factor.detach() for factor in factors)
    last: Tensor = _Scan.apply(inputs, w, u, bias_gate, bias_update, zeta, nu, gate, thin)
    return last


def _adder(*matrices: Tensor) -> Callable[..., Tensor]:
    """(target, x, alpha): target += alpha * x times the matrices, of which there are one or two."""
    if len(matrices) == 1:
        return lambda target, x, alpha=1.0: target.addmm_(x, matrices[0], alpha=alpha)
    first, second = matrices
    return lambda target, x, alpha=1.0: target.addmm_(x.mm(first), second, alpha=alpha)


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, w: Tensor, u: Tensor, bias_gate: Tensor, bias_update: Tensor, zeta: Tensor,
        nu: Tensor, gate: str, thin: tuple[Tensor, ...],
    ) -> Tensor:  # fmt: skip
        steps, batch, _ = inputs.shape
        zeta, nu = torch.sigmoid(zeta), torch.sigmoid(nu)
        share, leak = zeta.item(), nu.item()
        # one allocation: what is freed as one block is not given back to the system and faulted in again
        room = inputs.new_empty(3 * steps + 1, batch, len(u))
        gates, candidates, states = room[:steps], room[steps : 2 * steps], room[2 * steps :]
        # tanh(v) is taken as 2 sigmoid(2 v) - 1, which a CPU has in a third of the time: hence the gate's scale
        scale = 2.0 if gate == "tanh" else 1.0
        torch.addmm(
            bias_gate, inputs.flatten(0, 1), w.t(), beta=scale, alpha=scale, out=gates.view(steps * batch, len(u))
        )
        states[0] = 0.0
        shift = (2.0 * (bias_update - bias_gate)).expand_as(states[0]).contiguous()
        minus_one, mixed = torch.full_like(shift, -1.0), torch.empty_like(shift)
        add_recurrent = _adder(*(factor.t() for factor in thin or (u,)))
        for h, h_next, z, c in zip(
            states[:-1].unbind(), states[1:].unbind(), gates.unbind(), candidates.unbind(), strict=True
        ):
            add_recurrent(z, h, scale)
            torch.add(shift, z, alpha=2.0 / scale, out=c).sigmoid_()
            torch.add(minus_one, c, alpha=2.0, out=c)
            z.sigmoid_()
            if gate == "tanh":
                torch.add(minus_one, z, alpha=2.0, out=z)
            # h' = z (h - share c) + (share + leak) c
            torch.add(h, c, alpha=-share, out=mixed).mul_(z)
            torch.add(mixed, c, alpha=share + leak, out=h_next)
        ctx.save_for_backward(inputs, u, room, zeta, nu)
        ctx.gate, ctx.share, ctx.leak, ctx.thin = gate, share, leak, thin
        return states[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        inputs, u, room, zeta, nu = ctx.saved_tensors
        steps, (batch, hidden) = len(inputs), room.shape[1:]
        gates, candidates, states = room[:steps], room[steps : 2 * steps], room[2 * steps :]
        d_w, d_u = room.new_zeros(inputs.shape[2], hidden), torch.zeros_like(u)
        d_gate, d_pre = room.new_zeros(hidden), room.new_zeros(hidden)
        leaked, kept = room.new_zeros(()), room.new_zeros(())  # sums over dL/dh' * c and dL/dh' * c * z
        scratch = room.new_empty(4, CHUNK, batch, hidden)
        add_back = _adder(*(reversed(ctx.thin) if ctx.thin else (u,)))
        total = torch.full_like(scratch[0], ctx.share + ctx.leak)
        for end in range(steps, 0, -CHUNK):
            part = slice(max(0, end - CHUNK), end)
            z, c = gates[part], candidates[part]
            d_p, d_h, through_gate, slope = scratch[:, : len(z)]
            # dh'/dp = gate'(p) (h - share c) + tanh'(p) (share + leak - share z)
            torch.add(states[part], c, alpha=-ctx.share, out=through_gate)
            _BACKWARD[ctx.gate](through_gate, z, grad_input=through_gate)
            torch.add(total[: len(z)], z, alpha=-ctx.share, out=slope)
            _BACKWARD["tanh"](slope, c, grad_input=slope).add_(through_gate)
            d_h[-1] = grad
            grad = torch.empty_like(grad)
            before = [grad, *d_h[:-1].unbind()]  # dL/dh one step earlier
            each = list(zip(d_h.unbind(), before, d_p.unbind(), slope.unbind(), z.unbind(), strict=True))
            for d_h_t, d_h_before, d_p_t, slope_t, z_t in reversed(each):
                torch.mul(d_h_t, slope_t, out=d_p_t)
                add_back(torch.mul(d_h_t, z_t, out=d_h_before), d_p_t)
            flat = d_p.flatten(0, 1)
            d_u.addmm_(flat.t(), states[part].flatten(0, 1))
            d_w.addmm_(inputs[part].flatten(0, 1).t(), flat)
            d_pre += flat.sum(0)
            d_gate += through_gate.mul_(d_h).sum((0, 1))
            leaked += d_h.mul_(c).sum()
            kept += torch.dot(d_h.flatten(), z.flatten())
        d_zeta, d_nu = (leaked - kept) * zeta * (1.0 - zeta), leaked * nu * (1.0 - nu)
        return None, d_w.t(), d_u, d_gate, d_pre - d_gate, d_zeta, d_nu, None, None
