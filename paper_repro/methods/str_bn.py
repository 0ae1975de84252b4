"""STR on the scales of batch norm: filter pruning without new weights (STR-BN, by the authors of STR).

The scale gamma of every batch norm that follows a convolution is soft-thresholded, with one s per batch norm:
gamma~ = S_g(gamma, s). Its shift is multiplied by the same, so that

    y = gamma~ * (x_hat + beta),    x_hat: the normalized input

and a channel with gamma~ = 0 is off: it is zero whatever comes in. The filter that makes this channel is then worth
nothing, and is shown as exact zeros in the convolution's weight, in training and when finalized: that is what
sparsity and MACs are measured on. The classifier has no batch norm and stays dense.

Source: the authors' note and code of STR-BN. They report no numbers, and their settings are s_init = -100 with the
weight decay of the dense network. Choice taken here: a batch norm that is fed by anything but a convolution used
there alone keeps its plain scale.
"""

from __future__ import annotations

from collections import Counter

import torch.fx
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parametrize

from paper_repro.accounting import CountedLayer
from paper_repro.errors import UserError
from paper_repro.methods.base import attached
from paper_repro.methods.str import STR

Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d


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

    def threshold(self) -> Tensor:
        threshold: Tensor = attached(self.batch_norm[0])[0].threshold()
        return threshold

    def forward(self, weight: Tensor) -> Tensor:
        live = self.batch_norm[0].weight.detach() != 0
        return weight * live.to(weight.dtype).view(-1, *[1] * (weight.dim() - 1))


class STRBatchNorm(STR):
    """STR on batch-norm scales; arguments as for STR. Thresholds apply to scales, not to weights."""

    def __init__(self, s_init: float = -100.0, g: str = "sigmoid") -> None:
        super().__init__(s_init, g)

    def attach(self, model: nn.Module) -> nn.Module:
        self.fed_by = batch_norm_of_convolution(model)
        if not self.fed_by:
            raise UserError(
                "str-bn prunes by the scales of batch norms, and this network has no convolution whose output goes to "
                "a batch norm alone; take str-filter-pruning, or a network with batch norm"
            )
        return super().attach(model)

    def parametrization(self, name: str, layer: CountedLayer) -> nn.Module | None:
        batch_norm = self.fed_by.get(name)
        if batch_norm is None:
            return None
        parametrize.register_parametrization(batch_norm, "weight", self.soft_threshold(batch_norm.weight))
        parametrize.register_parametrization(batch_norm, "bias", ScaledShift(batch_norm))
        return LiveFilters(batch_norm)


def batch_norm_of_convolution(model: nn.Module) -> dict[str, _BatchNorm]:
    """Name of a convolution -> the batch norm that takes its output, where nothing else does, and both are used once.

    Read off the traced forward pass, because the order of definition need not be the order of computation. Raises
    UserError when the network cannot be traced.
    """
    try:
        graph = torch.fx.symbolic_trace(model).graph
    except Exception as error:  # tracing runs the model's own code, which may raise anything
        raise UserError(
            f"str-bn reads which batch norm follows which convolution off a trace of the network, and torch.fx cannot "
            f"trace this one ({error}); take str-filter-pruning, which needs no trace"
        ) from error
    modules = dict(model.named_modules())
    calls = [node for node in graph.nodes if node.op == "call_module"]
    uses = Counter(node.target for node in calls)
    pairs: dict[str, _BatchNorm] = {}
    for node in calls:
        batch_norm, source = modules[node.target], node.all_input_nodes[0]
        if not isinstance(batch_norm, _BatchNorm) or not batch_norm.affine or source not in calls:
            continue
        alone = len(source.users) == 1 and uses[node.target] == uses[source.target] == 1
        if alone and isinstance(modules[source.target], Convolution):
            pairs[source.target] = batch_norm
    return pairs
