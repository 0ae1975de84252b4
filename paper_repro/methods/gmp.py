"""GMP: gradual magnitude pruning (Zhu and Gupta, 2017), the paper's main baseline.

Every layer keeps its largest weights. The share it prunes grows along the cubic schedule, from 20 % to 80 % of
training in 60 stages, which is once per epoch from epoch 20 to 80 of the paper's 100. Pruned weights get no gradient,
but decay. With ``distribution="global"`` the weights of all layers are ranked together; with "2:4" those of each group
of four are, of which first one and then two go.

Two choices differ from the authors' code: masks are ranked anew at each stage, not at each forward pass (the rate is
constant between stages, and ranking every weight at every step makes training several times slower); and the last
stage reaches the target exactly, where theirs stops at 0.9999954 of it.
"""

from __future__ import annotations

from torch import Tensor

from paper_repro.methods.magnitude import N_OF_M, MagnitudePruning
from paper_repro.methods.mask import Mask
from paper_repro.methods.schedules import Cubic


class GMP(MagnitudePruning):
    """Prunes to one sparsity in all layers, to a ``budget``, in one ranking ("global"), or to an N:M pattern."""

    distributions = ("uniform", "erk", "global", "balance", N_OF_M)
    schedule = Cubic(0.2, 0.8, updates=60)

    def sparse(self, weight: Tensor) -> Mask:
        return Mask(weight)
