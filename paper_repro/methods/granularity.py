"""Which weights share one threshold parameter s: STR's own choice and its extensions.

layer    one s per layer (the method of the paper)
global   one s for the whole network (STR-GS, Table 9)
filter   one s per output filter (of a transposed convolution per input channel, the first dimension of its weight)
weight   one s per weight: the network learns its mask (appendix A.5.3)
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from paper_repro.methods.precision import wide

# what of a weight has the shape of its s
GRANULARITIES: dict[str, Callable[[Tensor], Tensor]] = {
    "layer": lambda weight: weight.new_empty(()),
    "global": lambda weight: weight.new_empty(()),
    "filter": lambda weight: weight.new_empty((len(weight),) + (1,) * (weight.dim() - 1)),
    "weight": lambda weight: weight,
}


def thresholds_for(granularity: str, s_init: float) -> Callable[[Tensor], nn.Parameter]:
    """For one network, a function from a weight to its s, which broadcasts to it. Of "global" all have the same: an
    optimizer updates it once, and the state dict holds it under the name of every layer.
    """
    made: list[nn.Parameter] = []

    def threshold(weight: Tensor) -> nn.Parameter:
        if not made or granularity != "global":
            like = GRANULARITIES[granularity](weight.detach())
            made.append(nn.Parameter(torch.full_like(like, s_init, dtype=wide(weight))))
        return made[-1]

    return threshold
