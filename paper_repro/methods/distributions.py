"""How many weights to prune in each layer: a budget (a sparsity for each layer), one ranking of all weights together,
the budget at which STR's thresholds would be balanced, or N of every M weights.

All answer the same question, ``thresholds``: for a given fraction of the target, below which magnitude does each layer
prune its weights? It is one number for a layer, or, where weights of equal magnitude lie on both sides of the
cut, one for each weight, so that exactly as many go as were asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from paper_repro.accounting import CountedLayer, require_fit
from paper_repro.errors import UserError, require_known
from paper_repro.methods.balance import slopes_to_keep
from paper_repro.methods.base import percent
from paper_repro.methods.n_of_m import Pattern, is_pattern, pattern
from paper_repro.methods.precision import wide


def kept_dense(layers: Mapping[str, nn.Module], kinds: Iterable[str]) -> set[str]:
    """Names of the layers of these kinds: "first", "last", "depthwise"."""
    convolutions = {
        name: layer for name, layer in layers.items() if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d)
    }
    of_kind = {
        "first": {*list(layers)[:1]},
        "last": {*list(layers)[-1:]},
        "depthwise": {name for name, layer in convolutions.items() if layer.groups == layer.in_channels > 1},
    }
    kinds = list(kinds)
    require_known("kind of layer in keep_dense", kinds, of_kind)
    return set[str]().union(*(of_kind[kind] for kind in kinds))


@dataclass(frozen=True, eq=False)  # equal to any mapping of the same content
class Budget(Mapping[str, float]):
    """The sparsity of each layer: layer name -> percent, in the order of the network. ``source`` says whose it is."""

    sparsity_pct: Mapping[str, float]
    source: str = ""

    def __post_init__(self) -> None:
        outside = {name: value for name, value in self.sparsity_pct.items() if not 0.0 <= value <= 100.0}
        if outside:
            raise UserError(f"a sparsity lies between 0 and 100 %; budget has {outside}")

    def __getitem__(self, layer: str) -> float:
        return self.sparsity_pct[layer]

    def __iter__(self) -> Iterator[str]:
        return iter(self.sparsity_pct)

    def __len__(self) -> int:
        return len(self.sparsity_pct)

    def thresholds(self, weights: Mapping[str, Tensor], fraction: float) -> dict[str, Tensor]:
        """Layer -> the magnitude (see ``cut``) at and below which ``fraction`` of the layer's target lies."""
        return {
            name: cut(weight.detach().abs(), round(fraction * self[name] / 100.0 * weight.numel()))
            for name, weight in weights.items()
        }


@dataclass(frozen=True, eq=False)
class NofM(Budget):
    """The budget of an N:M pattern: its sparsity in every layer that it fits, and 0 in the others."""

    pattern: Pattern = field(kw_only=True)

    def thresholds(self, weights: Mapping[str, Tensor], fraction: float) -> dict[str, Tensor]:
        """Layer -> a threshold for each weight: infinite for those that go. At a fraction of the target fewer of each
        group go, rounded to whole weights.
        """
        left = self.pattern.m - round(fraction * (self.pattern.m - self.pattern.n))
        now = Pattern(left, self.pattern.m)
        return {name: torch.where(now.mask(weight) > 0.0, -1.0, torch.inf) for name, weight in weights.items()}


@dataclass(frozen=True)
class OneRanking:
    """All weights are ranked together, by |W| / ``scale(shape of W)``, and the overall sparsity is met."""

    sparsity_pct: float
    scale: Callable[[torch.Size], float]

    def thresholds(self, weights: Mapping[str, Tensor], fraction: float) -> dict[str, Tensor]:
        """Layer -> the magnitude (see ``cut``) at and below which its weights go. ``weights`` are those that are
        ranked; ``sparsity_pct`` is the share of them that goes at fraction 1.
        """
        scales = {name: self.scale(weight.shape) for name, weight in weights.items()}
        magnitudes = {name: weight.detach().abs().to(wide(weight)) for name, weight in weights.items()}
        scores = torch.cat([magnitude.flatten() / scales[name] for name, magnitude in magnitudes.items()])
        common = cut(scores, round(fraction * self.sparsity_pct / 100.0 * scores.numel()))
        if common.dim() == 0 and all(weight.dtype == wide(weight) for weight in weights.values()):
            return {name: common * scales[name] for name in weights}
        # scaling back rounds: who goes is decided by score, and is then at or below its threshold, the others above
        parts = common.expand_as(scores).split([magnitude.numel() for magnitude in magnitudes.values()])
        thresholds = {}
        for (name, magnitude), part in zip(magnitudes.items(), parts, strict=True):
            goes = magnitude.flatten() / scales[name] <= part
            level = part * scales[name]
            flat, below = magnitude.flatten(), 1.0 - torch.finfo(weights[name].dtype).eps
            thresholds[name] = torch.where(goes, level.maximum(flat), level.minimum(flat * below)).view(magnitude.shape)
        return thresholds


