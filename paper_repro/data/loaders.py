"""Batches of a data set. The order of an epoch is a function of (seed, epoch) alone, so that a run can stop after any
step and go on with the very next batch. What fits in memory is served from there; ``readers`` serves the rest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from paper_repro.data.augmentation import Augmentation
from paper_repro.errors import UserError

Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Share:
    """What a process gets of every batch where ``world`` processes train together: each ``world``-th example, from
    number ``rank`` on.
    """

    rank: int = 0
    world: int = 1

    def of(self, indices: Tensor) -> Tensor:
        """This process's part of a batch."""
        return indices[self.rank :: self.world]

    def require_fair(self, examples: int, batch_size: int) -> None:
        """UserError unless each process gets as many examples of a batch of ``batch_size``, and at least one of the
        last, smaller batch of an epoch of ``examples``.
        """
        if batch_size % self.world:
            raise UserError(
                f"a batch of {batch_size} examples cannot be shared equally by {self.world} processes; take a number "
                f"of processes that divides {batch_size}"
            )
        if 0 < examples % batch_size < self.world:
            raise UserError(
                f"the last batch of an epoch has {examples % batch_size} of {examples:,} examples, fewer than there "
                f"are processes ({self.world})"
            )


ALONE = Share()


class Loader(Protocol):
    """Batches of a training or validation set; on several processes, this process's share of each."""

    def __len__(self) -> int:
        """Batches per epoch, counted over all processes together; the last one may be smaller."""

    def epoch(self, seed: int, epoch: int, first: int = 0) -> Iterator[Batch]:
        """The batches of one shuffled epoch, from number ``first`` on."""

    def in_order(self) -> Iterator[Batch]:
        """Every example exactly once over all processes, for evaluation."""

    @property
    def record(self) -> Mapping[str, Any]:
        """What the result of a run says about how its examples were read; nothing where there is nothing to say."""


def batches_of_epoch(
    examples: int, batch_size: int, share: Share, seed: int, epoch: int, first: int = 0
) -> Iterator[Tensor]:
    """This process's share of each batch of a shuffled epoch, from number ``first`` on, as positions of examples."""
    order = torch.randperm(examples, generator=_generator(seed, epoch, "order"))
    for start in range(first * batch_size, examples, batch_size):
        yield share.of(order[start : start + batch_size])


def _generator(seed: int, epoch: int, purpose: Literal["order", "changes"]) -> torch.Generator:
    """Random numbers that are a function of (seed, epoch) alone, others for each purpose."""
    return torch.Generator().manual_seed(1_000_003 * seed + epoch + (2**48 if purpose == "changes" else 0))


class TensorLoader:
    """Inputs (N, ...) and labels (N,) in memory, served in batches as ``prepare`` makes them, on the device that they
    are on. ``batch_size`` is that of all processes together.
    """

    def __init__(
        self,
        inputs: Tensor,
        labels: Tensor,
        prepare: Callable[[Tensor], Tensor],
        batch_size: int,
        share: Share = ALONE,
        augmentation: Augmentation | None = None,
    ) -> None:
        self.inputs, self.labels, self.prepare, self.batch_size = inputs, labels, prepare, batch_size
        self.share, self.augmentation = share, augmentation

    def __len__(self) -> int:
        """Batches per epoch; the last one may be smaller."""
        return math.ceil(len(self.labels) / self.batch_size)

    def epoch(self, seed: int, epoch: int, first: int = 0) -> Iterator[Batch]:
        """The batches of one shuffled epoch, augmented, from number ``first`` on."""
        changes = self._changes(seed, epoch)
        for indices in batches_of_epoch(len(self.labels), self.batch_size, self.share, seed, epoch, first):
            yield self._batch(indices.to(self.labels.device), changes)

    def in_order(self) -> Iterator[Batch]:
        """Every example exactly once, for evaluation."""
        everything = torch.arange(len(self.labels), device=self.labels.device)
        for chunk in self.share.of(everything).split(self.batch_size):
            yield self._batch(chunk)

    @property
    def record(self) -> Mapping[str, Any]:
        """Nothing: what is in memory can be read in one way only."""
        return {}

    def _changes(self, seed: int, epoch: int) -> Tensor | None:
        """The number of the change that each example gets in an epoch, (N,)."""
        if self.augmentation is None:
            return None
        ways = torch.randint(self.augmentation.ways, (len(self.labels),), generator=_generator(seed, epoch, "changes"))
        return ways.to(self.labels.device)

    def _batch(self, indices: Tensor, changes: Tensor | None = None) -> Batch:
        inputs = self.inputs[indices]
        if changes is not None and self.augmentation is not None:
            inputs = self.augmentation.apply(inputs, changes[indices])
        return self.prepare(inputs), self.labels[indices]
