"""SR-STE: training N:M sparse networks from scratch (Zhou et al., ICLR 2021, arXiv 2102.04010).

The forward pass keeps the N largest of every M weights (``n_of_m.py``), ranked anew each time. The gradient goes to
all weights; those that are not used decay on top of it, so that the ranking comes to rest:

    dL/dW = G + decay * (1 - mask) * W

Read in the authors' code: decay is 2e-4, beside a weight decay of 5e-5, and is added to the gradient, before momentum.
It is added in each process, whose gradients are then summed over the processes, it seems (that file was not found): on
their 8 GPUs the decay would be 8 times as large. Here it is as written, on any number of processes.
Groups run along the input channels, as in their second release; in the first, which the paper's table is of, they ran
along the flattened weight. All convolutions are sparse there, the first one included, whose three channels M does not
divide here; the last layer is dense (``keep_dense=["last"]``).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from paper_repro.accounting import CountedLayer, counted_layers
from paper_repro.methods.base import Method, attached_layers
from paper_repro.methods.distributions import n_of_m
from paper_repro.methods.n_of_m import Pattern, pattern
from paper_repro.methods.straight_through import straight_through


class NofMStraightThrough(nn.Module):
    """W -> W * (mask of the pattern), straight through."""

    def __init__(self, pattern: Pattern) -> None:
        super().__init__()
        self.pattern = pattern

    def forward(self, weight: Tensor) -> Tensor:
        return straight_through(weight, weight * self.pattern.mask(weight))


class SRSTE(Method):
    """``distribution`` is the pattern, such as "2:4"; ``decay`` = 0 is the plain straight-through estimator."""

    def __init__(self, distribution: str = "2:4", decay: float = 2e-4, keep_dense: Iterable[str] = ()) -> None:
        self.pattern, self.decay, self.keep_dense = pattern(distribution), decay, tuple(keep_dense)

    def attach(self, model: nn.Module) -> nn.Module:
        self.target = n_of_m(counted_layers(model), self.pattern, self.keep_dense)
        return super().attach(model)

    def parametrization(self, name: str, layer: CountedLayer) -> nn.Module | None:
        return NofMStraightThrough(self.pattern) if self.target[name] else None

    @torch.no_grad()
    def after_backward(self, model: nn.Module, step: int, total_steps: int) -> None:
        for held, raw in attached_layers(model).values():
            if raw.grad is not None:
                raw.grad.add_(raw * (1.0 - held.pattern.mask(raw)), alpha=self.decay)
