"""The balance of thresholds: the derivation of the law, and how near to it a network is. ``str.py`` says what the law
means, and what slope is for.

Let t = g(u) be the threshold of a layer, with u = slope * s. Let tau be the learning rate summed over steps and divided
by 1 - momentum, and lambda the weight decay of weights and s. For the kept weights of the layer, and for its s,

    d|w|/dtau = -sign(w) dL/dS - lambda |w|
    ds/dtau   =  slope g'(u) * (sum over the kept weights of sign(w) dL/dS) - lambda s

Where the L1 norm of the kept weights stands still, the sum in the second line is -lambda L1, and s stands still when

    |u| = slope^2 g'(u) L1,      L1 = sum of |w| over the kept raw weights.

Learning rate, momentum and lambda cancel. In the paper's ResNet50 the first stages hold little weight and the last ones
much, which makes the first sparser.

The derivation is this project's own; the paper does not have it. It holds where weights and thresholds have come to
rest. While weights still shrink, while s is on its way, and in a layer that has lost all its weights it does not.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from paper_repro.methods.soft_threshold import G_DERIVATIVE, G_INVERSE, SoftThreshold

NEAR = 1.5  # a threshold counts as balanced where the ratio is within this factor of 1


class Balance(NamedTuple):
    """The state of one layer's threshold. ``ratio`` is slope^2 g'(u) L1 / |u|: 1 where the threshold is balanced, above
    1 where the loss pulls it down harder than decay lifts it, 0 where nothing is kept.
    """

    l1: float  # of the kept raw values of this layer
    ratio: float  # of everything that shares its s


def implied_l1(threshold: float, g: str = "sigmoid", slope: float = 1.0) -> float:
    """The L1 norm of kept weights at which a layer's threshold is balanced: |u| / (slope^2 g'(u))."""
    return float(implied_l1s(torch.tensor(threshold, dtype=torch.float64), g, slope))


def implied_l1s(thresholds: Tensor, g: str = "sigmoid", slope: float = 1.0) -> Tensor:
    """The same for thresholds of any shape."""
    return G_INVERSE[g](thresholds).abs() / (slope**2 * G_DERIVATIVE[g](thresholds))


@torch.no_grad()
def balances(operands: Iterable[tuple[SoftThreshold, Tensor]]) -> list[Balance]:
    """The balance of every (operator, raw values), in order. Where an operator has several s, the pulls on them are
    added up; where several operators share one s, so are theirs.
    """
    l1, loss, decay, shared = [], [], [], []
    for soft, values in operands:
        magnitude, threshold = values.abs(), soft.threshold()
        kept = torch.where(magnitude > threshold, magnitude, 0.0)
        l1.append(kept.sum(dtype=torch.float64))
        per_s = kept.double().sum_to_size(threshold.shape)
        loss.append((soft.slope**2 * G_DERIVATIVE[soft.g](threshold.double()) * per_s).sum())
        decay.append((soft.slope * soft.s).abs().sum(dtype=torch.float64))
        shared.append(id(soft.s))
    if not l1:
        return []
    norms, pulls, holds = (torch.stack(column).tolist() for column in (l1, loss, decay))  # a GPU waits once
    together = {key: sum(pull for pull, own in zip(pulls, shared, strict=True) if own == key) for key in set(shared)}
    return [
        Balance(norm, together[key] / hold if hold else math.inf)
        for norm, hold, key in zip(norms, holds, shared, strict=True)
    ]


def summary(of_layers: Iterable[Balance]) -> str:
    """How near to balance the layers of a network are, in a sentence; at least one of them."""
    of_layers = list(of_layers)
    ratios = [balance.ratio for balance in of_layers if balance.l1 > 0]
    dead = len(of_layers) - len(ratios)
    empty = f"; {dead} layer{'s' if dead > 1 else ''} without weights" if dead else ""
    if not ratios:
        return f"no layer keeps any weight{empty}"
    near = sum(1 / NEAR <= ratio <= NEAR for ratio in ratios)
    return (
        f"median ratio {statistics.median(ratios):.3g}, from {min(ratios):.3g} to {max(ratios):.3g}; "
        f"within a factor {NEAR:g} of 1 in {near} of {len(ratios)} layers{empty}"
    )


def slopes_to_keep(magnitudes: Tensor) -> Tensor:
    """For k = 1, 2, ...: the smallest slope at which a layer keeps its k largest weights, if weights hold still and g
    is the sigmoid.

    ``magnitudes``: the layer's |weights|, descending. With k weights kept, L1 is the sum of k magnitudes, and the loss
    pulls hardest just below the k-th, so that the threshold can rest there once slope^2 g'(u) L1 >= |u|. On its way up
    it stops at the first place where it can rest: the result never falls with k. At u = 0 decay has nothing left to
    pull, and what is larger than g(0) = 1/2 is kept at any slope.
    """
    ordered = magnitudes.double()
    threshold = ordered.clamp(min=1e-300, max=0.5)  # g(0)
    squared = G_INVERSE["sigmoid"](threshold).abs() / (
        G_DERIVATIVE["sigmoid"](threshold) * ordered.cumsum(0).clamp(min=1e-300)
    )
    return squared.sqrt().flip(0).cummin(0).values.flip(0)
