"""How STR ends at a sparsity that was asked for. STR itself has no parameter for it: sparsity follows from weight
decay, s_init and the schedule.

Both ways here move the s of all layers together, so that which layer is sparser than which is still learned by
gradient. They solve for the move instead of searching: a value v is pruned as soon as s reaches its critical
s = g^-1(|v|), so the move that prunes a given share is a quantile of how far s is from critical, over all values.

    controller   In place of the weight decay of s, a controller lifts all s together. It does so along the cubic
                 schedule of gradual pruning, and then holds the target to the last step. s_init, weight decay and the
                 length of training no longer decide where sparsity ends, nor when it begins.
    freeze       Plain STR, weight decay of s included, until the target is reached; then the sparsity of every layer
                 stays as it is (the paper, section 5). When ``end`` comes first, one move of the controller's kind
                 reaches the target there. The better one on a short training.
"""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from paper_repro.errors import Advice
from paper_repro.methods.schedules import CubicThenHold
from paper_repro.methods.soft_threshold import SoftThreshold

SAMPLE = 1 << 17  # values that a move is computed from: a standard error of 0.11 points at 80 %, 0.03 at 99 %
UPDATES = 60  # moves between start and end; as many per step of training come after it
REACHED = 5e-3  # a target counts as reached within this share of the weights: freezing moves by a sample's quantile
HIGHEST = 1.0 - 1e-6  # the largest threshold that a sigmoid is asked for
LOOK = 4  # steps between two looks at the sparsity of plain STR, before it is frozen


class Operand(NamedTuple):
    """What one soft threshold of a network is applied to."""

    soft: SoftThreshold
    values: Tensor  # the raw values, of any shape
    weights_each: int  # weights of the layer that are zero with one value

    @property
    def weights(self) -> int:
        return self.values.numel() * self.weights_each


class Target(ABC):
    """A way to end at a sparsity. ``decays_s`` says whether s keeps its weight decay."""

    decays_s: bool

    def __init__(self, start: float, end: float) -> None:
        self.schedule = CubicThenHold(start, end, UPDATES)

    def prepare(self, soft: SoftThreshold) -> None:  # noqa: B027 - a target may need none
        """Add to an operator the buffers that the target needs to go on after a stop."""

    def due(self, step: int, total_steps: int) -> float | None:
        """The share of the target to prune now; None where nothing is to be done. The last step is always due."""
        return 1.0 if step == total_steps - 1 else self.schedule.starting(step, total_steps)

    @abstractmethod
    def apply(self, operands: list[Operand], share: float, step: int, total_steps: int) -> None:
        """Move the thresholds; ``share`` of the weights of all ``operands`` is to be pruned in the end."""

    @abstractmethod
    def onset_step(self, plain: int | None, total_steps: int) -> int:
        """The step at which pruning begins; ``plain`` is when weight decay alone would begin it."""


class Controller(Target):
    """Takes the place of the weight decay of s. Keeps no state: a move depends on weights and s alone. The last one is
    exact, all others are taken from a sample.
    """

    decays_s = False

    def apply(self, operands: list[Operand], share: float, step: int, total_steps: int) -> None:
        fraction, last = self.due(step, total_steps), step == total_steps - 1
        if fraction:
            lift(operands, move(operands, fraction * share, exact=last))
        if last:
            warn_where_missed(operands, share)

    def onset_step(self, plain: int | None, total_steps: int) -> int:
        return math.ceil(self.schedule.start * total_steps)


class Freeze(Target):
    """Lets plain STR reach the target, and holds every layer where it is then."""

    decays_s = True

    def prepare(self, soft: SoftThreshold) -> None:
        soft.register_buffer("frozen_share", torch.tensor(math.nan))
        soft.register_buffer("frozen_s", torch.full_like(soft.s.detach(), math.nan))

    def due(self, step: int, total_steps: int) -> float | None:
        return 1.0

    def apply(self, operands: list[Operand], share: float, step: int, total_steps: int) -> None:
        ranking = super().due(step, total_steps) is not None
        if not operands[0].soft.frozen_share.isnan():
            hold(operands, ranking)
        elif ranking or step % LOOK == 0:
            missing = move(operands, share)
            if missing <= 0 or step >= min(self.schedule.end * total_steps, total_steps - 1):
                lift(operands, missing)
                freeze(operands)
                warn_where_missed(operands, share)

    def onset_step(self, plain: int | None, total_steps: int) -> int:
        forced = math.ceil(self.schedule.end * total_steps)
        return forced if plain is None else min(plain, forced)


