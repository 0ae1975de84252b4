"""Filter pruning by STR on an importance vector (STR paper, appendix A.5.2).

Each layer gets a vector m of one importance per output filter, learned with the weights; what is soft-thresholded is
m, not the weight. The effective weight of filter i is W[i] * S_g(m[i], s), with one s per layer, so a filter is used
as a whole or is exactly zero as a whole.

The paper describes the idea and reports no numbers. Choices it leaves open, and what is taken here:

- m starts at 1, so that the network starts as it would without the method.
- m decays like every other parameter, because in the paper everything does.
- The last layer stays dense: its filters are the classes, and a class cannot be pruned.
- Nothing is done about batch norm. It divides by the scale of a filter, so behind it the loss hardly sees m[i]
  (through its eps alone), and filters of a layer differ little in m until S_g(m, s) is near zero.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from paper_repro.accounting import CountedLayer, counted_layers
from paper_repro.methods.str import STR, SoftThreshold


class FilterImportance(nn.Module):
    """The parametrization W -> W * S_g(m, s), with ``importance`` m of shape (out, 1, ...)."""

    def __init__(self, importance: nn.Parameter, soft: SoftThreshold) -> None:
        super().__init__()
        self.importance = importance
        self.soft = soft

    def threshold(self) -> Tensor:
        return self.soft.threshold()

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.soft(self.importance)


class STRFilterPruning(STR):
    """STR on the importance of filters; arguments as for STR. Thresholds apply to importances, not to weights."""

    def __init__(self, s_init: float = -3200.0, g: str = "sigmoid") -> None:
        super().__init__(s_init, g)

    def attach(self, model: nn.Module) -> nn.Module:
        self.last = next(reversed(counted_layers(model)), None)
        return super().attach(model)

    def parametrization(self, name: str, layer: CountedLayer) -> nn.Module | None:
        if name == self.last:
            return None
        weight = layer.weight
        ones = torch.ones((weight.shape[0],) + (1,) * (weight.dim() - 1), dtype=weight.dtype, device=weight.device)
        return FilterImportance(nn.Parameter(ones), self.soft_threshold(ones))
