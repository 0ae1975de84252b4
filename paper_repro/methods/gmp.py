"""GMP: gradual magnitude pruning (Zhu and Gupta, 2017), the paper's main baseline.

Every layer keeps its largest weights. The share it prunes grows along the cubic schedule, from 20 % to 80 % of
training in 60 stages, which is once per epoch from epoch 20 to 80 of the paper's 100. Pruned weights get no gradient,
but decay. With ``distribution="global"`` the weights of all layers are ranked together; with "2:4" those of each group
of four are, of which first one and then two go.

Masks are ranked anew at each stage, the last of which reaches the target, and stay as they are after it: as in
TensorFlow's model_pruning, where the method comes from. The code of STR's authors ranks at every forward pass, to the
end of training, and stops at 0.9999954 of the target.

The stages are those of STR's configuration for GMP. The numbers in Table 1 are older: Gale et al. (2019) took the best
of many schedules for each sparsity, and their recipe differs in more than that (see experiments/resnet50.toml).
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
