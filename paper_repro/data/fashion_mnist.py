"""Fashion-MNIST (Xiao, Rasul and Vollgraf, 2017; MIT licence): 60,000 and 10,000 grey images of 28 x 28 px in 10
classes.

Kept in torchvision's layout, ``DATA_ROOT/FashionMNIST/raw``, so that an existing copy is used as it is.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from paper_repro.data import sources
from paper_repro.data.sources import Say, debian_package, fetch, gunzip, is_intact
from paper_repro.errors import UserError

# sha256 of the unpacked files. Checked to be the content of the archives whose md5 torchvision lists: Debian's package
# holds the same compressed streams, with the name and time removed from the gzip header.
SHA256 = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
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


def ensure(root: Path, say: Say = print) -> Path:
    """Find the four files under ``root``, or fetch them there, and verify them; returns their folder.

    Tried in turn: the files, their .gz beside them, an installed Debian package, the public mirror, Debian's package
    archive. UserError, naming what was tried, when none has them.
    """
    folder = root / "FashionMNIST" / "raw"
    if not missing(folder):  # it may lie on a disk that nobody can write
        return folder
    with sources.claimed(folder, "Fashion-MNIST", needs_mb=120):
        if not missing(folder):  # another process has brought it
            return folder
        for name in missing(folder):
            if (folder / name).exists():
                (folder / name).replace(folder / f"{name}.corrupt")
                say(f"{folder / name} is not Fashion-MNIST's file (wrong sha256): kept as {name}.corrupt")
        tried = []
        for title, source in (
            (f"{folder}/*.gz", lambda: _unpack(folder, folder)),
            (f"/{DEBIAN_FOLDER}", lambda: _unpack(Path("/", DEBIAN_FOLDER), folder)),
            (MIRROR, lambda: _from_mirror(folder, say)),
            (f"Debian's package {DEBIAN_PACKAGE}", lambda: _from_debian(folder, say)),
        ):
            try:
                source()
                tried.append(f"{title}: not there")
            except UserError as error:
                tried.append(f"{title}: {error}")
            if not missing(folder):
                say(f"Fashion-MNIST: verified, from {title}")
                return folder
    raise UserError(
        f"Fashion-MNIST is not under {root} and could not be fetched.\n  "
        + "\n  ".join(tried)
        + f"\nPut {', '.join(SHA256)} (or their .gz) into {folder}, or set DATA_ROOT to a folder "
        "that has FashionMNIST/raw."
    )


def present(root: Path) -> bool:
    """Whether the four files are under ``root``."""
    return all((root / "FashionMNIST" / "raw" / name).is_file() for name in SHA256)


def missing(folder: Path) -> list[str]:
    """The names of the files that are not in ``folder``, or not intact."""
    return [name for name, digest in SHA256.items() if not is_intact(folder / name, digest)]


def load(folder: Path) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """((train images, labels), (test images, labels)): uint8 (N, 1, 28, 28) and int64 (N,)."""

    def read(part: str) -> tuple[Tensor, Tensor]:
        images = _read_idx(folder / f"{part}-images-idx3-ubyte")
        return images.unsqueeze(1), _read_idx(folder / f"{part}-labels-idx1-ubyte").long()

    return read("train"), read("t10k")


def prepare(images: Tensor) -> Tensor:
    """uint8 images as normalised float32 in channels_last, in which a CPU convolves a quarter faster."""
    normalised = images.float().div_(255.0).sub_(MEAN).div_(STD)
    # not .contiguous(): with one channel it changes nothing, and convolutions take the strides at face value
    return normalised.to(memory_format=torch.channels_last)


def fingerprint(folder: Path) -> str:
    """Of the four files: ``ensure`` has found them to be these."""
    return sources.fingerprint(SHA256)


def _read_idx(path: Path) -> Tensor:
    """The uint8 tensor in an IDX file: 2 zero bytes, type 8, the number of dimensions, each as a big-endian int32, the
    values. Read here because importing torchvision takes longer than the rest of a worker's start.
    """
    content = path.read_bytes()
    dimensions = content[3]
    shape = np.frombuffer(content, dtype=">i4", count=dimensions, offset=4)
    values = np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * dimensions)
    return torch.from_numpy(values.reshape(shape).copy())


def _unpack(source: Path, folder: Path) -> None:
    for name in missing(folder):
        if (source / f"{name}.gz").is_file():
            gunzip(source / f"{name}.gz", folder / name, SHA256[name])


def _from_mirror(folder: Path, say: Say) -> None:
    say(f"Fashion-MNIST: fetching 31 MB from {MIRROR}")
    for name in missing(folder):
        fetch(f"{MIRROR}/{name}.gz", folder, f"{name}.gz", f"md5:{MIRROR_MD5[name]}")
    _unpack(folder, folder)


def _from_debian(folder: Path, say: Say) -> None:
    say(f"Fashion-MNIST: the mirror is out of reach; fetching Debian's package {DEBIAN_PACKAGE} (31 MB)")
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        _unpack(debian_package(DEBIAN_PACKAGE, Path(scratch)) / DEBIAN_FOLDER, folder)
