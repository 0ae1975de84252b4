"""Continuous sparsification: a gate per weight that hardens in training (Savarese, Silva and Maire, NeurIPS 2020).

    W -> W * sigmoid(b s) / sigmoid(s_init),    b = 200^x at the share x of the time until ``end`` of training

Each weight has an s, which starts at ``s_init``, is trained by the same SGD without weight decay, and is held down by
a penalty of 1e-8 on the sum of the gates. From ``end`` on a gate is open (s > 0) or closed, and weights alone learn.

Read in the authors' code (CIFAR only): b is set once per epoch; after three rounds of 85 epochs, between which gates
that stayed open are reset and weights rewound to epoch 2, the gates are made hard, and the network is trained for
another 85. Shortcuts and the last layer have no gates. Here all layers have them, there is one round, b is set at every
step, and the second half of training is with hard gates: rounds and rewinding do not fit into one run. Sparsity cannot
be asked for: ``s_init`` decides it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from paper_repro.accounting import CountedLayer
from paper_repro.errors import UserError
from paper_repro.methods.base import Method, attached_layers, decay_groups
from paper_repro.methods.precision import wide

FINAL_SHARPNESS = 200.0


class Gate(nn.Module):
    """W -> W * gate(s); ``sharpness`` (shape ()) and whether the gate is ``hard`` are saved with the model."""

    sharpness: Tensor
    hard: Tensor

    def __init__(self, weight: Tensor, s_init: float) -> None:
        super().__init__()
        self.s = nn.Parameter(torch.full_like(weight, s_init, dtype=wide(weight), requires_grad=False))
        self.register_buffer("sharpness", torch.ones((), device=weight.device))
        self.register_buffer("hard", torch.zeros((), device=weight.device, dtype=torch.bool))
        self.scale = 1.0 / torch.sigmoid(torch.tensor(s_init)).item()

    def forward(self, weight: Tensor) -> Tensor:
        gate = torch.where(self.hard, (self.s > 0.0).to(self.s.dtype), torch.sigmoid(self.sharpness * self.s))
        return weight * (self.scale * gate).to(weight.dtype)


class ContinuousSparsification(Method):
    """``s_init`` decides the sparsity: -0.1 to 0.1 in the paper. ``penalty`` is that on each gate."""

    def __init__(self, s_init: float = 0.0, penalty: float = 1e-8, end: float = 0.5) -> None:
        if not 0.0 < end <= 1.0:
            raise UserError(f"end = {end:g} is the share of training after which gates are hard: above 0 and at most 1")
        self.s_init, self.penalty, self.end = s_init, penalty, end

    def parametrization(self, name: str, layer: CountedLayer) -> Gate:
        return Gate(layer.weight, self.s_init)

    def param_groups(self, model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
        return decay_groups(model, weight_decay, [([gate.s for gate, _ in attached_layers(model).values()], 0.0)])

    def before_step(self, model: nn.Module, step: int, total_steps: int) -> None:
        for gate, _ in attached_layers(model).values():
            gate.sharpness.fill_(FINAL_SHARPNESS ** min(step / total_steps / self.end, 1.0))
            gate.hard.fill_(step / total_steps >= self.end or step == total_steps - 1)

    @torch.no_grad()
    def after_backward(self, model: nn.Module, step: int, total_steps: int) -> None:
        for gate, _ in attached_layers(model).values():
            if gate.hard:
                gate.s.grad = None  # a gradient of 0 would let the optimizer's momentum move s on, and flip gates
            elif gate.s.grad is not None:
                soft = torch.sigmoid(gate.sharpness * gate.s)
                gate.s.grad.add_(gate.sharpness * soft * (1.0 - soft), alpha=self.penalty * gate.scale)
