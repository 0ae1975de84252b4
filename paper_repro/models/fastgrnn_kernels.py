"""What FastGRNN's recurrence does beside its matrix products, compiled for the CPU: one pass over a step's numbers.

Made of torch's operations a step takes some eight passes forward and as many back, which cost a CPU more than the
matrix products do. Gates, candidates and states are C-contiguous float32 of shape (steps + 1, batch, hidden).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float32]
VECTOR, MATRIX, ROOM = "float32[::1]", "float32[:,::1]", "float32[:,:,::1]"

ONE, TWO = np.float32(1.0), np.float32(2.0)
LARGEST = np.float32(87.0)  # exp of it is below the largest float32, and sigmoid of it is 1
PER_OCTAVE = np.float32(1.0 / math.log(2.0))
# log 2 in two parts, the first of few enough bits that its product with a whole number is exact
LOG2_HIGH = np.float32(0.693359375)
LOG2_LOW = np.float32(math.log(2.0) - 0.693359375)
C2, C3, C4, C5, C6 = (np.float32(1.0 / math.factorial(n)) for n in range(2, 7))


def compiled(*arguments: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Compiles the decorated function at once, for ``arguments`` of these types, and keeps it on disk if that works.

    Products and sums may be fused. Nothing else of "fast math" is allowed: a NaN has to come out as one, so that a run
    that diverges is seen to, and (x - high) - low must stay that.
    """
    options = {"fastmath": {"contract"}, "error_model": "numpy"}
    signature = f"void({', '.join(arguments)})"

    def compile_now(function: Callable[..., None]) -> Callable[..., None]:
        try:
            kernel: Callable[..., None] = njit(signature, cache=True, **options)(function)
        except Exception:  # no place to write, a full disk, a damaged file; what is wrong with the code is raised again
            kernel = njit(signature, **options)(function)
        return kernel

    return compile_now


@njit(inline="always")
def _sigmoid(x: np.float32) -> np.float32:
    """To 2e-7. exp(-x) is taken as 2^k exp(r) with |r| <= log(2) / 2, and exp(r) by its Taylor series: a call of the C
    library's exp would keep the loops from being vectorized.
    """
    x = min(max(-x, -LARGEST), LARGEST)  # in this order a NaN stays one
    k = np.rint(x * PER_OCTAVE)
    r = (x - k * LOG2_HIGH) - k * LOG2_LOW
    exp_r = ONE + r * (ONE + r * (C2 + r * (C3 + r * (C4 + r * (C5 + r * C6)))))
    two_to_k = np.int32((np.int32(k) + np.int32(127)) << np.int32(23)).view(np.float32)  # its exponent bits
    return ONE / (ONE + exp_r * two_to_k)


@compiled(ROOM, ROOM, ROOM, "intp", VECTOR, "float32", "float32", "boolean")
def forward_step(
    gates: Array, candidates: Array, states: Array, t: int, shift: Array, share: np.float32, total: np.float32,
    tanh: bool,
) -> None:  # fmt: skip
    """From p + b_z in ``gates[t]`` and h in ``states[t]``: z and c at ``t`` of gates and candidates, h' at ``t + 1``.

    ``shift`` (hidden,) is b_h - b_z; ``share`` is sigmoid(zeta), ``total`` that and sigmoid(nu); ``tanh`` is the gate.
    """
    z, c, h, h_next = gates[t], candidates[t], states[t], states[t + 1]
    for b in range(z.shape[0]):
        for j in range(z.shape[1]):
            p = z[b, j]
            candidate = TWO * _sigmoid(TWO * (p + shift[j])) - ONE  # tanh
            gate = TWO * _sigmoid(TWO * p) - ONE if tanh else _sigmoid(p)
            z[b, j] = gate
            c[b, j] = candidate
            h_next[b, j] = gate * (h[b, j] - share * candidate) + total * candidate


@compiled(ROOM, ROOM, ROOM, "intp", MATRIX, MATRIX, MATRIX, "float32", "float32", "boolean")
def backward_step(
    gates: Array, candidates: Array, states: Array, t: int, d_h: Array, d_p: Array, sums: Array, share: np.float32,
    total: np.float32, tanh: bool,
) -> None:  # fmt: skip
    """From dL/dh' in ``d_h`` (batch, hidden): dL/dp in ``d_p``, and in ``d_h`` what of dL/dh does not come by p.

    Adds to ``sums`` (4, hidden) what sums over the batch to dL/db_z, dL/dp, dL/dh' c and dL/dh' c z.
    """
    z, c, h = gates[t], candidates[t], states[t]
    hidden = z.shape[1]
    part = np.zeros((4, hidden), np.float32)  # of this step, so that no long sum takes in small terms one by one
    by_gate, by_p, leaked, kept = part[0], part[1], part[2], part[3]
    for b in range(z.shape[0]):
        for j in range(hidden):
            grad, gate, candidate = d_h[b, j], z[b, j], c[b, j]
            through_gate = grad * (h[b, j] - share * candidate) * (ONE - gate * gate if tanh else gate * (ONE - gate))
            through_both = through_gate + grad * (total - share * gate) * (ONE - candidate * candidate)
            d_p[b, j] = through_both
            d_h[b, j] = grad * gate
            by_gate[j] += through_gate
            by_p[j] += through_both
            leaked[j] += grad * candidate
            kept[j] += grad * candidate * gate
    for n in range(4):
        for j in range(hidden):
            sums[n, j] += part[n, j]
