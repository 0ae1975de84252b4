"""BinMask: a score per weight whose sign is the mask (Jia and Rinard, 2023).

    W -> W * (score >= 0),    dL/dscore = G * W + pressure where the gate is open    (G: the gradient of the product)

The gate passes the gradient unchanged, and a constant ``pressure``, the derivative of a penalty on the number of
weights, closes it. Scores start at |N(0, 0.01)|, so that the network starts dense, are held in [-1, 1], and do not
decay.

The paper's code was not found; this is the mask of the same authors' eevbnn (github jia-kai/eevbnn, ``net_bin.py``),
where weights are binary and held in [-1, 1] too. There the pressure is 1e-7, under Adam, which scales it up where
there is no other gradient: no value carries over to SGD. The finished network has the mask of the last step's forward
pass. Sparsity cannot be asked for: ``pressure`` decides it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from paper_repro.accounting import CountedLayer
from paper_repro.methods.base import Method, attached_layers, decay_groups, from_first_process
from paper_repro.methods.optg import ScoredMask
from paper_repro.methods.precision import wide

SPREAD = 0.01  # of the first scores


class BinMask(Method):
    """Under ``pressure`` alone an open gate's score falls by pressure * lr / (1 - momentum) in each step."""

    def __init__(self, pressure: float = 1e-7) -> None:
        self.pressure = pressure

    def parametrization(self, name: str, layer: CountedLayer) -> ScoredMask:
        drawn = torch.randn_like(layer.weight, dtype=wide(layer.weight), requires_grad=False)
        return ScoredMask(layer.weight, SPREAD * from_first_process(drawn).abs())

    def param_groups(self, model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
        return decay_groups(model, weight_decay, [([mask.score for mask, _ in attached_layers(model).values()], 0.0)])

    @torch.no_grad()
    def before_step(self, model: nn.Module, step: int, total_steps: int) -> None:
        for mask, _ in attached_layers(model).values():
            mask.score.clamp_(-1.0, 1.0)
            mask.mask.copy_(mask.score >= 0.0)

    @torch.no_grad()
    def after_backward(self, model: nn.Module, step: int, total_steps: int) -> None:
        for mask, _ in attached_layers(model).values():
            if mask.score.grad is not None:
                mask.score.grad.add_(mask.mask, alpha=self.pressure)
