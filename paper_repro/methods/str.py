"""STR: soft threshold weight reparameterization (Kusupati et al., ICML 2020).

The forward pass of every layer uses S_g(W, s) = sign(W) * relu(|W| - g(s)). The scalar s of each layer is trained by
the same SGD, at the same learning rate and weight decay, as the weights. It starts so low that g(s) = 0; weight decay
lifts it towards 0 until g(s) bites, and from then on loss and decay together find each layer's sparsity.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from paper_repro.accounting import CountedLayer, counted_layers
from paper_repro.errors import unknown
from paper_repro.methods.base import Method, attached
from paper_repro.methods.soft_threshold import soft_threshold

G: dict[str, Callable[[Tensor], Tensor]] = {"sigmoid": torch.sigmoid, "exp": torch.exp}


class SoftThreshold(nn.Module):
    """The parametrization W -> S_g(W, s), with one learned scalar s (float32, shape ())."""

    def __init__(self, s_init: float, g: str = "sigmoid") -> None:
        super().__init__()
        self.s = nn.Parameter(torch.tensor(float(s_init)))
        self.g = g

    def threshold(self) -> Tensor:
        return G[self.g](self.s)

    def forward(self, weight: Tensor) -> Tensor:
        return soft_threshold(weight, self.threshold())


class STR(Method):
    """STR with one threshold per layer; ``g`` is "sigmoid" for CNNs and "exp" for RNNs (paper, appendix A.1)."""

    def __init__(self, s_init: float = -3200.0, g: str = "sigmoid") -> None:
        if g not in G:
            raise unknown("threshold function g", g, G)
        self.s_init, self.g = s_init, g

    def parametrization(self, name: str, layer: CountedLayer) -> nn.Module:
        return SoftThreshold(self.s_init, self.g)

    def thresholds(self, model: nn.Module) -> dict[str, float]:
        return {name: attached(layer)[0].threshold().item() for name, layer in counted_layers(model).items()}
