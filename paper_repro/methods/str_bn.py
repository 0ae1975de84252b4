"""STR on the scales of batch norm: filter pruning without new weights (STR-BN, by the authors of STR).

The scale gamma of every batch norm that follows a convolution is soft-thresholded, with one s per batch norm:
gamma~ = S_g(gamma, s). Its shift is multiplied by the same, so that

    y = gamma~ * (x_hat + beta),    x_hat: the normalized input

and a channel with gamma~ = 0 is off: it is zero whatever comes in. The filter that makes this channel is then worth
nothing, and is shown as exact zeros in the convolution's weight, in training and when finalized: that is what
sparsity and MACs are measured on. The classifier has no batch norm and stays dense.

Source: the authors' note and code of STR-BN. They report no numbers, and their settings are s_init = -100 with the
weight decay of the dense network; their code cannot start with ResNet50, where it puts the thresholds into two groups
of the optimizer. Choice taken here: a batch norm that is fed by anything but a convolution used
there alone keeps its plain scale.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parametrize

from paper_repro.accounting import CountedLayer
from paper_repro.errors import UserError
from paper_repro.methods.base import attached
from paper_repro.methods.batch_norms import batch_norm_of_convolution, live_filters
from paper_repro.methods.precision import wide
from paper_repro.methods.str import STROfFilters
from paper_repro.methods.str_target import Operand


class ScaledShift(nn.Module):
    """The parametrization beta -> gamma~ * beta of a batch norm's shift."""

    def __init__(self, batch_norm: _BatchNorm) -> None:
        super().__init__()
        self.batch_norm = (batch_norm,)  # in a tuple: a submodule would list its parameters twice

    def forward(self, shift: Tensor) -> Tensor:
        return self.batch_norm[0].weight * shift


class LiveFilters(nn.Module):
    """The parametrization of a convolution's weight in which the filters that its batch norm switches off are zero."""

    def __init__(self, batch_norm: _BatchNorm) -> None:
        super().__init__()
        self.batch_norm = (batch_norm,)

    def forward(self, weight: Tensor) -> Tensor:
        return live_filters(weight, self.batch_norm[0].weight)


class STRBatchNorm(STROfFilters):
    """STR on batch-norm scales."""

    def attach(self, model: nn.Module) -> nn.Module:
        self.fed_by = batch_norm_of_convolution(model)
        if not self.fed_by:
            raise UserError(
                "str-bn prunes by the scales of batch norms, and this network has no convolution whose output goes to "
                "a batch norm alone; take str-filter-pruning, which needs none, or a network with batch norm"
            )
        for name, batch_norm in self.fed_by.items():
            if batch_norm.weight.dtype != wide(batch_norm.weight):
                raise UserError(
                    f"str-bn prunes by the scales of batch norms. They begin at 1, and those behind {name} are "
                    f"{str(batch_norm.weight.dtype).removeprefix('torch.')}, which rounds their steps away: keep batch "
                    "norms in float32, or keep the network in float32 and train under autocast"
                )
        return super().attach(model)

    def parametrization(self, name: str, layer: CountedLayer) -> nn.Module | None:
        batch_norm = self.fed_by.get(name)
        if batch_norm is None:
            return None
        parametrize.register_parametrization(batch_norm, "weight", self.soft_threshold(batch_norm.weight))
        parametrize.register_parametrization(batch_norm, "bias", ScaledShift(batch_norm))
        return LiveFilters(batch_norm)

    def operand(self, layer: nn.Module) -> Operand:
        held, weight = attached(layer)
        return Operand(*attached(held.batch_norm[0]), weight[0].numel())