def warn_where_missed(operands: list[Operand], share: float) -> None:
    """Advice where thresholds cannot prune that share: the sigmoid stays below 1, and magnitudes may not; and values of
    one magnitude stay or go together.
    """
    everything = sum(operand.weights for operand in operands)
    pruned = sum(
        int(torch.count_nonzero(values.detach().abs() <= soft.threshold().detach())) * each
        for soft, values, each in operands
    )
    too_few = pruned < (share - REACHED) * everything
    if not too_few and pruned <= (share + REACHED) * everything + max(operand.weights_each for operand in operands):
        return
    if too_few and any(soft.g == "sigmoid" and values.detach().abs().max() >= HIGHEST for soft, values, _ in operands):
        why = "sigmoid(s) stays below 1, and larger weights stay; take g = 'exp'"
    else:
        why = "values of equal magnitude, as on a coarse grid, stay or go together; gmp can tell them apart"
    warnings.warn(
        f"the target is {'out of reach' if too_few else 'overshot'}: it takes {100.0 * share:.2f} % of the sparse "
        f"layers' weights, and thresholds prune {100.0 * pruned / everything:.2f} %. {why}",
        Advice,
        stacklevel=4,
    )


def freeze(operands: list[Operand]) -> None:
    """Remember every operator's s and the share that it prunes."""
    for soft, values, _ in operands:
        soft.frozen_share.copy_((values.detach().abs() <= soft.threshold().detach()).float().mean())
        soft.frozen_s.copy_(soft.s.detach())


def hold(operands: list[Operand], ranking: bool) -> None:
    """Undo what the optimizer did to s; with ``ranking``, first find the s that prunes the frozen share of the weights
    as they are now.
    """
    for soft, values, _ in operands if ranking else ():
        count = round(soft.frozen_share.item() * values.numel())
        if count:
            soft.frozen_s.copy_(critical_s(soft, values.detach().flatten()).kthvalue(count).values)
    torch._foreach_copy_([soft.s.data for soft, *_ in operands], [soft.frozen_s for soft, *_ in operands])


def move(operands: list[Operand], share: float, exact: bool = False) -> Tensor:
    """What must be added to every s so that ``share`` of all weights is pruned; shape (), negative when too many are.

    Taken from a sample of the values, so that it costs the same for networks of any size, unless it is to be exact.
    """
    stride = 1 if exact else sampling_stride(sum(operand.values.numel() for operand in operands))
    missing = []
    for soft, values, _ in operands:
        s = soft.s.detach()
        s = s if s.numel() == 1 else s.expand_as(values).flatten()[::stride]
        missing.append(critical_s(soft, values.detach().flatten()[::stride]) - s.reshape(-1))
    return quantile(missing, [operand.weights_each for operand in operands], share)


def critical_s(soft: SoftThreshold, values: Tensor) -> Tensor:
    """The s that prunes each value. Clamped to where it is finite: g is never 0, and the sigmoid never 1."""
    highest = HIGHEST if soft.g == "sigmoid" else None
    return soft.pruned_at(values.abs().to(soft.s.dtype).clamp(1e-12, highest))


def sampling_stride(count: int) -> int:
    """Of ``count`` values, every how many are looked at. Coprime to 2, 3, 5 and 7, or single taps of the kernels would
    be looked at more often than others.
    """
    stride = max(1, count // SAMPLE)
    while stride > 1 and math.gcd(stride, 2 * 3 * 5 * 7) > 1:
        stride += 1
    return stride


def quantile(parts: list[Tensor], weight_each: list[int], share: float) -> Tensor:
    """The value up to which ``share`` of the weights lies; a value of part i stands for weight_each[i] weights."""
    flat = torch.cat(parts)
    if len(set(weight_each)) == 1:
        return flat.kthvalue(min(max(round(share * len(flat)), 1), len(flat))).values
    weights = torch.cat([torch.full_like(part, each) for part, each in zip(parts, weight_each, strict=True)])
    ordered, order = flat.sort()
    reached = weights[order].cumsum(0)
    nearest = (reached - share * reached[-1]).abs().argmin()
    return ordered[nearest]


def lift(operands: list[Operand], amount: Tensor) -> None:
    """Add ``amount`` to every s; one that several layers share is moved once."""
    shared = {id(operand.soft.s): operand.soft.s.data for operand in operands}
    torch._foreach_add_(list(shared.values()), amount)


TARGETS: dict[str, Callable[[float, float], Target]] = {"controller": Controller, "freeze": Freeze}
