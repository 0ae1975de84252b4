"""Where a copy of ImageNet-1K is, and whether it is whole: all that is wrong, and how to mend it, by names, counts and
sizes alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path

import numpy as np

from paper_repro.data.readers.images import DANGLING, Images, is_image, list_images, wnid_of
from paper_repro.errors import UserError

FOLDER = "imagenet1k"
FOLDERS = ("", FOLDER, "imagenet", "ImageNet", "ILSVRC2012", "ILSVRC/Data/CLS-LOC")  # under DATA_ROOT
UNREADABLE = "unreadable.txt"  # beside train and val: relative paths of files that the user left out
COMMAND = "python -m paper_repro data imagenet"
SHOWN = 5  # of each kind of fault, in a message


@dataclass(frozen=True)
class Part:
    """How many images a part has, and how many a class of it has at least and at most."""

    examples: int
    least: int
    most: int


PARTS = {"train": Part(1_281_167, 732, 1300), "val": Part(50_000, 50, 50)}


@lru_cache
def wnids() -> tuple[str, ...]:
    """The WordNet ids of the 1000 classes in the order of their labels, which is that of the alphabet."""
    text = (resources.files("paper_repro.data") / "imagenet_wnids.txt").read_text(encoding="utf-8")
    return tuple(text.split())


def home(root: Path) -> Path:
    """The folder with ``train`` and ``val`` (or their FFCV files): ``root`` itself, or one of the usual names in it."""
    for name in FOLDERS:
        if any((root / name / part).exists() for part in ("train", "val", "train.beton")):
            return root / name
    return root / FOLDER


def check(folder: Path, empty: bool = True) -> dict[str, Images]:
    """The images of each part. UserError, with all that is wrong and how to mend it, unless the folder is ImageNet-1K
    by its classes, counts, names and sizes; empty files are no fault where ``empty`` is false.
    """
    if not any((folder / part).is_dir() for part in PARTS):
        looked = f"{folder.parent} does not exist" if not folder.parent.is_dir() else "it has neither train nor val"
        if folder.name == FOLDER and folder.parent.is_dir():
            looked += f", nor has {folder.parent}"
        raise UserError(
            f"there is no ImageNet-1K in {folder}: {looked}. It is free for research, from "
            f"https://image-net.org/download-images (an account is needed; ILSVRC 2012, tasks 1 and 2, 138 + 6.3 GB). "
            f"Unpack it as {folder}/train/WNID/*.JPEG and {folder}/val/WNID/*.JPEG, or name the folder that has train "
            "and val with --data-root DIR (DATA_ROOT=DIR)."
        )
    left_out = read_unreadable(folder)
    images, faults = {}, []
    for part, expected in PARTS.items():
        listed = list_images(folder / part, wnids())
        faults += [f"{part}: {fault}" for fault in _faults(folder, part, listed, expected, left_out, empty)]
        images[part] = listed.without({name.removeprefix(f"{part}/") for name in left_out})
    if faults:
        raise UserError(f"{folder} is not a whole ImageNet-1K:\n  " + "\n  ".join(faults))
    return images


def read_unreadable(folder: Path) -> set[str]:
    """Relative paths, such as ``train/n01440764/n01440764_10026.JPEG``, of the files that the user left out."""
    path = folder / UNREADABLE
    return set(path.read_text(encoding="utf-8").split("\n")) - {""} if path.is_file() else set()


def _faults(folder: Path, part: str, listed: Images, expected: Part, left_out: set[str], empty: bool) -> list[str]:
    place = folder / part
    if not place.is_dir():
        return [f"{place} is not there"]
    entries = sorted(place.iterdir())
    flat = sum(is_image(item.name) for item in entries)
    if flat and part == "val":
        return [_how_to_sort(folder, flat)]
    tar = "ILSVRC2012_img_train.tar" if part == "train" else "ILSVRC2012_img_val.tar"
    faults = []
    if flat:
        faults.append(f"{flat:,} images lie in {place} itself; each belongs into the folder that its name begins with")
    there = {item.name for item in entries if item.is_dir()}
    lost = sorted(item.name for item in entries if item.is_symlink() and not item.exists() and item.name in wnids())
    missing, foreign = sorted(set(wnids()) - there - set(lost)), sorted(there - set(wnids()))
    if lost:
        faults.append(f"{len(lost):,} links in {place} lead nowhere: {_first(lost)}; bring the folders they point to")
    if missing:
        faults.append(
            f"{len(missing):,} of {len(wnids()):,} classes are missing: {_first(missing)}; unpack them from {tar}"
        )
    if foreign:
        faults.append(f"{len(foreign):,} folders are not of its classes: {_first(foreign)}; move them out of {place}")
    if len(listed) != expected.examples:
        faults.append(f"{len(listed):,} images instead of {expected.examples:,}; unpack what is missing from {tar}")
    counts = dict(zip(wnids(), _counts(listed), strict=True))
    odd = [f"{wnid} has {count:,}" for wnid, count in counts.items() if not expected.least <= count <= expected.most]
    odd = [text for text in odd if text.split()[0] not in (*missing, *lost)]
    if odd:
        usual = f"{expected.least:,}" + (f" to {expected.most:,}" if expected.most > expected.least else "")
        faults.append(f"classes with another number of images than {usual}: {_first(odd)}")
    return faults + _odd_files(place, part, listed, left_out, empty)


def _odd_files(place: Path, part: str, listed: Images, left_out: set[str], empty: bool) -> list[str]:
    """Files of no bytes and links that lead nowhere, unless ``empty`` is false, and training images whose name says
    another class.
    """
    faults = []
    for size, what, mend in (
        (0, "files in {} are empty", "unpack them again"),
        (DANGLING, "links in {} lead nowhere", "bring what they point to, or unpack them again"),
    ):
        bad = [listed.relative(index) for index in (listed.sizes == size).nonzero()[0]]
        bad = [name for name in bad if f"{part}/{name}" not in left_out]
        if bad and empty:
            faults.append(
                f"{len(bad):,} {what.format(place)}: {_first(bad)}; {mend}, or leave them out with "
                f"`{COMMAND} --root '{place.parent}' --decode --skip-unreadable`"
            )
    if part == "train":
        prefixes = listed.names.astype("S9").tolist()
        owners = [wnid.encode() for wnid in listed.wnids]
        suspects = [i for i, prefix in enumerate(prefixes) if prefix != owners[listed.labels[i]]]
        wrong = [listed.relative(i) for i in suspects if wnid_of(listed.relative(i).partition("/")[2])]
        if wrong:
            faults.append(f"{len(wrong):,} images are in another class's folder than their name says: {_first(wrong)}")
    return faults


def _counts(listed: Images) -> list[int]:
    return np.bincount(listed.labels, minlength=len(listed.wnids)).tolist()


def _how_to_sort(folder: Path, flat: int) -> str:
    return (
        f"{flat:,} images lie in {folder / 'val'} itself, not sorted into classes. To sort them:\n"
        f"    {COMMAND} --root '{folder}' --sort-val FILE\n"
        "  where FILE is ILSVRC2012_devkit_t12.tar.gz (from image-net.org), LOC_val_solution.csv (from Kaggle), or any "
        "text with an image's name and its WordNet id on each line, such as valprep.sh"
    )


def _first(items: list[str]) -> str:
    return ", ".join(items[:SHOWN]) + (f" and {len(items) - SHOWN:,} more" if len(items) > SHOWN else "")
