"""Fashion-MNIST (Xiao, Rasul and Vollgraf, 2017): 60,000 and 10,000 grey images of 28 x 28 px in 10 classes.

Kept in torchvision's layout, ``DATA_ROOT/FashionMNIST/raw``, so that an existing copy is used as it is.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from paper_repro.data.dataset import InMemory, Origin, Parts
from paper_repro.data.sources import Say, debian_package, fetch, gunzip

MIRROR = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"  # the one torchvision uses
MIRROR_MD5 = {
    "train-images-idx3-ubyte": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte": "bb300cfdad3c16e7a12a480ee83cd310",
}
DEBIAN_PACKAGE = "dataset-fashion-mnist"
DEBIAN_FOLDER = "usr/share/datasets/fashion-mnist"

# of the training images, scaled to 0..1
MEAN, STD = 0.2860, 0.3530


@dataclass(frozen=True, kw_only=True)
class FashionMNIST(InMemory):
    """The four files; from their .gz beside them, an installed Debian package, the public mirror, or Debian's package
    archive.
    """

    def fetch(self, root: Path, folder: Path, say: Say) -> None:
        for name in self.missing(folder):
            if (folder / name).exists():
                (folder / name).replace(folder / f"{name}.corrupt")
                say(f"{folder / name} is not Fashion-MNIST's file (wrong sha256): kept as {name}.corrupt")
        super().fetch(root, folder, say)

    def origins(self, root: Path, folder: Path, say: Say) -> Iterator[Origin]:
        yield f"{folder}/*.gz", lambda: self._unpack(folder, folder)
        yield f"/{DEBIAN_FOLDER}", lambda: self._unpack(Path("/", DEBIAN_FOLDER), folder)
        yield MIRROR, lambda: self._from_mirror(folder, say)
        yield f"Debian's package {DEBIAN_PACKAGE}", lambda: self._from_debian(folder, say)

    def load(self, folder: Path) -> Parts:
        """uint8 (N, 1, 28, 28) and int64 (N,), of each part."""

        def read(part: str) -> tuple[Tensor, Tensor]:
            images = _read_idx(folder / f"{part}-images-idx3-ubyte")
            return images.unsqueeze(1), _read_idx(folder / f"{part}-labels-idx1-ubyte").long()

        return read("train"), read("t10k")

    def prepare(self, inputs: Tensor) -> Tensor:
        """uint8 images as normalised float32 in channels_last, in which a CPU convolves a quarter faster."""
        normalised = inputs.float().div_(255.0).sub_(MEAN).div_(STD)
        # not .contiguous(): with one channel it changes nothing, and convolutions take the strides at face value
        return normalised.to(memory_format=torch.channels_last)

    def _unpack(self, source: Path, folder: Path) -> None:
        for name in self.missing(folder):
            if (source / f"{name}.gz").is_file():
                gunzip(source / f"{name}.gz", folder / name, self.files[name])

    def _from_mirror(self, folder: Path, say: Say) -> None:
        say(f"Fashion-MNIST: fetching 31 MB from {MIRROR}")
        for name in self.missing(folder):
            fetch(f"{MIRROR}/{name}.gz", folder, f"{name}.gz", f"md5:{MIRROR_MD5[name]}")
        self._unpack(folder, folder)

    def _from_debian(self, folder: Path, say: Say) -> None:
        say(f"Fashion-MNIST: the mirror is out of reach; fetching Debian's package {DEBIAN_PACKAGE} (31 MB)")
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            self._unpack(debian_package(DEBIAN_PACKAGE, Path(scratch)) / DEBIAN_FOLDER, folder)


def _read_idx(path: Path) -> Tensor:
    """The uint8 tensor in an IDX file: 2 zero bytes, type 8, the number of dimensions, each as a big-endian int32, the
    values. Read here because importing torchvision takes longer than the rest of a worker's start.
    """
    content = path.read_bytes()
    dimensions = content[3]
    shape = np.frombuffer(content, dtype=">i4", count=dimensions, offset=4)
    values = np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * dimensions)
    return torch.from_numpy(values.reshape(shape).copy())
