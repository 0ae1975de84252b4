"""AutoSparse: STR's operator with a gradient for pruned weights that is annealed away (Kundu et al., 2023, arXiv
2304.06941).

The forward pass is STR's. In the backward pass, pruned weights get alpha times the gradient, and they contribute to the
gradient of the threshold T:

    dL/dW = dL/dS * (1 where |W| > T, else alpha),    dL/dT = -sum of dL/dW * sign(W)

alpha = 0 is STR, alpha = 1 straight-through. At the share x of training it is

    alpha(x) = alpha * max((1 + cos(pi x)) / 2, 1 - sigmoid(12 x - 6)),    and 0 from x = 0.9 on.

The authors' code was not found. The formulas are the paper's as PQuantML implements them (cern-nextgen/PQuantML); so
are alpha = 0.5, one s per output filter, s = -5 at first (a threshold of 0.0067: sparse from the first step) and no
weight decay of s. There alpha changes once per epoch, here at every step; its option to leave out the gradient of the
smaller half of the weights is left out. The authors' settings for ResNet50 are not known. Sparsity cannot be asked for:
``s_init`` decides most of it.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from paper_repro.methods.balance import Balance
from paper_repro.methods.base import attached_layers, decay_groups
from paper_repro.methods.soft_threshold import SoftThreshold, soft_threshold
from paper_repro.methods.str import STR

END = 0.9  # of training, from where alpha is 0


class LeakyThreshold(SoftThreshold):
    """S_g(W, s) whose pruned weights get the share ``alpha`` (a buffer of shape ()) of the gradient."""

    alpha: Tensor

    def __init__(self, s: nn.Parameter, g: str = "sigmoid", slope: float = 1.0) -> None:
        super().__init__(s, g, slope)
        self.register_buffer("alpha", s.detach().new_zeros(()))

    def forward(self, weight: Tensor) -> Tensor:
        threshold = self.threshold()
        inside = torch.where(weight.abs() <= threshold, weight - weight.sign() * threshold, 0.0)
        leak = self.alpha * (inside - inside.detach())  # zero, but for its gradient
        return soft_threshold(weight, threshold) + leak.to(weight.dtype)


class AutoSparse(STR):
    """``alpha``: the share of the gradient that pruned weights get at first; 0 is STR without weight decay of s."""

    operator = LeakyThreshold

    def __init__(
        self,
        s_init: float = -5.0,
        alpha: float = 0.5,
        granularity: str = "filter",
        g: str = "sigmoid",
        slope: float = 1.0,
    ) -> None:
        super().__init__(s_init, g, granularity, slope=slope)
        self.alpha = alpha

    def param_groups(self, model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
        return decay_groups(model, weight_decay, [([operand.soft.s for operand in self.operands(model).values()], 0.0)])

    def decay_of_s(self, weight_decay: float) -> float:
        return 0.0

    def alpha_at(self, time: float) -> float:
        """alpha at ``time``, from 0 to 1."""
        cosine, sigmoid = (1.0 + math.cos(math.pi * time)) / 2.0, 1.0 / (1.0 + math.exp(12.0 * time - 6.0))
        return self.alpha * max(cosine, sigmoid) if time < END else 0.0

    def before_step(self, model: nn.Module, step: int, total_steps: int) -> None:
        for soft, _ in attached_layers(model).values():
            soft.alpha.fill_(self.alpha_at(step / total_steps))

    def balances(self, model: nn.Module) -> dict[str, Balance]:
        return {}  # nothing pulls s up that a balance could hold