def cut(values: Tensor, k: int) -> Tensor:
    """The threshold at and below which exactly ``k`` of these non-negative values lie: the k-th smallest, of shape ().

    Where values equal to it lie on both sides of the cut, no single number will do, and each value gets its own: those
    that are to go the tied value, the others the next smaller one. Which of the tied ones go depends on their positions
    alone, in an order without a pattern: from the front, whole filters and layers would go.
    """
    at = kth_smallest(values, k)
    if k == 0 or int(torch.count_nonzero(values <= at)) <= k:
        return at
    flat = values.flatten()
    below = flat < at
    lower = flat[below].max() if below.any() else values.new_tensor(-1.0)
    tied = (flat == at).nonzero().flatten()
    order = torch.randperm(flat.numel(), generator=torch.Generator().manual_seed(0)).to(flat.device)
    thresholds = lower.expand_as(flat).clone()
    thresholds[tied[order[tied].argsort()][: k - int(torch.count_nonzero(below))]] = at
    return thresholds.view(values.shape)


@dataclass(frozen=True)
class Balanced:
    """The budget that the balance of STR's thresholds would give to the weights as they are (``balance.py``): a weight
    goes while the slope that would keep it is among the largest, over all layers.
    """

    sparsity_pct: float

    def densities(self, weights: Mapping[str, Tensor], fraction: float = 1.0) -> dict[str, float]:
        """Layer -> share of its weights to keep, so that all together have ``fraction`` of the sparsity."""
        needed = {
            name: slopes_to_keep(weight.detach().abs().to(wide(weight)).flatten().sort(descending=True).values)
            for name, weight in weights.items()
        }
        total = sum(slopes.numel() for slopes in needed.values())
        keep = total - round(fraction * self.sparsity_pct / 100.0 * total)
        limit = kth_smallest(torch.cat(list(needed.values())), keep)
        below = {name: int((slopes < limit).sum()) for name, slopes in needed.items()}
        # where the last slope that counts would keep more than asked for, its layers share what is left
        tied = {name: int((slopes == limit).sum()) for name, slopes in needed.items()}
        share = (keep - sum(below.values())) / max(1, sum(tied.values()))
        return {name: (below[name] + share * tied[name]) / needed[name].numel() for name in needed}

    def thresholds(self, weights: Mapping[str, Tensor], fraction: float) -> dict[str, Tensor]:
        """Layer -> the magnitude (see ``cut``) at and below which its weights go, for the weights as they are now."""
        return {
            name: cut(weights[name].detach().abs(), round((1.0 - density) * weights[name].numel()))
            for name, density in self.densities(weights, fraction).items()
        }


def kth_smallest(values: Tensor, k: int) -> Tensor:
    """The k-th smallest of non-negative values, counted from 1, with shape (); for k = 0 a number below all of them."""
    if k == 0:
        return values.new_tensor(-1.0)
    if values.dtype != wide(values):  # not every device selects in bf16 and fp16
        return kth_smallest(values.to(wide(values)), k).to(values.dtype)
    if values.device.type != "cpu":
        return values.flatten().kthvalue(k).values
    # numpy's selection is about six times as fast as torch's on a CPU
    array = values.contiguous().flatten().numpy()
    return torch.from_numpy(np.partition(array, k - 1)[k - 1 : k]).reshape(())


# -- the distributions by name ----------------------------------------------------------------------------------------


def uniform(layers: Mapping[str, nn.Module], sparsity_pct: float, keep_dense: Iterable[str] = ()) -> Budget:
    """The same sparsity in every layer, except 0 in the kinds of layer named in ``keep_dense`` ("first", "last",
    "depthwise").
    """
    percent(sparsity_pct)
    dense = kept_dense(layers, keep_dense)
    return Budget({name: 0.0 if name in dense else sparsity_pct for name in layers}, f"uniform {sparsity_pct:g} %")


