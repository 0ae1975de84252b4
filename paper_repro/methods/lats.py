"""S-LATS and LATS: one soft threshold for the whole network, raised on a schedule (Chen et al., ICLR 2023, arXiv
2302.13019).

    W -> sign(W) * max(|W| - d, 0),    d at the share x of training = final_threshold * f(x)

The gradient passes the max unchanged, to pruned weights as well; d has none. With SGD this is the proximal method for
an L1 penalty of strength d' / lr, so f is the integral of the learning rate:

    S-LATS   f(x) = x + sin(pi x) / pi, the integral of a cosine schedule, at every step
    LATS     the same in steps: epoch n of N adds (1 + cos(pi n / N)) / (N + 1), spread evenly over its steps

Read in the authors' code: warm-up counts as training, all convolutions and the last layer have the threshold, and d is
set after each optimizer step, so that the last step ends at f(1) = 1. Here it is set before each step: the last one has
1 - f < 1e-6 in 1000 steps. The two differ by less than 0.004 d, and LATS has 100 epochs in every run. A weight of
exactly 0 gets the gradient too. In their code d is not saved with the model; here it is. Two variants of theirs are
left out: PGH, in which f' also decays geometrically, and d = final_threshold from the start. Sparsity cannot be asked
for: ``final_threshold`` decides it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from paper_repro.accounting import CountedLayer
from paper_repro.errors import UserError
from paper_repro.methods.base import Method, attached_layers
from paper_repro.methods.straight_through import StraightThrough


class SoftShrink(StraightThrough):
    """W -> sign(W) * relu(|W| - threshold), straight through; the threshold starts at 0."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__(weight)
        self.threshold.zero_()

    def shrink(self, weight: Tensor) -> Tensor:
        return weight - weight.clamp(-self.threshold, self.threshold)


class LATS(Method):
    """``final_threshold``: d at the end of training. ``epochs``: the N of LATS; None is S-LATS."""

    def __init__(self, final_threshold: float, epochs: int | None = None) -> None:
        if final_threshold <= 0.0 or (epochs is not None and epochs < 1):
            raise UserError(f"final_threshold = {final_threshold:g} and epochs = {epochs} must be above 0")
        self.final_threshold, self.epochs = final_threshold, epochs

    def parametrization(self, name: str, layer: CountedLayer) -> nn.Module:
        return SoftShrink(layer.weight)

    def share(self, time: float) -> float:
        """f: the share of ``final_threshold`` that is reached at ``time``, from 0 to 1."""
        if self.epochs is None:
            return time + math.sin(math.pi * time) / math.pi
        rates = [(1.0 + math.cos(math.pi * n / self.epochs)) / (self.epochs + 1) for n in range(self.epochs)]
        whole = min(int(time * self.epochs), self.epochs - 1)
        return sum(rates[:whole]) + (time * self.epochs - whole) * rates[whole]

    @torch.no_grad()
    def before_step(self, model: nn.Module, step: int, total_steps: int) -> None:
        for soft, _ in attached_layers(model).values():
            soft.threshold.fill_(self.final_threshold * self.share(step / total_steps))

    def thresholds(self, model: nn.Module) -> dict[str, float]:
        return {name: soft.threshold.item() for name, (soft, _) in attached_layers(model).items()}
