"""Google-12: Speech Commands v0.01 (Warden, 2017), 22,246 and 3,081 clips of one second in 12 classes.

The classes: noise, background, and ten words: yes no up down left right on off stop go. STR's appendix A.7 and the
FastGRNN paper's appendix B give the two sizes, "10 Kaggle words + noise + background", and that the background is taken
at random from the 20 other words; neither says how many, nor which. The sizes do: they are those of TensorFlow's
speech_commands example on v0.01 with its defaults, which adds a tenth of the words' clips of either kind, rounded up.

| part | clips of the ten words | noise | background | sum |
| training: in neither of the two official lists | 18,538 | 1,854 | 1,854 | 22,246 |
| test: testing_list.txt | 2,567 | 257 | 257 | 3,081 |

No other number of words gives 22,246 in this way, and public logs of the example show 257 + 257 + 2,567 in its test.
(Its validation part, 3,093 clips of validation_list.txt, is not used.) Which clips its shuffle chose depends on the
order of files on the disk and was never published, so here they are chosen by rule, the same everywhere:

- background: the part's clips of the other words in the order of the sha256 of "google12 WORD/FILE"; the first ones;
- noise: as many pieces of one second from each of the six recordings in _background_noise_ (the first ones by name get
  one more where it does not divide), starting at equal distances; the training part's in the first 7/8 of a recording,
  the test part's in the last 1/8, so that no noise is in both. Pieces of one part overlap.

Features are log mel energies (``speech_features``). They are computed from the archive as it is, which is not unpacked
and can be removed afterwards, and are kept in ``DATA_ROOT/google12/log_mel.npz``.
"""

from __future__ import annotations

import io
import math
import tarfile
import wave
import zlib
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from paper_repro.data import arrays, sources, speech_features
from paper_repro.data.arrays import Arrays
from paper_repro.data.bar import bar
from paper_repro.data.dataset import Sequences
from paper_repro.data.sources import Say
from paper_repro.data.speech_features import HERTZ
from paper_repro.errors import UserError

ARCHIVE = "speech_commands_v0.01.tar.gz"
ADDRESS = f"https://storage.googleapis.com/download.tensorflow.org/data/{ARCHIVE}"
SHA256 = "743935421bb51cccdb6bdd152e04c5c70274e935c82119ad7faeec31780d811d"  # as torchaudio lists it
FEATURES = "log_mel.npz"
WORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
CLASSES = ("noise", "background", *WORDS)
NOISE_FOLDER = "_background_noise_"
WORD_CLIPS = {"train": 18_538, "test": 2_567}
TEST_NOISE = 1 / 8  # of each recording


@dataclass(frozen=True, kw_only=True)
class Google12(Sequences):
    """Features that are kept, or made from the archive, which is found or fetched."""

    def present(self, root: Path) -> bool:
        return (self.folder(root) / FEATURES).is_file() or any((place / ARCHIVE).is_file() for place in places(root))

    def is_whole(self, folder: Path, say: Say) -> bool:
        return arrays.kept(folder / FEATURES, made_from(), say) is not None

    def fetch(self, root: Path, folder: Path, say: Say) -> None:
        # not ``cached``: ``read`` needs the file to be there
        arrays.keep(folder / FEATURES, made_from(), _make(root, say))

    def read(self, folder: Path) -> Arrays:
        content = arrays.kept(folder / FEATURES, made_from(), lambda text: None)
        if content is None:
            raise UserError(f"{folder / FEATURES} is not there or damaged: `data google12` makes it")
        return content


def choose(names: Collection[str], testing: Collection[str], validation: Collection[str]) -> dict[str, dict[str, int]]:
    """Of the clips WORD/FILE in ``names``, those of each part, with their labels; noise is not among them."""
    lists = {"train": set(names) - set(testing) - set(validation), "test": set(names) & set(testing)}
    chosen = {}
    for part, clips in lists.items():
        words = sorted(name for name in clips if _word(name) in WORDS)
        others = arrays.drawn("google12", clips.difference(words))
        if len(words) != WORD_CLIPS[part] or len(others) < extras(part):
            raise UserError(
                f"{ARCHIVE} has {len(words):,} clips of the ten words for the {part} part, not {WORD_CLIPS[part]:,}"
            )
        chosen[part] = {name: CLASSES.index(_word(name)) for name in words}
        chosen[part] |= dict.fromkeys(others[: extras(part)], CLASSES.index("background"))
    return chosen


def extras(part: str) -> int:
    """How many clips of noise, and as many of background: a tenth of the words' clips, rounded up."""
    return math.ceil(WORD_CLIPS[part] / 10)


