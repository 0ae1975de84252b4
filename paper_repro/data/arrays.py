"""What the data sets of sequences share: standardising, the fingerprint of arrays, and a cache that knows what it was
made from.
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from paper_repro.data.sources import Say
from paper_repro.files import replacing

Arrays = dict[str, np.ndarray]
UNREADABLE = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error)  # what a damaged .npz raises
MADE_FROM, DIGEST = "made_from", "sha256"  # the two entries of a cache file that are no data


def standardised(train: np.ndarray, test: np.ndarray, over: tuple[int, ...] = (0,)) -> tuple[Tensor, Tensor]:
    """Both parts as float32 tensors (N, steps, features), with each of the steps x features columns brought to mean 0
    and standard deviation 1 over the training part; a column that varies by less than 1e-6 is only centred. So does
    EdgeML's preprocessing, and with it the FastGRNN paper. ``over`` = (0, 1): one mean and deviation per feature.
    """
    mean, std = (part(over, dtype=np.float64, keepdims=True) for part in (train.mean, train.std))
    std[std < 1e-6] = 1.0
    scaled_train, scaled_test = (torch.from_numpy(((part - mean) / std).astype(np.float32)) for part in (train, test))
    return scaled_train, scaled_test


def drawn(text: str, items: Iterable[Any]) -> list[Any]:
    """The items in an order that depends on each alone, and is the same everywhere: of the sha256 of "TEXT ITEM"."""
    return sorted(items, key=lambda item: hashlib.sha256(f"{text} {item}".encode()).hexdigest())


def divided(testing: np.ndarray, **whole: np.ndarray) -> Arrays:
    """Each array in two: NAME_train where ``testing`` is false, NAME_test where it is true."""
    parts = (("train", ~testing), ("test", testing))
    return {f"{name}_{part}": values[chosen] for name, values in whole.items() for part, chosen in parts}


def fingerprint(arrays: Mapping[str, np.ndarray]) -> str:
    """One sha256 of names, types, shapes and values, whatever the order they are given in."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        value = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {value.dtype.str} {value.shape}\n".encode())
        digest.update(value.data)
    return digest.hexdigest()


def read(path: Path) -> Arrays:
    """All arrays of an .npz file; one of ``UNREADABLE`` when it is damaged. Never unpickles."""
    with path.open("rb") as file, np.load(file, allow_pickle=False) as content:  # np.load leaves a damaged file open
        return {name: content[name] for name in content.files}


def kept(path: Path, made_from: str, say: Say) -> Arrays | None:
    """The arrays in ``path`` when they were made from ``made_from`` and are intact; else None, and ``say`` says why."""
    if not path.is_file():
        return None
    try:
        content = read(path)
    except UNREADABLE:
        content = {}
    stored, digest = (str(content.pop(name, "")) for name in (MADE_FROM, DIGEST))
    if stored == made_from and digest == fingerprint(content):
        return content
    say(f"{path} is {'of other data or another version' if digest else 'damaged'}: made anew")
    return None


def keep(path: Path, made_from: str, arrays: Arrays) -> None:
    """Write the arrays to ``path``, where ``kept`` finds them; OSError when nothing can be written there."""
    entries = {MADE_FROM: np.array(made_from), DIGEST: np.array(fingerprint(arrays)), **arrays}
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **entries)  # type: ignore[arg-type]  # numpy's stub takes them for allow_pickle


def cached(path: Path, made_from: str, make: Callable[[], Arrays], say: Say) -> Arrays:
    """The arrays kept in ``path`` when they were made from ``made_from`` and are intact; else those that ``make``
    returns, which are then kept there. Where nothing can be written they are made anew each time, and ``say`` says so.
    """
    content = kept(path, made_from, say)
    if content is not None:
        return content
    arrays = make()
    try:
        keep(path, made_from, arrays)
    except OSError as error:
        say(f"cannot keep {path} ({error.strerror or error}): it will be made anew the next time")
    return arrays
