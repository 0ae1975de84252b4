"""Which batch norm follows which convolution, and what a channel that is off does to the filter that makes it."""

from __future__ import annotations

from collections import Counter

import torch.fx
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from paper_repro.accounting import unwrapped
from paper_repro.errors import UserError

Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d


def live_filters(weight: Tensor, scale: Tensor) -> Tensor:
    """``weight`` with exact zeros for the filters whose ``scale`` (one number per filter, any shape) is zero."""
    live = scale.detach() != 0
    return weight * live.to(weight.dtype).view(-1, *[1] * (weight.dim() - 1))


def batch_norm_of_convolution(model: nn.Module) -> dict[str, _BatchNorm]:
    """Name of a convolution -> the batch norm that takes its output, where nothing else does, and both are used once.

    Read off the traced forward pass, because the order of definition need not be the order of computation. Raises
    UserError when the network cannot be traced.
    """
    model = unwrapped(model)
    try:
        graph = torch.fx.symbolic_trace(model).graph
    except Exception as error:  # tracing runs the model's own code, which may raise anything
        raise UserError(
            f"which batch norm follows which convolution is read off a trace of the network, and torch.fx cannot trace "
            f"this one ({error}); take a network without data-dependent Python branches, or prune weights (str)"
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
