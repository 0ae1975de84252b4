"""GMP: gradual magnitude pruning (Zhu and Gupta, 2017), the paper's main baseline.

Every layer keeps its largest weights. The share it prunes grows along the cubic schedule, from 20 % to 80 % of
training in 60 stages, which is once per epoch from epoch 20 to 80 of the paper's 100. Pruned weights get no gradient,
but decay.

Two choices differ from the authors' code: masks are ranked anew at each stage, not at each forward pass (the rate is
constant between stages, and ranking every weight at every step makes training several times slower); and the last
stage reaches the target exactly, where theirs stops at 0.9999954 of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from paper_repro.accounting import CountedLayer, counted_layers
from paper_repro.errors import UserError
from paper_repro.methods.base import Method, attached
from paper_repro.methods.distributions import uniform
from paper_repro.methods.schedules import cubic


class Mask(nn.Module):
    """The parametrization W -> W * mask; the mask is saved with the model."""

    mask: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", torch.ones_like(weight))

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.mask

    @torch.no_grad()
    def keep_largest(self, weight: Tensor, sparsity_pct: float) -> None:
        """Mask exactly round(sparsity * numel) weights, those of the smallest magnitude."""
        magnitude = weight.detach().abs().flatten()
        count = round(sparsity_pct / 100.0 * magnitude.numel())
        flat = torch.ones_like(magnitude)
        flat[magnitude.topk(count, largest=False, sorted=False).indices] = 0.0
        self.mask.copy_(flat.view(weight.shape))


class GMP(Method):
    """Prunes to one sparsity in all layers, or to a ``budget`` (layer name -> sparsity in percent)."""

    def __init__(
        self,
        sparsity_pct: float | None = None,
        budget: Mapping[str, float] | None = None,
        keep_dense: Iterable[str] = (),
        start: float = 0.2,
        end: float = 0.8,
        updates: int = 60,
    ) -> None:
        if (sparsity_pct is None) == (budget is None):
            raise UserError("gmp takes either sparsity_pct or budget")
        if not 0.0 <= start < end <= 1.0 or updates < 1:
            raise UserError(
                f"gmp prunes from start to end of training: 0 <= {start} < {end} <= 1, in updates = {updates} >= 1"
            )
        self.sparsity_pct, self.budget, self.keep_dense = sparsity_pct, budget, tuple(keep_dense)
        self.start, self.end, self.updates = start, end, updates

    def attach(self, model: nn.Module) -> nn.Module:
        layers = counted_layers(model)
        if self.sparsity_pct is not None:
            self.targets = uniform(layers, self.sparsity_pct, self.keep_dense)
        else:
            self.targets = dict(self.budget or {})
            if set(self.targets) != set(layers):
                differ = sorted(set(self.targets) ^ set(layers))
                raise UserError(f"budget does not fit the network; layers that differ: {differ}")
        return super().attach(model)

    def parametrization(self, name: str, layer: CountedLayer) -> nn.Module:
        return Mask(layer.weight)

    def before_step(self, model: nn.Module, step: int, total_steps: int) -> None:
        stage, fraction = cubic(step / total_steps, self.start, self.end, self.updates)
        previous, _ = cubic((step - 1) / total_steps, self.start, self.end, self.updates)
        if stage == previous:
            return
        for name, layer in counted_layers(model).items():
            mask, raw = attached(layer)
            mask.keep_largest(raw, fraction * self.targets[name])
