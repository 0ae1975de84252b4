"""Batches of a data set. The order of an epoch is a function of (seed, epoch) alone, so that a run can stop after any
step and go on with the very next batch. What fits in memory is served from there; ImageNet has readers of its own.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from paper_repro.data import imagenet1k
from paper_repro.data.catalog import TRAINABLE, dataset
from paper_repro.data.sources import Say
from paper_repro.errors import UserError
from paper_repro.spec import LOADERS

Batch = tuple[Tensor, Tensor]


class Source(Protocol):
    """What the module of a data set that fits in memory offers."""

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

    @property
    def record(self) -> Mapping[str, Any]:
        """What the result of a run says about how its examples were read; nothing where there is nothing to say."""


def batches_of_epoch(
    examples: int, batch_size: int, share: Share, seed: int, epoch: int, first: int = 0
) -> Iterator[Tensor]:
    """This process's share of each batch of a shuffled epoch, from number ``first`` on, as positions of examples."""
    generator = torch.Generator().manual_seed(1_000_003 * seed + epoch)
    order = torch.randperm(examples, generator=generator)
    for start in range(first * batch_size, examples, batch_size):
        yield share.of(order[start : start + batch_size])


class TensorLoader:
    """Inputs (N, ...) and labels (N,) in memory, served in batches as ``prepare`` makes them. ``batch_size`` is that of
    all processes together.
    """

    def __init__(
        self,
        inputs: Tensor,
        labels: Tensor,
        prepare: Callable[[Tensor], Tensor],
        batch_size: int,
        share: Share = ALONE,
    ) -> None:
        self.inputs, self.labels, self.prepare, self.batch_size = inputs, labels, prepare, batch_size
        self.share = share

    def __len__(self) -> int:
        """Batches per epoch; the last one may be smaller."""
        return math.ceil(len(self.labels) / self.batch_size)

    def epoch(self, seed: int, epoch: int, first: int = 0) -> Iterator[Batch]:
        """The batches of one shuffled epoch, from number ``first`` on."""
        for indices in batches_of_epoch(len(self.labels), self.batch_size, self.share, seed, epoch, first):
            yield self._batch(indices)

    def in_order(self) -> Iterator[Batch]:
        """Every example exactly once, for evaluation."""
        for chunk in self.share.of(torch.arange(len(self.labels))).split(self.batch_size):
            yield self._batch(chunk)

    @property
    def record(self) -> Mapping[str, Any]:
        """Nothing: what is in memory can be read in one way only."""
        return {}

    def _batch(self, indices: Tensor) -> Batch:
        return self.prepare(self.inputs[indices]), self.labels[indices]


def source(name: str) -> Source:
    """The module of the data set called ``name``; UserError when this version cannot train on it."""
    title = dataset(name).title
    if name not in TRAINABLE:
        can = ", ".join(dataset(known).title for known in TRAINABLE)
        raise UserError(f"this version cannot train on {title} yet; it trains on {can}")
    return importlib.import_module(f"paper_repro.data.{name}")


def ensure(name: str, root: Path, say: Say = print, loader: str = LOADERS[0]) -> None:
    """Make sure that the data set is there and intact, and what reads it, or fail at once with what to do."""
    data = source(name)
    _require_reader(name, loader)
    if name == imagenet1k.FACTS.name:
        imagenet1k.ensure(root, say, loader)
    else:
        data.ensure(root, say)


def _require_reader(name: str, loader: str) -> None:
    if loader != LOADERS[0] and name != imagenet1k.FACTS.name:
        raise UserError(
            f"{loader} reads {imagenet1k.FACTS.title} alone, and {dataset(name).title} is held in memory: leave LOADER "
            "(--loader) out"
        )


def standing_in(stand_ins: Mapping[str, str], root: Path) -> dict[str, str]:
    """Data set -> its stand-in, for those of ``stand_ins`` that are not under ``root`` while their stand-in is."""
    return {
        name: other
        for name, other in stand_ins.items()
        if not source(name).present(root) and source(other).present(root)
    }


def open_loaders(
    name: str, root: Path, batch_size: int, share: Share = ALONE, loader: str = LOADERS[0], say: Say = print
) -> tuple[Loader, Loader, str]:
    """(training loader, validation loader, sha256 fingerprint of the data). ``loader``, of ``spec.LOADERS``, reads what
    does not fit in memory; ``say`` is told of what takes long.
    """
    data = source(name)
    _require_reader(name, loader)
    if name == imagenet1k.FACTS.name:
        return imagenet1k.open_loaders(root, batch_size, share, loader, say)
    share.require_fair(dataset(name).train_examples, batch_size)
    folder = data.ensure(root, say)
    train, val = (
        TensorLoader(*part, data.prepare, batch, share)
        for part, batch in zip(data.load(folder), (batch_size, 500), strict=True)
    )
    return train, val, data.fingerprint(folder)
