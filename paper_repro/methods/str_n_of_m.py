"""STR under an N:M constraint: its thresholds choose among the weights that the pattern leaves; an experiment of this
project.

    W -> S_g(W * mask, s),    mask: the N largest of every M weights (``n_of_m.py``), ranked anew in each forward pass

Everything else is STR. What the pattern takes is treated as what a threshold takes: it gets no gradient and decays,
and comes back when it outgrows another weight of its group. So where a threshold settles follows as for STR
(``balance.py``), with L1 summed over the weights in use. Layers that the pattern does not fit have their threshold
alone.
"""

from __future__ import annotations

from torch import Tensor, nn

from paper_repro.accounting import CountedLayer, counted_layers
from paper_repro.errors import UserError
from paper_repro.methods.base import attached
from paper_repro.methods.n_of_m import Pattern, pattern
from paper_repro.methods.soft_threshold import SoftThreshold
from paper_repro.methods.str import STR
from paper_repro.methods.str_target import Operand


class NofMSoftThreshold(SoftThreshold):
    """W -> S_g(W * mask, s); without a pattern, SoftThreshold."""

    pattern: Pattern | None = None

    def candidates(self, weight: Tensor) -> Tensor:
        """The weights that the pattern leaves, the others as zeros."""
        return weight if self.pattern is None else weight * self.pattern.mask(weight)

    def forward(self, weight: Tensor) -> Tensor:
        return super().forward(self.candidates(weight))


class STRNofM(STR):
    """STR with a ``distribution`` such as "2:4"."""

    operator = NofMSoftThreshold

    def __init__(
        self,
        distribution: str = "2:4",
        s_init: float = -3200.0,
        g: str = "sigmoid",
        target_sparsity_pct: float | None = None,
        target: str = "controller",
        start: float = 0.2,
        end: float = 0.6,
        slope: float = 1.0,
    ) -> None:
        super().__init__(s_init, g, "layer", target_sparsity_pct, target, start, end, slope)
        self.pattern = pattern(distribution)

    def attach(self, model: nn.Module) -> nn.Module:
        layers = counted_layers(model).values()
        fitting = sum(layer.weight.numel() for layer in layers if self.pattern.fits(layer))
        taken = self.pattern.sparsity_pct * fitting / max(1, sum(layer.weight.numel() for layer in layers))
        if self.target_sparsity_pct is not None and self.target_sparsity_pct < taken:
            raise UserError(
                f"target_sparsity_pct = {self.target_sparsity_pct:g} is out of reach: the pattern {self.pattern.n}:"
                f"{self.pattern.m} alone takes {taken:.2f} % of the weights; ask for more"
            )
        return super().attach(model)

    def parametrization(self, name: str, layer: CountedLayer) -> nn.Module:
        soft = self.soft_threshold(layer.weight)
        assert isinstance(soft, NofMSoftThreshold)
        if self.pattern.fits(layer):
            soft.pattern = self.pattern
        return soft

    def operand(self, layer: nn.Module) -> Operand:
        soft, raw = attached(layer)
        return Operand(soft, soft.candidates(raw), weights_each=1)
