"""A data set small enough to train on in a test: 96 + 40 images of class-coloured noise under Fashion-MNIST's name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from paper_repro.data import catalog
from paper_repro.data.dataset import Parts
from paper_repro.data.sets import fashion_mnist, har2
from paper_repro.data.sources import Say
from paper_repro.spec import Spec

SPEC = Spec(
    model="resnet18",
    model_args={"width": 4},
    dataset="fashion_mnist",
    method="str",
    method_args={"s_init": -12.0},
    epochs=3,
    batch_size=4,
    lr=0.05,
    weight_decay=0.08,
    warmup_epochs=0,
    schedule="step",
)
STEPS = 72


def split(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 10, (count,), generator=generator)
    noise = torch.randint(0, 30, (count, 1, 28, 28), generator=generator)
    return (noise + 20 * labels[:, None, None, None]).to(torch.uint8), labels


class TinyImages(fashion_mnist.FashionMNIST):
    """96 + 40 images."""

    def ensure(self, root: Path, say: Say = print, loader: str = "") -> Path:
        return Path(root)

    def load(self, folder: Path) -> Parts:
        return split(96, 0), split(40, 1)


def install(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """Serve the tiny data set in place of Fashion-MNIST, with these facts changed, and its validation split."""
    facts = {"source": f"{__name__}:TinyImages", "train_examples": 96, "val_examples": 40}
    monkeypatch.setitem(catalog.sets(), "fashion_mnist", catalog.keys("fashion_mnist") | facts | changes)
    split = catalog.sets()["fashion_mnist_validation"] | {"train_examples": 87, "val_examples": 9}
    monkeypatch.setitem(catalog.sets(), "fashion_mnist_validation", split)


# a low-rank network whose ranks fall from 9/12 to about 2/2
RANKS = Spec(
    model="fastgrnn",
    model_args={"rank_w": 9, "rank_u": 12, "hidden": 12},
    dataset="har2_rebuilt",
    method="str-rank",
    method_args={"s_init": -10.0, "keep": [[9, 12]]},
    epochs=6,
    batch_size=8,
    lr=0.1,
    momentum=0.9,
    weight_decay=0.05,
    warmup_epochs=0,
    schedule="drop",
    label_smoothing=0.0,
)


def windows(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    inputs = torch.randn(count, 10, 9, generator=torch.Generator().manual_seed(seed))
    return inputs, (inputs[:, :, 0].sum(1) > 0).long()


class TinyWindows(har2.HAR2):
    """64 + 40 windows of 10 steps."""

    def ensure(self, root: Path, say: Say = print, loader: str = "") -> Path:
        return Path(root)

    def load(self, folder: Path) -> Parts:
        return windows(64, 0), windows(40, 1)

    def fingerprint(self, folder: Path) -> str:
        return "0" * 64


def install_sequences(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same in place of the reconstructed HAR-2."""
    facts = {"source": f"{__name__}:TinyWindows", "train_examples": 64, "val_examples": 40, "input_size": (10, 9)}
    monkeypatch.setitem(catalog.sets(), "har2_rebuilt", catalog.keys("har2_rebuilt") | facts)
