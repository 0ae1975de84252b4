"""Speech Commands v0.02's canonical test set of 12 classes (Warden, 2018; CC BY 4.0), split by speaker into a training
and a test part: real speech for the network of Google-12 where its 1.5 GB cannot be fetched. Accuracies on it are not
comparable with the paper's.

``DATA_ROOT/speech12/gsc12_test_v0.02.npz`` holds the 4,890 clips of Google's archive speech_commands_test_set_v0.02:
``x`` int16 (4,890, 16,000), ``y`` 0 to 11 as named in ``classes``, ``names`` of the files, ``speaker`` (8 hexadecimal
digits, the first part of a file's name; empty for the 408 clips of silence).

The split: the 239 speakers in the order of the sha256 of "speech12 SPEAKER"; the first 47, a fifth, are the test part,
so that no speaker is in both. Clips of silence have no speaker, and are cut from few recordings of noise: the first 81
of 408 in the order of the sha256 of "speech12 NAME" are for testing, and the same noise may be in both parts. This
makes 3,777 and 1,113 clips. Features are those of Google-12 (``speech_features``); they take some seconds, once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from torch import Tensor

from paper_repro.data import arrays, speech_features
from paper_repro.data.arrays import Arrays
from paper_repro.data.sources import Say

NAME = "gsc12_test_v0.02.npz"
SHA256 = "f3380515e6e519f53c4fe695b349f30109628dacdddc415ca0f2751d319bb7d1"
TEST_SHARE = 5  # one in five


def ensure(root: Path, say: Say = print) -> Path:
    """The folder of the verified file, with its features; UserError, with what to use instead, when it is absent."""
    what = "it holds the 4,890 clips of Google's speech_commands_test_set_v0.02"
    instead = "Use google12 instead, the paper's own data (`data google12` fetches it), or bring the file"
    folder = arrays.verified(root / "speech12" / NAME, SHA256, what, instead).parent
    _parts(folder, say)
    return folder


def present(root: Path) -> bool:
    """Whether the file is under ``root``."""
    return (root / "speech12" / NAME).is_file()


def load(folder: Path) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """((training inputs, labels), (test inputs, labels)): float32 (N, 99, 32), standardised, and int64 (N,)."""
    return speech_features.standardised(_parts(folder))


def prepare(inputs: Tensor) -> Tensor:
    """The inputs: ``load`` has standardised them."""
    return inputs


def fingerprint(folder: Path) -> str:
    """Of the features before standardising, and of the labels."""
    return arrays.fingerprint(_parts(folder))


def in_test_part(speakers: np.ndarray, names: np.ndarray) -> np.ndarray:
    """Which clips are for testing, bool (N,): see the module's text."""
    silent = speakers == ""
    people, clips = _first_fifth(set(speakers[~silent])), _first_fifth(names[silent])
    return np.where(silent, np.isin(names, clips), np.isin(speakers, people))


def _first_fifth(items: Iterable[str]) -> list[str]:
    order = sorted(map(str, items), key=lambda item: hashlib.sha256(f"speech12 {item}".encode()).hexdigest())
    return order[: len(order) // TEST_SHARE]


def _parts(folder: Path, say: Say = print) -> Arrays:
    def make() -> Arrays:
        content = arrays.read(folder / NAME)
        say(
            f"Speech Commands: features of {len(content['x']):,} clips (some seconds, once; 62 MB are kept in {folder})"
        )
        features = speech_features.extract(content["x"], len(content["x"]), "features")
        testing = in_test_part(content["speaker"], content["names"])
        labels = content["y"].astype(np.int64)
        return {
            "x_train": features[~testing],
            "y_train": labels[~testing],
            "x_test": features[testing],
            "y_test": labels[testing],
        }

    return arrays.cached(folder / "log_mel.npz", f"{SHA256}, split 1, {speech_features.VERSION}", make, say)
