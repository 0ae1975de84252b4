"""CIFAR-100 (Krizhevsky, 2009): 50,000 and 10,000 colour images of 32 x 32 px in 100 classes.

Kept as the two files of the author's binary version, ``DATA_ROOT/cifar-100-binary``. A record has the coarse label, the
fine one, which is learnt, and 3,072 values.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from paper_repro.data.dataset import Archived, Origin, Parts
from paper_repro.data.sets.cifar10 import CIFAR10
from paper_repro.data.sources import Say


@dataclass(frozen=True, kw_only=True)
class CIFAR100(CIFAR10):
    """The two files, or the author's archive."""

    mean, std = (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)

    def present(self, root: Path) -> bool:
        return Archived.present(self, root)

    def origins(self, root: Path, folder: Path, say: Say) -> Iterator[Origin]:
        yield from Archived.origins(self, root, folder, say)

    def load(self, folder: Path) -> Parts:
        """uint8 (N, 3, 32, 32) and int64 (N,), of each part."""

        def read(name: str) -> tuple[Tensor, Tensor]:
            records = np.fromfile(folder / name, dtype=np.uint8).reshape(-1, 3074)
            images = torch.from_numpy(records[:, 2:].reshape(-1, 3, 32, 32))
            return images, torch.from_numpy(records[:, 1].astype(np.int64))

        return read("train.bin"), read("test.bin")
