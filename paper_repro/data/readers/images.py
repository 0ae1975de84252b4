"""Images on disk in one folder per class: what is there, and one of them as RGB."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from paper_repro.errors import UserError
from paper_repro.machine import cores

SUFFIXES = (".jpeg", ".jpg")  # in any case; everything else that lies there is ignored
DANGLING = -1  # the size of a link that leads nowhere
REMEDY = (  # for an image that cannot be read
    "Put an intact copy in its place, or leave such files out, on record: "
    "python -m paper_repro data imagenet --decode --skip-unreadable (with --root DIR)"
)
LISTERS = 16  # threads that list folders: they wait for the disk, or the network, and not for a core


@dataclass(frozen=True)
class Images:
    """The images under ``folder``, class by class in the order of ``wnids``, each class sorted by name.

    ``names`` are bytes, as the file system has them, (N,); ``sizes`` bytes per file, ``labels`` int64. Arrays and not
    lists of 1.3 million objects: every process that loads data shares them, and copies lists.
    """

    folder: Path
    wnids: tuple[str, ...]
    names: np.ndarray
    sizes: np.ndarray
    labels: np.ndarray
    left_out: int = 0  # unreadable files that are not among them, because the user said so

    def __len__(self) -> int:
        return len(self.names)

    def relative(self, index: int) -> str:
        """Path of one image inside the folder: WNID/NAME."""
        return f"{self.wnids[self.labels[index]]}/{os.fsdecode(self.names[index])}"

    def path(self, index: int) -> Path:
        """Path of one image."""
        return self.folder / self.relative(index)

    def without(self, unreadable: Collection[str]) -> Images:
        """All but those whose relative path is in ``unreadable``."""
        if not unreadable:
            return self
        wanted = {name.partition("/")[0] for name in unreadable}
        suspects = np.flatnonzero(np.isin(self.labels, [self.wnids.index(w) for w in wanted if w in self.wnids]))
        out = [index for index in suspects.tolist() if self.relative(index) in unreadable]
        keep = np.ones(len(self), dtype=bool)
        keep[out] = False
        return Images(
            self.folder, self.wnids, self.names[keep], self.sizes[keep], self.labels[keep], self.left_out + len(out)
        )

    @cached_property
    def fingerprint(self) -> str:
        """A sha256 of every image's class, name and size. Of the content there is none: reading it takes an hour."""
        digest = hashlib.sha256("\n".join(self.wnids).encode())
        for values in (self.labels.astype("<i8"), self.sizes.astype("<i8")):
            digest.update(values.tobytes())
        digest.update(b"\0".join(self.names.tolist()))
        return digest.hexdigest()


def list_images(folder: Path, wnids: Sequence[str]) -> Images:
    """What lies in the class folders of ``folder``; a class without a folder has no images, and a link that leads
    nowhere has the size ``DANGLING``. Nothing is opened, so that 1.3 million files take seconds.
    """
    with ThreadPoolExecutor(LISTERS) as pool:
        classes = list(pool.map(_list_class, [folder / wnid for wnid in wnids]))
    names = [name for entries in classes for name, _ in entries]
    return Images(
        folder,
        tuple(wnids),
        np.array(names, dtype=bytes),
        np.array([size for entries in classes for _, size in entries], dtype=np.int64),
        np.repeat(np.arange(len(wnids)), [len(entries) for entries in classes]),
    )


def _list_class(folder: Path) -> list[tuple[bytes, int]]:
    try:
        with os.scandir(os.fsencode(folder)) as entries:
            return sorted((item.name, _size(item)) for item in entries if is_image(os.fsdecode(item.name)))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise UserError(f"cannot list {folder}: {error.strerror}") from error


def _size(item: os.DirEntry[bytes]) -> int:
    try:
        return item.stat().st_size
    except OSError:
        if item.is_symlink():
            return DANGLING
        raise


def is_image(name: str) -> bool:
    """Whether a file of this name is an image; the ``._NAME`` that macOS leaves beside one is not."""
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def wnid_of(name: str) -> str | None:
    """The class that a training image's name begins with, as ``n01440764_10026.JPEG`` does."""
    named = re.match(r"(n\d{8})_", name)
    return named[1] if named else None


def read_rgb(path: Path) -> Image.Image:
    """The whole image, decoded, as RGB: also what is grey, CMYK, or a PNG under a JPEG's name, as one of ImageNet's is
    (n02105855_2933). UserError, naming the file, when it is damaged.
    """
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except Exception as error:  # whatever a decoder says to a damaged file
        raise UserError(f"{path} cannot be read as an image: {error}") from error


def unreadable(images: Images) -> Iterator[str | None]:
    """For each image its relative path if it cannot be decoded, else None. Pillow decodes outside Python's lock, so
    threads are enough.
    """

    def bad(index: int) -> str | None:
        try:
            read_rgb(images.path(index))
        except UserError:
            return images.relative(index)
        return None

    with ThreadPoolExecutor(cores()) as pool:
        for start in range(0, len(images), 10_000):  # in parts: a pool keeps every task that it is given
            yield from pool.map(bad, range(start, min(start + 10_000, len(images))))
