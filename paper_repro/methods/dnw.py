"""DNW: discovering neural wirings (Wortsman et al., 2019), a baseline of the paper and of its Table 4.

From the first step on, every layer uses its largest weights only, at a constant rate; the gradient goes to all.

Where the original ranks a layer's weights at every forward pass, the threshold is estimated anew at ``updates`` equal
distances; in between, weights still enter and leave as they cross it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor

from paper_repro.methods.magnitude import MagnitudePruning
from paper_repro.methods.schedules import Hold
from paper_repro.methods.straight_through import StraightThrough


class DNW(MagnitudePruning):
    """One sparsity in all layers, ERK, or a ``budget``, from the first step to the last."""

    distributions = ("uniform", "erk")

    def __init__(
        self,
        sparsity_pct: float | None = None,
        budget: Mapping[str, float] | None = None,
        distribution: str = "uniform",
        keep_dense: Iterable[str] = (),
        updates: int = 200,
    ) -> None:
        super().__init__(sparsity_pct, budget, distribution, keep_dense)
        self.schedule = Hold(0.0, 1.0, updates)

    def sparse(self, weight: Tensor) -> StraightThrough:
        return StraightThrough(weight)
