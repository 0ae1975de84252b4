"""RigL: rigging the lottery (Evci et al., ICML 2020), a baseline of the paper's Table 1.

SET with two things replaced: weights grow where the gradient is largest, and the share that is dropped decays along
a cosine to zero, at ``end`` of training. The dense gradient that growth looks at is taken at the steps at which the
network rewires, and at no other. With ``distribution="uniform"`` the paper keeps the first layer dense
(``keep_dense=["first"]``).

The original does not update the weights at these steps; here the weights that stay or grow are updated, as at any
other. ``updates`` rewirings in all: the original has one every 100 of the first 25,000 steps of 32,000.
"""

from __future__ import annotations

from torch import Tensor

from paper_repro.methods.schedules import CosineDecay
from paper_repro.methods.set import SET
from paper_repro.methods.sparse_training import Layer


class RigL(SET):
    """One sparsity in all layers, ERK, or a ``budget``."""

    schedule = CosineDecay(0.0, 0.75, updates=250, height=0.3)
    looks_at_gradients = True

    def growth_score(self, layer: Layer) -> Tensor:
        assert layer.raw.grad is not None
        return layer.raw.grad.abs()
