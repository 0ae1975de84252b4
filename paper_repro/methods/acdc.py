"""AC/DC: alternating compressed / decompressed training (Peste et al., NeurIPS 2021, arXiv 2106.12379).

The network is dense for a tenth of training, then in turns sparse and dense for a twentieth each, and sparse for the
last 15 %: of the 100 epochs of the authors' ResNet50, epochs 10 to 14, 20 to 24, ..., 70 to 74 and 85 to 99 are
sparse. At the start of each sparse phase the smallest weights of all layers together go, at once to the target. At the
end of it they come back from zero, and all momentum is forgotten (``--reset_momentum_after_recycling`` in the authors'
scripts).

Read in the authors' code: their phases are given in epochs, here in shares of training. Their threshold keeps what is
strictly above it, one weight fewer; here exactly as many stay as were asked for. Their pruned weights are zero
throughout; here they are set to zero when they come back, which no forward pass can tell apart. Their variants with one
sparsity in all layers or with dense first and last layers are left out. Their recipe is STR's without label smoothing,
which is not part of the method.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from paper_repro.errors import UserError
from paper_repro.methods.base import attached_layers, momentum_of
from paper_repro.methods.magnitude import MagnitudePruning
from paper_repro.methods.mask import Mask
from paper_repro.methods.schedules import Schedule


@dataclass(frozen=True)
class Phases(Schedule):
    """1 in sparse phases and 0 in dense ones; what begins is a phase, of one stage or more."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.updates % 20:
            raise UserError(f"updates = {self.updates}: phases are twentieths of training, so it is a multiple of 20")

    def value(self, stage: int) -> float:
        time = stage / self.updates
        return float(time >= 0.85 or (0.1 <= time < 0.75 and int(20.0 * time + 1e-9) % 2 == 0))

    def starting(self, step: int, total_steps: int) -> float | None:
        now, before = (self.value(self.stage(at / total_steps)) for at in (step, step - 1))
        return None if now == before else now


class ACDC(MagnitudePruning):
    """Prunes the network to one overall sparsity; the authors' "uniform" has ``keep_dense=["first", "last"]``."""

    distributions = ("global", "uniform", "erk", "balance")
    schedule = Phases(0.0, 1.0, updates=20)

    def sparse(self, weight: Tensor) -> Mask:
        return Mask(weight)

    @torch.no_grad()
    def before_step(self, model: nn.Module, step: int, total_steps: int) -> None:
        if self.schedule.starting(step, total_steps) != 0.0:
            super().before_step(model, step, total_steps)
            return
        for mask, raw in attached_layers(model).values():
            if raw.requires_grad:
                raw.mul_(mask.mask)  # what comes back starts at zero
            mask.mask.fill_(1.0)

    def before_update(self, model: nn.Module, optimizer: torch.optim.Optimizer, step: int, total_steps: int) -> None:
        if self.schedule.starting(step, total_steps) == 0.0:
            for parameter in model.parameters():
                momentum = momentum_of(optimizer, parameter)
                if momentum is not None:
                    momentum.zero_()
