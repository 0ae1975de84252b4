"""Spartan: a soft mask by regularized transport (Tai, Tian and Lim, NeurIPS 2022, arXiv 2205.14107).

The weights are valued by v = |W|, over all layers together, and k of them are to stay. The mask of the transport
problem with regularization 1 / beta is, at unit costs, m = sigmoid(beta v + mu), with the mu at which m sums to k. The
forward pass uses W m h, where h is 1 for the k largest and 0 else. In the backward pass h passes
G = dL/d(W m h) unchanged, and m is differentiated:

    dL/dW = G m + sign(W) beta q (G W - C),    q = m (1 - m),    C = sum(G W q) / sum(q) over all layers

k falls linearly from all weights to the target in the first 20 % of training, beta rises linearly from 1 to 10 in the
first 80 %; then m h stands still, and missing weights get no gradient. The mode ``soft=False`` ("dual averaging" in
the authors' code) is Top-KAST with a dense backward pass: W h forward, G to all weights, and h stands still from 80 %
on, too.

Read in the authors' code: beta ends at 10 in the script for ResNet50, and at 20 by default. Masks are made anew at
every step, there and here, because the gradient above supposes that m follows W. Their Sinkhorn iterations stop at 1 %
change, here mu is solved for, on a histogram of v. Their target counts all parameters, here those of convolutions and
fully connected layers. Their other distributions, their costs in FLOPs and their mode "standard", GMP by one ranking on
the same ramp, are left out. Their recipe is not part of the method: Nesterov momentum, and no decay of batch norm.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from paper_repro.methods.base import attached_layers
from paper_repro.methods.magnitude import MagnitudePruning, Pruned
from paper_repro.methods.precision import wide
from paper_repro.methods.schedules import EVERY_STEP, Hold
from paper_repro.methods.straight_through import straight_through

BINS = 1 << 14  # of the histogram
RAMP = 0.2  # of training, in which k falls to the target; in less where the masks stand still before that


class SoftMask(Pruned):
    """W -> W * soft * hard, straight through; both masks, and ``beta`` (shape ()), are saved with the model."""

    soft: Tensor
    hard: Tensor
    beta: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("soft", torch.ones_like(weight))
        self.register_buffer("hard", torch.ones_like(weight))
        self.register_buffer("beta", weight.new_ones((), dtype=wide(weight)))

    def forward(self, weight: Tensor) -> Tensor:
        return straight_through(weight, weight * self.soft * self.hard)

    @torch.no_grad()
    def prune(self, weight: Tensor, threshold: Tensor) -> None:
        self.hard.copy_(weight.abs() > threshold)


class Spartan(MagnitudePruning):
    """Prunes the network to one overall sparsity."""

    distributions = ("global",)
    schedule = Hold(0.0, 0.8, updates=EVERY_STEP)

    def __init__(
        self,
        sparsity_pct: float,
        beta: float = 10.0,
        soft: bool = True,
        end: float | None = None,
        updates: int | None = None,
    ) -> None:
        super().__init__(sparsity_pct, end=end, updates=updates)
        self.beta, self.soft = beta, soft

    def sparse(self, weight: Tensor) -> SoftMask:
        return SoftMask(weight)

    @torch.no_grad()
    def before_step(self, model: nn.Module, step: int, total_steps: int) -> None:
        if self.schedule.starting(step, total_steps) is None:
            return
        time, end, layers = step / total_steps, self.schedule.end, attached_layers(model)
        fraction, beta = min(time / min(RAMP, end), 1.0), 1.0 + (self.beta - 1.0) * min(time / end, 1.0)
        thresholds = self.target.thresholds({name: raw for name, (_, raw) in layers.items()}, fraction)
        for name, (mask, raw) in layers.items():
            mask.prune(raw, thresholds[name])
        kept = sum(int(torch.count_nonzero(mask.hard)) for mask, _ in layers.values())
        values = torch.cat([raw.abs().flatten().to(wide(raw)) for _, raw in layers.values()])
        if self.soft and kept < len(values):  # of all weights the mask is 1
            mu = offset(beta * values, kept)
            for mask, raw in layers.values():
                mask.soft.copy_(torch.sigmoid(beta * raw.abs() + mu))
                mask.beta.fill_(beta)

    @torch.no_grad()
    def after_backward(self, model: nn.Module, step: int, total_steps: int) -> None:
        layers = [(mask, raw, raw.grad) for mask, raw in attached_layers(model).values() if raw.grad is not None]
        if step / total_steps >= self.schedule.end:
            for mask, _, grad in layers:
                grad.mul_(mask.soft * mask.hard)
        elif self.soft and layers:
            spread = [(mask.soft * (1.0 - mask.soft)).to(wide(raw)) for mask, raw, _ in layers]
            pulls = [(q * grad * raw).sum() for q, (_, raw, grad) in zip(spread, layers, strict=True)]
            centre = torch.stack(pulls).sum() / torch.stack([q.sum() for q in spread]).sum().clamp(min=1e-12)
            for q, (mask, raw, grad) in zip(spread, layers, strict=True):
                grad.copy_(grad * mask.soft + raw.sign() * mask.beta * q * (grad * raw - centre))


def offset(values: Tensor, count: int) -> Tensor:
    """The mu, of shape (), at which sigmoid(values + mu) sums to ``count``; values are not negative."""
    top = max(values.max().item(), 1e-12)
    level = torch.logit(torch.tensor(count / len(values), dtype=torch.float64, device=values.device), eps=1e-12)
    if not math.isfinite(top):
        return level  # a training that has diverged says so by itself
    counts = torch.histc(values.double(), BINS, 0.0, top)
    centres = (torch.arange(BINS, device=values.device, dtype=torch.float64) + 0.5) * (top / BINS)
    low, high = level - top, level  # where all values are the largest, and where all are 0
    for _ in range(30):  # to 1e-9 of the range, of which a bin of the histogram is 1e-4
        middle = (low + high) / 2.0
        above = (counts * torch.sigmoid(centres + middle)).sum() > count
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    return high
