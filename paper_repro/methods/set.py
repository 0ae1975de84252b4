"""SET: sparse evolutionary training (Mocanu et al., 2018).

A constant share of each layer's weights, the smallest by magnitude, is dropped at equal distances, and as many grow at
random places. The original drops that share of the positive weights and that share of the negative ones, which is the
same where both are distributed alike; it rewires once an epoch to the end of training, here to three quarters of it.
As in the SET that the authors of RigL compare with, a place that was just left may be chosen again.
"""

from __future__ import annotations

import torch
from torch import Tensor

from paper_repro.methods.schedules import CosineDecay, Hold
from paper_repro.methods.sparse_training import Layer, SparseTraining


class SET(SparseTraining):
    """One sparsity in all layers, ERK, or a ``budget``."""

    schedule: Hold | CosineDecay = Hold(0.0, 0.75, updates=75, height=0.3)

    def growth_score(self, layer: Layer) -> Tensor:
        return torch.rand_like(layer.raw)