def noise_starts(samples: int, part: str, count: int) -> np.ndarray:
    """The first samples of ``count`` pieces of one second, int (count,), in a part's share of a recording."""
    border = samples - int(samples * TEST_NOISE)
    first, end = (0, border) if part == "train" else (border, samples)
    return np.linspace(first, end - HERTZ, count).astype(int)


def _word(name: str) -> str:
    return name.split("/")[0]


def places(root: Path) -> tuple[Path, ...]:
    """Where the archive is looked for."""
    return root / "google12", root, root / "SpeechCommands"


def made_from() -> str:
    """What the features are made from, and how."""
    return f"{SHA256}, sample 1, {speech_features.VERSION}"


def _make(root: Path, say: Say) -> Arrays:
    archive = _archive(root, say)
    say(
        f"Google-12: features from {archive} (about a minute on one core, once; 330 MB are kept in {root / 'google12'})"
    )
    try:
        return _features(archive)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise UserError(f"{archive} cannot be read ({error}): remove it and run again") from error


def _archive(root: Path, say: Say) -> Path:
    """The verified archive: in one of three places, or fetched."""
    for folder in places(root):
        if (folder / ARCHIVE).is_file():
            if sources.is_intact(folder / ARCHIVE, SHA256):
                return folder / ARCHIVE
            say(f"{folder / ARCHIVE} is not Speech Commands v0.01, or incomplete (wrong sha256): not used")
    say(f"Google-12: fetching 1.5 GB from {ADDRESS}; with the features it takes 1.9 GB in {root / 'google12'}")
    try:
        return sources.fetch(ADDRESS, root / "google12", ARCHIVE, f"sha256:{SHA256}")
    except UserError as error:
        raise UserError(f"{error}\nPut {ARCHIVE} into {root / 'google12'}, or set DATA_ROOT to where it is.") from error


def _members(archive: Path) -> Iterator[tuple[str, tarfile.TarFile, tarfile.TarInfo]]:
    """The files in the order of the archive, which is read once from front to back."""
    with tarfile.open(archive, "r|gz") as tar:
        for member in tar:
            if member.isfile():
                yield member.name.removeprefix("./"), tar, member


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    assert file is not None  # it is a file
    return file.read()


def samples_of(content: bytes, name: str) -> np.ndarray:
    """int16 samples of a mono .wav file of 16 kHz."""
    try:
        with wave.open(io.BytesIO(content)) as audio:
            if (audio.getframerate(), audio.getsampwidth(), audio.getnchannels()) != (HERTZ, 2, 1):
                raise UserError(f"{name} in {ARCHIVE} is not 16-bit mono audio of {HERTZ} Hz")
            return np.frombuffer(audio.readframes(audio.getnframes()), dtype="<i2")
    except (wave.Error, EOFError) as error:
        raise UserError(f"{name} in {ARCHIVE} is no .wav file: {error}") from error


def _features(archive: Path) -> Arrays:
    """Two passes over the archive: the first for the names, of which the clips are chosen, the second for the audio."""
    names, lists = [], {"testing_list.txt": [""], "validation_list.txt": [""]}
    for name, tar, member in bar(_members(archive), desc="reading the archive"):
        if name in lists:
            lists[name] = _content(tar, member).decode().split()
        elif name.endswith(".wav"):
            names.append(name)
    recordings = sorted(name for name in names if _word(name) == NOISE_FOLDER)
    chosen = choose([name for name in names if name not in recordings], *lists.values())

    pieces: dict[str, list[tuple[str, int]]] = {name: [] for name in recordings}  # of a recording: (part, how many)
    for part in chosen:
        share = Counter(recordings[index % len(recordings)] for index in range(extras(part)))
        for name, count in share.items():
            pieces[name].append((part, count))

    features_of: dict[str, list[tuple[str, int, np.ndarray]]] = {part: [] for part in chosen}  # (name, label, features)
    with bar(desc="features", total=sum(len(clips) + extras(part) for part, clips in chosen.items())) as done:
        for name, tar, member in _members(archive):
            if name in pieces:
                samples = samples_of(_content(tar, member), name)
                for part, count in pieces[name]:
                    for start in noise_starts(len(samples), part, count):
                        piece = speech_features.log_mel(samples[start : start + HERTZ])
                        features_of[part].append((f"{name} {start:08d}", CLASSES.index("noise"), piece))
                        done.update(1)
            for part, clips in chosen.items():
                if name in clips:
                    clip = speech_features.one_second(samples_of(_content(tar, member), name), name)
                    features_of[part].append((name, clips[name], speech_features.log_mel(clip)))
                    done.update(1)
    result = {}
    for part, clips_found in features_of.items():
        clips_found.sort(key=lambda clip: clip[0])  # independent of the order in the archive
        result[f"x_{part}"] = np.stack([features for _, _, features in clips_found])
        result[f"y_{part}"] = np.array([label for _, label, _ in clips_found], dtype=np.int64)
    return result
