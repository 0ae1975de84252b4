"""Which weights share one threshold parameter s: STR's own choice and its extensions.

    layer    one s per layer (the method of the paper)
    global   one s for the whole network (STR-GS, Table 9)
    filter   one s per output filter
    weight   one s per weight: the network learns its mask (appendix A.5.3)

A granularity is a function that starts a network: it returns a function from a weight to the s of that weight, which
broadcasts to it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from paper_repro.errors import unknown
from paper_repro.methods.base import wide

ThresholdFor = Callable[[Tensor], nn.Parameter]


def per_layer(s_init: float) -> ThresholdFor:
    """s of shape ()."""
    return lambda weight: nn.Parameter(torch.full((), s_init, dtype=wide(weight), device=weight.device))


def shared(s_init: float) -> ThresholdFor:
    """The same s, of shape (), for every weight. A module's parameters list it once, so an optimizer updates it once;
    the state dict holds it under the name of every layer.
    """
    made: list[nn.Parameter] = []

    def threshold(weight: Tensor) -> nn.Parameter:
        if not made:
            made.append(per_layer(s_init)(weight))
        return made[0]

    return threshold


def per_filter(s_init: float) -> ThresholdFor:
    """s of shape (out, 1, 1, 1) for a convolution, (out, 1) for a fully connected layer."""
    return lambda weight: nn.Parameter(
        torch.full((weight.shape[0],) + (1,) * (weight.dim() - 1), s_init, dtype=wide(weight), device=weight.device)
    )


def per_weight(s_init: float) -> ThresholdFor:
    """s of the weight's own shape and memory format."""
    return lambda weight: nn.Parameter(torch.full_like(weight, s_init, dtype=wide(weight), requires_grad=False))


GRANULARITIES: dict[str, Callable[[float], ThresholdFor]] = {
    "layer": per_layer,
    "global": shared,
    "filter": per_filter,
    "weight": per_weight,
}


def granularity(name: str) -> Callable[[float], ThresholdFor]:
    """The granularity of that name; a misspelt one is an error that names the nearest."""
    if name not in GRANULARITIES:
        raise unknown("granularity", name, GRANULARITIES)
    return GRANULARITIES[name]
