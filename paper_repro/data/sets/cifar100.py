"""CIFAR-100 (Krizhevsky, 2009): 50,000 and 10,000 colour images of 32 x 32 px in 100 classes.

Kept as the two files of the author's binary version, ``DATA_ROOT/cifar-100-binary``. A record has the coarse label, the
fine one, which is learnt, and 3,072 values.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from paper_repro.data.augmentation import CROP_AND_FLIP
from paper_repro.data.dataset import InMemory, Origin, Parts
from paper_repro.data.sets.cifar10 import CIFAR10, from_archive
from paper_repro.data.sources import Say

ARCHIVE = "cifar-100-binary.tar.gz"
AUTHOR = f"https://www.cs.toronto.edu/~kriz/{ARCHIVE}"
AUTHOR_SHA256 = "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec"


@dataclass(frozen=True, kw_only=True)
class CIFAR100(CIFAR10):
    """The two files, or the author's archive."""

    def present(self, root: Path) -> bool:
        return InMemory.present(self, root) or (root / ARCHIVE).is_file()

    def origins(self, root: Path, folder: Path, say: Say) -> Iterator[Origin]:
        if (root / ARCHIVE).is_file():
            yield str(root / ARCHIVE), partial(self.keep, folder, partial(from_archive, root / ARCHIVE, self.files))
        fetched = partial(self.fetched, AUTHOR, AUTHOR_SHA256, 169, folder, say)
        yield AUTHOR, partial(self.keep, folder, fetched)

    def load(self, folder: Path) -> Parts:
        """uint8 (N, 3, 32, 32) and int64 (N,), of each part."""

        def read(name: str) -> tuple[Tensor, Tensor]:
            records = np.fromfile(folder / name, dtype=np.uint8).reshape(-1, 3074)
            return torch.from_numpy(records[:, 2:].reshape(-1, 3, 32, 32)), torch.from_numpy(
                records[:, 1].astype(np.int64)
            )

        return read("train.bin"), read("test.bin")


DATASETS = (
    CIFAR100(
        name="cifar100",
        title="CIFAR-100",
        train_examples=50_000,
        val_examples=10_000,
        num_classes=100,
        input_size=(3, 32, 32),
        licence="none is stated",
        disk_mb=184,
        fetch_mb=360,
        kept_in="cifar-100-binary",
        # of the files in the author's archive, as torchvision-rb (Ruby) lists them
        files={
            "train.bin": "f31298fc616915fa142368359df1c4ca2ae984d6915ca468b998a5ec6aeebf29",
            "test.bin": "d8b1e6b7b3bee4020055f0699b111f60b1af1e262aeb93a0b659061746f8224a",
        },
        by_hand=f"Put {ARCHIVE} of {AUTHOR} into {{root}}, or set DATA_ROOT to a folder that has it.",
        augmentation=CROP_AND_FLIP,
        mean=(0.5071, 0.4865, 0.4409),
        std=(0.2673, 0.2564, 0.2762),
    ),
)
