"""STR: soft threshold weight reparameterization (Kusupati et al., ICML 2020).

The forward pass of every layer uses S_g(W, s) = sign(W) * relu(|W| - g(s)). The scalar s of each layer is trained by
the same SGD, at the same learning rate and weight decay, as the weights. It starts so low that g(s) = 0; weight decay
lifts it towards 0 until g(s) bites, and from then on loss and decay together find each layer's sparsity.

The extensions of the paper that keep the operator and change what shares an s are the same method with another
``granularity``: "global" is STR-GS (Table 9), "filter" one s per output filter, "weight" mask learning (A.5.3).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from paper_repro.accounting import CountedLayer, counted_layers
from paper_repro.errors import unknown
from paper_repro.methods.base import Method, attached
from paper_repro.methods.granularity import granularity as granularity_called
from paper_repro.methods.soft_threshold import soft_threshold

G: dict[str, Callable[[Tensor], Tensor]] = {"sigmoid": torch.sigmoid, "exp": torch.exp}


class SoftThreshold(nn.Module):
    """The parametrization W -> S_g(W, s), with a learned s (float32) that broadcasts to W."""

    def __init__(self, s: nn.Parameter, g: str = "sigmoid") -> None:
        super().__init__()
        self.s = s
        self.g = g

    def threshold(self) -> Tensor:
        return G[self.g](self.s)

    def forward(self, weight: Tensor) -> Tensor:
        return soft_threshold(weight, self.threshold())


class STR(Method):
    """STR; ``g`` is "sigmoid" for CNNs and "exp" for RNNs (paper, appendix A.1), ``granularity`` says which weights
    share one s.
    """

    def __init__(self, s_init: float = -3200.0, g: str = "sigmoid", granularity: str = "layer") -> None:
        if g not in G:
            raise unknown("threshold function g", g, G)
        self.s_init, self.g = float(s_init), g
        self.granularity = granularity_called(granularity)

    def attach(self, model: nn.Module) -> nn.Module:
        self.threshold_for = self.granularity(self.s_init)  # anew for each network: none shares its s with another
        return super().attach(model)

    def soft_threshold(self, weight: Tensor) -> SoftThreshold:
        """A new operator for ``weight``, while a network is being attached."""
        return SoftThreshold(self.threshold_for(weight), self.g)

    def parametrization(self, name: str, layer: CountedLayer) -> nn.Module | None:
        return self.soft_threshold(layer.weight)

    def thresholds(self, model: nn.Module) -> dict[str, float]:
        """One number per sparse layer: g(s), or its mean where a layer has more than one s."""
        return {
            name: attached(layer)[0].threshold().mean().item()
            for name, layer in counted_layers(model).items()
            if parametrize.is_parametrized(layer, "weight")
        }