def erk(layers: Mapping[str, nn.Module], sparsity_pct: float, keep_dense: Iterable[str] = ()) -> Budget:
    """The Erdos-Renyi-Kernel budget (Evci et al., 2020), for convolutions and fully connected layers.

    The density of a layer is proportional to (n_out + n_in + k_h + k_w) / (n_out n_in k_h k_w). A layer whose density
    would exceed 1 is dense, as are those of ``keep_dense``, and the others share what is left, so that the overall
    sparsity is met exactly. UserError where the dense layers alone are more than it allows.
    """
    percent(sparsity_pct)
    shape = {name: layer.get_parameter("weight").shape for name, layer in layers.items()}
    size = {name: shape[name].numel() for name in layers}
    score = {name: sum(shape[name]) / size[name] for name in layers}
    kept = (1.0 - sparsity_pct / 100.0) * sum(size.values())
    dense = kept_dense(layers, keep_dense)
    source = f"ERK {sparsity_pct:g} %"
    while True:
        others = [name for name in layers if name not in dense]
        left = kept - sum(size[name] for name in dense)
        if left < 0.0:
            raise UserError(f"ERK cannot reach {sparsity_pct:g} %: the layers kept dense have more weights than that")
        if not others:
            return Budget(dict.fromkeys(layers, 0.0), source)
        scale = left / sum(score[name] * size[name] for name in others)
        highest = max(score[name] for name in others)
        if scale * highest <= 1.0:
            by_layer = {name: 0.0 if name in dense else 100.0 * (1.0 - scale * score[name]) for name in layers}
            return Budget(by_layer, source)
        dense |= {name for name in others if score[name] == highest}


def balance(layers: Mapping[str, nn.Module], sparsity_pct: float, keep_dense: Iterable[str] = ()) -> Budget:
    """The budget of ``Balanced`` for the weights that the layers have now; the overall sparsity is met exactly."""
    dense = kept_dense(layers, keep_dense)
    weights = {name: layer.get_parameter("weight") for name, layer in layers.items() if name not in dense}
    kept = Balanced(_share(layers, sparsity_pct, dense)).densities(weights)
    by_layer = {name: 100.0 * (1.0 - kept[name]) if name in kept else 0.0 for name in layers}
    return Budget(by_layer, f"balance {sparsity_pct:g} %")


def n_of_m(layers: Mapping[str, nn.Module], pattern: Pattern, keep_dense: Iterable[str] = ()) -> NofM:
    """The budget of an N:M pattern. UserError where it fits none of the layers that are not kept dense."""
    fitting = {name for name, layer in layers.items() if pattern.fits(layer)} - kept_dense(layers, keep_dense)
    if not fitting:
        raise UserError(f"no layer can be {pattern.n}:{pattern.m}: none has input channels that {pattern.m} divides")
    by_layer = {name: pattern.sparsity_pct if name in fitting else 0.0 for name in layers}
    return NofM(by_layer, f"{pattern.n}:{pattern.m}", pattern=pattern)


BUDGETS: dict[str, Callable[[Mapping[str, nn.Module], float, Iterable[str]], Budget]] = {
    "uniform": uniform,
    "erk": erk,
    "balance": balance,
}
RANKINGS: dict[str, Callable[[torch.Size], float]] = {
    "global": lambda shape: 1.0,
    # ST-3-sigma: the spread that a layer's weights are expected to have; a sum of the dimensions, not a product
    "sigma": lambda shape: 1.0 / math.sqrt(sum(shape)),
}


def distribute(
    layers: Mapping[str, CountedLayer],
    sparsity_pct: float | None,
    budget: Mapping[str, float] | None,
    distribution: str,
    keep_dense: Iterable[str] = (),
    once: bool = False,
) -> Budget | OneRanking | Balanced:
    """What ``sparsity_pct`` with ``distribution``, or ``budget``, mean for these layers. ``once``: what depends on the
    weights is settled now, and not anew at every stage.
    """
    if budget is not None:
        by_layer = budget if isinstance(budget, Budget) else Budget(dict(budget))
        require_fit(by_layer, layers)
        return by_layer
    if is_pattern(distribution):
        return n_of_m(layers, pattern(distribution), keep_dense)
    assert sparsity_pct is not None
    if distribution in BUDGETS and (once or distribution != "balance"):
        return BUDGETS[distribution](layers, sparsity_pct, keep_dense)
    require_known("distribution", distribution, [*BUDGETS, *RANKINGS])
    share = _share(layers, sparsity_pct, kept_dense(layers, keep_dense))
    return Balanced(share) if distribution == "balance" else OneRanking(share, RANKINGS[distribution])


def _share(layers: Mapping[str, nn.Module], sparsity_pct: float, dense: set[str]) -> float:
    """The sparsity (percent) of the layers that are not ``dense`` at which all together have ``sparsity_pct``."""
    percent(sparsity_pct)
    size = {name: layer.get_parameter("weight").numel() for name, layer in layers.items()}
    ranked = sum(size[name] for name in layers if name not in dense)
    share = sparsity_pct * sum(size.values()) / ranked if ranked else math.inf
    if share > 100.0:
        raise UserError(f"{sparsity_pct:g} % cannot be reached with {', '.join(sorted(dense))} kept dense")
    return share
