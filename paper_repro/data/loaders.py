"""Batches from a data set that fits in memory. The order of an epoch is a function of (seed, epoch) alone, so that a
run can stop after any step and go on with the very next batch.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from paper_repro.data.augmentation import Augmentation
from paper_repro.data.catalog import TRAINABLE, dataset
from paper_repro.data.sources import Say
from paper_repro.errors import UserError

Batch = tuple[Tensor, Tensor]


class Source(Protocol):
    """What the module of a data set offers; ``AUGMENTATION`` as well, where training examples are to be augmented."""

    def present(self, root: Path) -> bool:
        """Whether the files are under ``root``, packed or not; nothing is fetched, and nothing verified."""

    def ensure(self, root: Path, say: Say = print) -> Path:
        """Find the files under ``root``, or fetch them there, and verify them; returns what ``load`` takes."""

    def load(self, folder: Path) -> tuple[Batch, Batch]:
        """((training inputs, labels), (validation inputs, labels)), as they are kept in memory."""

    def prepare(self, inputs: Tensor) -> Tensor:
        """A batch of inputs as the network sees it: float32, normalised."""

    def fingerprint(self, folder: Path) -> str:
        """A sha256 of everything that ``load`` returns, directly or through the files that it is made from."""


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
        generator = torch.Generator().manual_seed(1_000_003 * seed + epoch)
        order = torch.randperm(len(self.labels), generator=generator).to(self.labels.device)
        changes = self._changes(generator)
        for index in range(first, len(self)):
            yield self._batch(self.share.of(order[index * self.batch_size : (index + 1) * self.batch_size]), changes)

    def in_order(self) -> Iterator[Batch]:
        """Every example exactly once, for evaluation."""
        everything = torch.arange(len(self.labels), device=self.labels.device)
        for chunk in self.share.of(everything).split(self.batch_size):
            yield self._batch(chunk)

    def _changes(self, generator: torch.Generator) -> Tensor | None:
        """The number of the change that each example gets in an epoch, (N,), drawn after the epoch's order."""
        if self.augmentation is None:
            return None
        ways = torch.randint(self.augmentation.ways, (len(self.labels),), generator=generator)
        return ways.to(self.labels.device)

    def _batch(self, indices: Tensor, changes: Tensor | None = None) -> Batch:
        inputs = self.inputs[indices]
        if changes is not None and self.augmentation is not None:
            inputs = self.augmentation.apply(inputs, changes[indices])
        return self.prepare(inputs), self.labels[indices]


def source(name: str) -> Source:
    """The module of the data set called ``name``; UserError when this version cannot train on it."""
    title = dataset(name).title
    if name not in TRAINABLE:
        can = ", ".join(dataset(known).title for known in TRAINABLE)
        raise UserError(f"this version cannot train on {title} yet; it trains on {can}")
    return importlib.import_module(f"paper_repro.data.{name}")


def ensure(name: str, root: Path, say: Say = print) -> None:
    """Make sure that the data set is there and intact, or fail at once with what to do."""
    source(name).ensure(root, say)


def standing_in(stand_ins: Mapping[str, str], root: Path) -> dict[str, str]:
    """Data set -> its stand-in, for those of ``stand_ins`` that are not under ``root`` while their stand-in is."""
    return {
        name: other
        for name, other in stand_ins.items()
        if not source(name).present(root) and source(other).present(root)
    }


def open_loaders(
    name: str, root: Path, batch_size: int, device: torch.device | str = "cpu", share: Share = ALONE
) -> tuple[Loader, Loader, str]:
    """(training loader, validation loader, sha256 fingerprint of the data). The data is kept, and batches are made, on
    ``device``.
    """
    data = source(name)
    share.require_fair(dataset(name).train_examples, batch_size)
    folder = data.ensure(root)
    (x_train, y_train), (x_val, y_val) = data.load(folder)
    augmentation = getattr(data, "AUGMENTATION", None)
    train = TensorLoader(x_train.to(device), y_train.to(device), data.prepare, batch_size, share, augmentation)
    val = TensorLoader(x_val.to(device), y_val.to(device), data.prepare, 500, share)
    return train, val, data.fingerprint(folder)
