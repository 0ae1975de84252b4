"""SET: sparse evolutionary training (Mocanu et al., 2018).

A constant share of each layer's weights, the smallest, is dropped at equal distances, and as many grow at random
places. The original drops the positive weights next to zero and the negative ones next to zero; both together are
the smallest by magnitude. Distances are given as a number of updates; the original has one an epoch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from paper_repro.methods.mask import Mask
from paper_repro.methods.schedules import Hold
from paper_repro.methods.sparse_training import SparseTraining


class SET(SparseTraining):
    """One sparsity in all layers, ERK, or a ``budget``."""

    def __init__(
        self,
        sparsity_pct: float | None = None,
        budget: Mapping[str, float] | None = None,
        distribution: str = "uniform",
        keep_dense: Iterable[str] = (),
        drop: float = 0.3,
        end: float = 0.75,
        updates: int = 75,
    ) -> None:
        super().__init__(sparsity_pct, budget, distribution, keep_dense)
        self.schedule = Hold(0.0, end, updates, drop)

    def growth_score(self, mask: Mask, raw: Tensor) -> Tensor:
        return torch.rand_like(raw)
