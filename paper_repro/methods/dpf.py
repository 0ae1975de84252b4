"""DPF: dynamic model pruning with feedback (Lin et al., ICLR 2020), a baseline of the paper's Table 1.

The gradient is taken at the pruned weights and applied to the dense ones, so that what was pruned too early comes
back. That is DNW with a schedule: the sparsity follows the cubic one of Zhu and Gupta (2017) from the first step on.
The masks of the original change every 16 steps; here the threshold is estimated anew at ``updates`` equal distances.
The paper leaves open at which step the target is reached; here it is the middle of training, as for Feather.

The STR paper counts the multiply-adds of DPF's rows as those of one sparsity in all layers, which is the default here.
Implementations by others rank all weights together (``distribution="global"``); the authors' own code was not found.
"""

from __future__ import annotations

from paper_repro.methods.dnw import DNW
from paper_repro.methods.schedules import CubicThenHold


class DPF(DNW):
    """One sparsity in all layers, ERK, one ranking ("global"), or a ``budget``; reached at ``end`` of training."""

    distributions = (*DNW.distributions, "global")
    schedule = CubicThenHold(0.0, 0.5, updates=100)
