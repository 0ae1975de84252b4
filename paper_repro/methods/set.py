"""SET: sparse evolutionary training (Mocanu et al., 2018).

A constant share of each layer's weights, the smallest, is dropped at equal distances, and as many grow at random
places. The original drops the positive weights next to zero and the negative ones next to zero; both together are
the smallest by magnitude. Distances are given as a number of updates; the original has one an epoch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from paper_repro.methods.schedules import CosineDecay, Hold
from paper_repro.methods.sparse_training import SparseTraining


class SET(SparseTraining):
    """One sparsity in all layers, ERK, or a ``budget``."""

    schedule: Hold | CosineDecay = Hold(0.0, 0.75, updates=75, height=0.3)

    def growth_score(self, mask: Any, raw: Tensor) -> Tensor:
        return torch.rand_like(raw)
