"""Sparse training: the network has its final sparsity from the first step, and now and then rewires.

At each stage of the schedule a share of every layer's weights is dropped, the smallest, and as many are grown
elsewhere, from zero and without momentum. Methods differ in where they grow (``growth_score``) and in how many each
layer gets (``allocate``). The first mask is random. A weight that is dropped and grown in one rewiring keeps its value.

A weight stays exactly zero where it grows and its gradient is zero to the end, as behind a dead unit. The network then
measures sparser than its masks are.

All of the originals rewire after the optimizer's step, or in place of it. Here it is before the step, so that what has
just grown moves with it. Where a spec clips the gradient's norm, that norm includes missing weights at the
steps at which their gradients are looked at. No recipe of these methods clips.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from paper_repro.errors import UserError
from paper_repro.methods.base import attached_layers, from_first_process, momentum_of
from paper_repro.methods.distributions import BUDGETS, Budget
from paper_repro.methods.magnitude import ScheduledPruning
from paper_repro.methods.mask import Mask
from paper_repro.methods.schedules import CosineDecay, Hold


@dataclass(frozen=True)
class Layer:
    """What a rewiring looks at; all are shaped like the weight."""

    parametrization: Any  # a ``Mask``, of the method's kind
    raw: Tensor  # weight, with its gradient
    momentum: Tensor  # of the optimizer; the gradient where it has none (yet)
    state: tuple[Tensor, ...]  # all that the optimizer keeps of the weight

    @classmethod
    def of(cls, parametrization: Any, raw: Tensor, optimizer: torch.optim.Optimizer) -> Layer:
        """``raw`` has a gradient."""
        assert raw.grad is not None
        momentum = momentum_of(optimizer, raw)
        kept = optimizer.state.get(raw, {}).values()
        state = tuple(value for value in kept if isinstance(value, Tensor) and value.shape == raw.shape)
        return cls(parametrization, raw, raw.grad if momentum is None else momentum, state)

    @property
    def mask(self) -> Tensor:
        mask: Tensor = self.parametrization.mask
        return mask


Layers = Mapping[str, Layer]


class SparseTraining(ScheduledPruning):
    """Drops and grows along ``schedule``, whose value is the share of a layer's weights that is dropped; ``drop``
    replaces its height.
    """

    distributions = tuple(BUDGETS)
    distributes_once = True
    schedule: Hold | CosineDecay
    missing_momentum = False  # whether missing weights collect momentum, and have it when they grow

    def __init__(
        self,
        sparsity_pct: float | None = None,
        budget: Mapping[str, float] | None = None,
        distribution: str | None = None,
        keep_dense: Iterable[str] = (),
        drop: float | None = None,
        start: float | None = None,
        end: float | None = None,
        updates: int | None = None,
    ) -> None:
        super().__init__(sparsity_pct, budget, distribution, keep_dense, start, end, updates)
        if drop is not None:
            if not 0.0 < drop <= 1.0:
                raise UserError(f"drop = {drop:g} is the share of weights that is replaced: above 0 and at most 1")
            self.schedule = replace(self.schedule, height=drop)

    def sparse(self, weight: Tensor) -> Mask:
        return Mask(weight)

    def attach(self, model: nn.Module) -> nn.Module:
        super().attach(model)
        assert isinstance(self.target, Budget)
        for name, (mask, raw) in attached_layers(model).items():
            count = raw.numel() - round(self.target[name] / 100.0 * raw.numel())
            mask.mask.copy_(largest(from_first_process(torch.rand_like(raw)), count))
        return model

    def before_step(self, model: nn.Module, step: int, total_steps: int) -> None:
        wanted = self.looks_at_gradients and self.schedule.starting(step, total_steps) is not None
        for mask, _ in attached_layers(model).values():
            mask.dense_gradient = wanted

    @torch.no_grad()
    def before_update(self, model: nn.Module, optimizer: torch.optim.Optimizer, step: int, total_steps: int) -> None:
        share = self.schedule.starting(step, total_steps) if step > 0 else None
        # a layer that is frozen, or was not used, has no gradient, and stays as it is
        layers = {name: pair for name, pair in attached_layers(model).items() if pair[1].grad is not None}
        if share is not None and layers:
            self.rewire({name: Layer.of(mask, raw, optimizer) for name, (mask, raw) in layers.items()}, share)
        for mask, raw in layers.values():
            if not self.missing_momentum and (share is not None or mask.dense_gradient):
                assert raw.grad is not None
                raw.grad.mul_(mask.mask)  # the optimizer moves the weights that are there

    def rewire(self, layers: Layers, share: float) -> int:
        """Drop the smallest weights of each layer and grow as many in all; how many that were."""
        kept = {name: self.keep(layer, share) for name, layer in layers.items()}
        before = {name: existing(layer.mask) for name, layer in layers.items()}
        survivors = {name: existing(mask) for name, mask in kept.items()}
        grown = self.allocate(layers, before, survivors)
        for name, layer in layers.items():
            score = from_first_process(self.growth_score(layer)).masked_fill(kept[name] > 0, -torch.inf)
            mask = kept[name] + largest(score, grown[name])
            new = (mask > 0) & (layer.mask == 0)
            for values in (layer.raw, *(() if self.missing_momentum else layer.state)):
                values.masked_fill_(new, 0.0)
            layer.mask.copy_(mask)
        return sum(before.values()) - sum(survivors.values())

    def keep(self, layer: Layer, share: float) -> Tensor:
        """The mask without the weights that are dropped: here the smallest ``share`` of them."""
        count = existing(layer.mask)
        return largest(layer.raw.abs().masked_fill(layer.mask == 0, -torch.inf), count - round(share * count))

    @abstractmethod
    def growth_score(self, layer: Layer) -> Tensor:
        """Where weights grow: the larger, the sooner; shaped like the weight."""

    def allocate(self, layers: Layers, before: Mapping[str, int], survivors: Mapping[str, int]) -> dict[str, int]:
        """Layer -> how many weights grow there, given how many it had and how many survived: here as many as went."""
        return {name: before[name] - survivors[name] for name in layers}


def apportion(total: int, weights: Mapping[str, float], room: Mapping[str, int]) -> dict[str, int]:
    """``total`` whole things in proportion to ``weights`` (largest remainders), no more than each has ``room`` for.

    What does not fit in one goes to the others in the same proportion; all is given out while there is room at all.
    """
    shares = dict.fromkeys(weights, 0)
    left = min(total, sum(room.values()))
    while left > 0:
        takers = [name for name in weights if room[name] > shares[name]]
        scale = sum(weights[name] for name in takers)
        # where there is no weight to go by, all are alike; so they are in a training that has diverged
        known = 0.0 < scale < math.inf
        quota = {name: left * (weights[name] / scale if known else 1.0 / len(takers)) for name in takers}
        whole = {name: int(value) for name, value in quota.items()}
        by_remainder = sorted(quota, key=lambda name: quota[name] - whole[name], reverse=True)
        for name in by_remainder[: left - sum(whole.values())]:
            whole[name] += 1
        for name in takers:
            more = min(whole[name], room[name] - shares[name])
            shares[name] += more
            left -= more
    return shares


def existing(mask: Tensor) -> int:
    """How many weights a mask keeps; its sum would be rounded."""
    return int(torch.count_nonzero(mask))


def largest(score: Tensor, count: int) -> Tensor:
    """A tensor of ones and zeros like ``score``: ones at its ``count`` largest entries."""
    chosen = torch.zeros_like(score).flatten()
    chosen[score.flatten().topk(count, sorted=False).indices] = 1.0
    return chosen.view(score.shape)
