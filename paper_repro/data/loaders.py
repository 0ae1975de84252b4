"""Batches of a data set. The order of an epoch is a function of (seed, epoch) alone, so that a run can stop after any
step and go on with the very next batch. What fits in memory is served from there; ImageNet has readers of its own.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from paper_repro.data import imagenet1k
from paper_repro.data.augmentation import Augmentation
from paper_repro.data.catalog import FROM_FILES, dataset
from paper_repro.data.har2_variants import VARIANTS
from paper_repro.data.sources import Say
from paper_repro.errors import UserError
from paper_repro.spec import LOADERS

Batch = tuple[Tensor, Tensor]


class Source(Protocol):
    """What the module of a data set that fits in memory offers; ``AUGMENTATION`` too, where training augments."""

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


def source(name: str) -> Source:
    """The module of the data set called ``name``, or the variant of another one that it is."""
    facts = dataset(name)
    if facts.name in VARIANTS:
        return VARIANTS[facts.name]
    return importlib.import_module(f"paper_repro.data.{facts.name}")


def ensure(name: str, root: Path, say: Say = print, loader: str = LOADERS[0]) -> None:
    """Make sure that the data set is there and intact, and what reads it, or fail at once with what to do."""
    data = source(name)
    if name in FROM_FILES:
        imagenet1k.ensure(root, say, loader)
    else:
        data.ensure(root, say)


def standing_in(stand_ins: Mapping[str, str], root: Path) -> dict[str, str]:
    """Data set -> its stand-in, for those of ``stand_ins`` that are not under ``root`` while their stand-in is."""
    return {
        name: other
        for name, other in stand_ins.items()
        if not source(name).present(root) and source(other).present(root)
    }


def open_loaders(
    name: str,
    root: Path,
    batch_size: int,
    device: torch.device | str = "cpu",
    share: Share = ALONE,
    loader: str = LOADERS[0],
    say: Say = print,
) -> tuple[Loader, Loader, str]:
    """(training loader, validation loader, sha256 fingerprint of the data). Data that fits in memory is kept, and its
    batches are made, on ``device``. ``loader``, of ``spec.LOADERS``, reads what does not fit; ``say`` is told of what
    takes long.
    """
    data = source(name)
    if name in FROM_FILES:
        return imagenet1k.open_loaders(root, batch_size, share, loader, say)
    share.require_fair(dataset(name).train_examples, batch_size)
    folder = data.ensure(root, say)
    (x_train, y_train), (x_val, y_val) = data.load(folder)
    augmentation = getattr(data, "AUGMENTATION", None)
    train = TensorLoader(x_train.to(device), y_train.to(device), data.prepare, batch_size, share, augmentation)
    val = TensorLoader(x_val.to(device), y_val.to(device), data.prepare, 500, share)
    return train, val, data.fingerprint(folder)
