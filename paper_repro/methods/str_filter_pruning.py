"""Filter pruning by STR on an importance vector (STR paper, appendix A.5.2).

Each layer gets a vector m of one importance per output filter, learned with the weights; what is soft-thresholded is
m, not the weight. Filter i counts S_g(m[i], s) times, with one s per layer, so it is used as a whole or is exactly
zero as a whole.

The paper describes the idea and reports no numbers. Choices it leaves open, and what is taken here:

- m starts at 1, so that the network starts as it would without the method, and decays like every other parameter.
- Without batch norm the effective weight of filter i is W[i] * S_g(m[i], s). Batch norm behind the layer would divide
  that factor out again: the loss could not tell one importance from another, and all filters of a layer would go in
  the same step (tried: a ResNet50 ends at chance). There the factor multiplies the batch norm's scale and shift, which
  is W[i] * S_g(m[i], s) for the convolution with its batch norm folded in; W[i] shows as zero where the factor is 0.
- The last layer stays dense: its filters are the classes, and a class cannot be pruned.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parametrize

from paper_repro.accounting import CountedLayer, counted_layers
from paper_repro.methods.base import attached
from paper_repro.methods.batch_norms import batch_norm_of_convolution, live_filters
from paper_repro.methods.precision import wide
from paper_repro.methods.soft_threshold import SoftThreshold
from paper_repro.methods.str import STROfFilters
from paper_repro.methods.str_target import Operand


class FilterImportance(nn.Module):
    """The parametrization W -> W * S_g(m, s), with ``importance`` m of shape (out, 1, ...); where a batch norm takes
    the factor (``normed``), W -> W with zeros for the filters that are off.
    """

    def __init__(self, importance: nn.Parameter, soft: SoftThreshold, normed: bool) -> None:
        super().__init__()
        self.importance = importance
        self.soft = soft
        self.normed = normed

    def factor(self) -> Tensor:
        factor: Tensor = self.soft(self.importance)
        return factor

    def forward(self, weight: Tensor) -> Tensor:
        return live_filters(weight, self.factor()) if self.normed else weight * self.factor().to(weight.dtype)


class TimesImportance(nn.Module):
    """The parametrization of a batch norm's scale or shift: each channel times the factor of the filter before it."""

    def __init__(self, filters: FilterImportance) -> None:
        super().__init__()
        self.filters = (filters,)  # in a tuple: a submodule would list its parameters twice

    def forward(self, values: Tensor) -> Tensor:
        return values * self.filters[0].factor().flatten().to(values.dtype)


class STRFilterPruning(STROfFilters):
    """STR on the importance of filters."""

    def attach(self, model: nn.Module) -> nn.Module:
        normed = any(isinstance(module, _BatchNorm) for module in model.modules())
        self.fed_by = batch_norm_of_convolution(model) if normed else {}
        self.last = next(reversed(counted_layers(model)), None)
        return super().attach(model)

    def parametrization(self, name: str, layer: CountedLayer) -> nn.Module | None:
        if name == self.last:
            return None
        weight = layer.weight
        ones = torch.ones((weight.shape[0],) + (1,) * (weight.dim() - 1), dtype=wide(weight), device=weight.device)
        batch_norm = self.fed_by.get(name)
        filters = FilterImportance(nn.Parameter(ones), self.soft_threshold(ones), normed=batch_norm is not None)
        if batch_norm is not None:
            for held in ("weight", "bias"):
                parametrize.register_parametrization(batch_norm, held, TimesImportance(filters))
        return filters

    def operand(self, layer: nn.Module) -> Operand:
        held, weight = attached(layer)
        return Operand(held.soft, held.importance, weight[0].numel())
