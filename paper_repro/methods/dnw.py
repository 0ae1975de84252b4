"""DNW: discovering neural wirings (Wortsman et al., 2019), a baseline of the paper and of its Table 4.

From the first step on, every layer uses its largest weights only, at a constant rate; the gradient goes to all.

Where the original ranks a layer's weights at every forward pass, the threshold is estimated anew at ``updates`` equal
distances; in between, weights still enter and leave as they cross it. The authors exempt most batch norms from weight
decay; here, as in the code of STR's authors, everything decays.
"""

from __future__ import annotations

from torch import Tensor

from paper_repro.methods.magnitude import MagnitudePruning
from paper_repro.methods.schedules import Hold, Schedule
from paper_repro.methods.straight_through import StraightThrough


class DNW(MagnitudePruning):
    """One sparsity in all layers, ERK, or a ``budget``, from the first step to the last."""

    distributions: tuple[str, ...] = ("uniform", "erk", "balance")
    schedule: Schedule = Hold(0.0, 1.0, updates=200)

    def sparse(self, weight: Tensor) -> StraightThrough:
        return StraightThrough(weight)
