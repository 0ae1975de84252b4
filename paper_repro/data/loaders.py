"""Batches from a data set that fits in memory. The order of an epoch is a function of (seed, epoch) alone, so that a
run can stop after any step and go on with the very next batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from paper_repro.data import fashion_mnist
from paper_repro.data.catalog import TRAINABLE, dataset
from paper_repro.data.sources import Say
from paper_repro.errors import UserError

Batch = tuple[Tensor, Tensor]


class TensorLoader:
    """uint8 images (N, C, H, W) and labels (N,), served as normalised float32 in channels_last (a quarter faster on a
    CPU).
    """

    def __init__(self, images: Tensor, labels: Tensor, mean: float, std: float, batch_size: int) -> None:
        self.images, self.labels = images, labels
        self.mean, self.std, self.batch_size = mean, std, batch_size

    def __len__(self) -> int:
        """Batches per epoch; the last one may be smaller."""
        return math.ceil(len(self.labels) / self.batch_size)

    def epoch(self, seed: int, epoch: int, first: int = 0) -> Iterator[Batch]:
        """The batches of one shuffled epoch, from number ``first`` on."""
        generator = torch.Generator().manual_seed(1_000_003 * seed + epoch)
        order = torch.randperm(len(self.labels), generator=generator)
        for index in range(first, len(self)):
            yield self._batch(order[index * self.batch_size : (index + 1) * self.batch_size])

    def in_order(self) -> Iterator[Batch]:
        """Every image exactly once, for evaluation."""
        for chunk in torch.arange(len(self.labels)).split(self.batch_size):
            yield self._batch(chunk)

    def _batch(self, indices: Tensor) -> Batch:
        images = self.images[indices].float().div_(255.0).sub_(self.mean).div_(self.std)
        # not .contiguous(): with one channel it changes nothing, and convolutions take the strides at face value
        return images.to(memory_format=torch.channels_last), self.labels[indices]


def ensure(name: str, root: Path, say: Say = print) -> None:
    """Make sure that the data set is there and intact, or fail at once with what to do."""
    _require_loader(name)
    fashion_mnist.ensure(root, say)


def open_loaders(name: str, root: Path, batch_size: int) -> tuple[TensorLoader, TensorLoader, str]:
    """(training loader, validation loader, sha256 fingerprint of the data)."""
    _require_loader(name)
    folder = fashion_mnist.ensure(root)
    train, val = (
        TensorLoader(*part, fashion_mnist.MEAN, fashion_mnist.STD, batch)
        for part, batch in zip(fashion_mnist.load(folder), (batch_size, 500), strict=True)
    )
    return train, val, fashion_mnist.FINGERPRINT


def _require_loader(name: str) -> None:
    title = dataset(name).title
    if name not in TRAINABLE:
        raise UserError(f"this version cannot train on {title} yet; it trains on Fashion-MNIST (TIER=smoke)")
