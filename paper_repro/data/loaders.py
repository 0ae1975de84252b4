"""Batches of a data set. The order of an epoch is a function of (seed, epoch) alone, so that a run can stop after any
step and go on with the very next batch. What fits in memory is served from there; ``readers`` serves the rest.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

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


def generator(seed: int, epoch: int, purpose: Literal["order", "changes"]) -> torch.Generator:
    """Random numbers that are a function of (seed, epoch) alone, others for each purpose."""
    return torch.Generator().manual_seed(1_000_003 * seed + epoch + (2**48 if purpose == "changes" else 0))


class Loader(ABC):
    """Batches of a training or validation set of so many ``examples``; on several processes, this process's share of
    each. ``batch_size`` is that of all processes together.
    """

    def __init__(self, examples: int, batch_size: int, share: Share = ALONE) -> None:
        self.examples, self.batch_size, self.share = examples, batch_size, share

    def __len__(self) -> int:
        """Batches per epoch, counted over all processes together; the last one may be smaller."""
        return math.ceil(self.examples / self.batch_size)

    def epoch(self, seed: int, epoch: int, first: int = 0) -> Iterator[Batch]:
        """The batches of one shuffled epoch, augmented where training augments, from number ``first`` on. Which
        examples a batch has is a function of (seed, epoch).
        """
        order = torch.randperm(self.examples, generator=generator(seed, epoch, "order"))
        batches = order.split(self.batch_size)[first:]
        return self.serve((self.share.of(batch) for batch in batches), (seed, epoch))

    def in_order(self) -> Iterator[Batch]:
        """Every example exactly once over all processes, as it is, for evaluation."""
        return self.serve(self.share.of(torch.arange(self.examples)).split(self.batch_size), None)

    @abstractmethod
    def serve(self, batches: Iterable[Tensor], key: tuple[int, int] | None) -> Iterator[Batch]:
        """The batches of examples at these positions; ``key`` is (seed, epoch) where they are augmented."""

    @property
    def record(self) -> Mapping[str, Any]:
        """What the result of a run says about how its examples were read; nothing where there is nothing to say."""
        return {}


class TensorLoader(Loader):
    """Inputs (N, ...) and labels (N,) in memory, served in batches as ``prepare`` makes them, on the device that they
    are on.
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
        super().__init__(len(labels), batch_size, share)
        self.inputs, self.labels, self.prepare, self.augmentation = inputs, labels, prepare, augmentation

    def serve(self, batches: Iterable[Tensor], key: tuple[int, int] | None) -> Iterator[Batch]:
        device = self.labels.device
        ways = None  # the number of the change that each example gets
        if self.augmentation is not None and key is not None:
            every = torch.randint(self.augmentation.ways, (self.examples,), generator=generator(*key, "changes"))
            ways = every.to(device)
        for batch in batches:
            indices = batch.to(device)
            inputs = self.inputs[indices]
            if self.augmentation is not None and ways is not None:
                inputs = self.augmentation.apply(inputs, ways[indices])
            yield self.prepare(inputs), self.labels[indices]
