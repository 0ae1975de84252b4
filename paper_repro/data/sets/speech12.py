"""Speech Commands v0.02's canonical test set of 12 classes (Warden, 2018), split by speaker into a training
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

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from paper_repro.data import arrays, speech_features
from paper_repro.data.arrays import Arrays
from paper_repro.data.dataset import Sequences
from paper_repro.data.sources import Say

FILE = "gsc12_test_v0.02.npz"
TEST_SHARE = 5  # one in five


@dataclass(frozen=True, kw_only=True)
class Speech12(Sequences):
    """One file of clips that cannot be fetched, and the features that are made of it."""

    def verify(self, folder: Path, say: Say) -> None:
        self.read(folder, say)

    def read(self, folder: Path, say: Say = print) -> Arrays:
        def make() -> Arrays:
            content = arrays.read(folder / FILE)
            count = len(content["x"])
            say(f"Speech Commands: features of {count:,} clips (some seconds, once; 62 MB are kept in {folder})")
            features = speech_features.extract(content["x"], count, "features")
            testing = in_test_part(content["speaker"], content["names"])
            return arrays.divided(testing, x=features, y=content["y"].astype(np.int64))

        made_from = f"{self.files[FILE]}, split 1, {speech_features.VERSION}"
        return arrays.cached(folder / "log_mel.npz", made_from, make, say)


def in_test_part(speakers: np.ndarray, names: np.ndarray) -> np.ndarray:
    """Which clips are for testing, bool (N,): see the module's text."""
    silent = speakers == ""
    people, clips = _first_fifth(set(speakers[~silent])), _first_fifth(names[silent])
    return np.where(silent, np.isin(names, clips), np.isin(speakers, people))


def _first_fifth(items: Iterable[str]) -> list[str]:
    order = arrays.drawn("speech12", items)
    return order[: len(order) // TEST_SHARE]
