"""HAR-2: UCI's "Human Activity Recognition Using Smartphones" (Anguita et al., ESANN 2013), as two classes: the
official windows, a reconstruction of them, and variants of both.

Windows of 128 steps (2.56 s at 50 Hz) of 9 signals of a phone at the waist: acceleration of the body and total
acceleration in g, angular velocity in rad/s; 7,352 windows of 21 people for training, 2,947 of 9 others for testing,
the official split. The two classes are those of the FastGRNN paper (Kusupati et al., 2018, appendix B), which STR's
appendix A.7 takes over: {sitting, laying, walking upstairs} is 1, {standing, walking, walking downstairs} is 0.

The official windows are kept as UCI's archive unpacks, ``DATA_ROOT/UCI HAR Dataset``: 61 MB are fetched, 190 MB
unpacked, 48 MB cached. The reconstruction is for machines that cannot reach UCI's archive: it was made from the raw
recordings of HAPT, the later release of the same experiments, by the filters that UCI HAR's description names. It has
the official people, windows and class counts; the windows are in another order and differ from the original ones by
about 1e-5 to 2e-4 (median over the samples of a channel). Results on it are results on "reconstructed UCI HAR".

The variants are standardised by channel, or hold out a validation split, or both. The split is for choosing settings
without looking at the test set: of the 21 people of the training part, in the order of the sha256 of "har2 PERSON", the
first 4 are the validation part and the other 17 are trained on. The FastGRNN paper holds out a fifth of the training
windows for this purpose, and does not say which.
"""

from __future__ import annotations

import io
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np

from paper_repro.data import arrays, sources
from paper_repro.data.arrays import Arrays
from paper_repro.data.dataset import Origin, Sequences
from paper_repro.data.sources import Say
from paper_repro.errors import UserError

FOLDER = "UCI HAR Dataset"
STEPS = 128
CHANNELS = tuple(f"{signal}_{axis}" for signal in ("body_acc", "body_gyro", "total_acc") for axis in "xyz")
# windows of walking, walking upstairs, walking downstairs, sitting, standing, laying: UCI's classes 1 to 6
CLASS_COUNTS = {"train": (1226, 1073, 986, 1286, 1374, 1407), "test": (496, 471, 420, 491, 532, 537)}
SUBJECTS = {
    "train": (1, 3, 5, 6, 7, 8, 11, 14, 15, 16, 17, 19, 21, 22, 23, 25, 26, 27, 28, 29, 30),
    "test": (2, 4, 9, 10, 12, 13, 18, 20, 24),
}
# Of the training windows, per channel. Taken from a reconstruction of the data set from the HAPT recordings; a third of
# the original windows differ from these by up to 0.0062 and 0.0028, and no two channels are this near in both.
MEAN = (-0.0007, -0.0004, -0.0004, 0.0002, -0.0011, 0.0002, 0.8047, 0.0286, 0.0864)
STD = (0.1949, 0.1225, 0.1069, 0.4077, 0.3819, 0.2559, 0.4142, 0.3910, 0.3579)
MEAN_TOLERANCE, STD_TOLERANCE = 0.01, 0.005

INNER_ARCHIVE = "UCI HAR Dataset.zip"  # UCI's site now serves it inside another archive
# UCI publishes no checksums. These are listed by several unrelated public projects, among them one that took the inner
# archive from the older address: both addresses serve the same data.
ADDRESSES = {
    "https://archive.ics.uci.edu/static/public/240/human+activity+recognition+using+smartphones.zip": (
        "sha256:c00b803081a5c797cd5e4b83700a9810b38d53d9d84e01917e090e1fdbc81031"
    ),
    "https://archive.ics.uci.edu/ml/machine-learning-databases/00240/UCI%20HAR%20Dataset.zip": (
        "sha256:2045e435c955214b38145fb5fa00776c72814f01b203fec405152dac7d5bfeb0"
    ),
}
ARCHIVE_NAMES = (INNER_ARCHIVE, "human+activity+recognition+using+smartphones.zip", "UCI_HAR_Dataset.zip")
CACHE_VERSION = "uci-har windows, version 1"  # raise it when the same files give other arrays
REBUILT, REBUILT_SHA256 = "uci_har_rebuilt.npz", "1a023a6011f332450ee72d76e83945a0e03ee7b550b9a999932ddc3d8dbb313d"
VALIDATION_SHARE = 5  # one person in five


@dataclass(frozen=True, kw_only=True)
class HAR2(Sequences):
    """Windows from a file that cannot be fetched. ``validation``: people of the training part take the place of the
    test part.
    """

    num_classes: int = 2
    input_size: tuple[int, ...] = (STEPS, len(CHANNELS))
    licence: str = "CC BY 4.0"
    kept_in: str = "har2"
    validation: bool = False

    def windows(self, folder: Path) -> Arrays:
        """x_train, x_test: float32 (N, 128, 9), as recorded; y_train, y_test: UCI's labels, 1 to 6; subject_train,
        subject_test: the people, 1 to 30.
        """
        (file,) = self.files
        return arrays.read(folder / file)

    def read(self, folder: Path) -> Arrays:
        windows = self.windows(folder)
        return validation_split(windows) if self.validation else windows

    def classes(self, labels: np.ndarray) -> np.ndarray:
        """The two classes of UCI's labels."""
        return labels % 2 == 0


@dataclass(frozen=True, kw_only=True)
class OfficialHAR2(HAR2):
    """Windows from UCI's archive: unpacked, packed, or fetched from one of UCI's two addresses. An archive with other
    content is passed over; a folder with other content is a UserError that names the file.
    """

    def lock(self, root: Path) -> Path:
        return root / ".uci_har.lock"

    def present(self, root: Path) -> bool:
        return self.folder(root).is_dir() or any((root / name).is_file() for name in ARCHIVE_NAMES)

    def is_whole(self, folder: Path, say: Say) -> bool:
        """Whether the folder is there; its content is checked whenever it is read."""
        return folder.is_dir()

    def verify(self, folder: Path, say: Say) -> None:
        parsed(folder, say)

    def windows(self, folder: Path) -> Arrays:
        return parsed(folder)

    def origins(self, root: Path, folder: Path, say: Say) -> Iterator[Origin]:
        def from_archive(archive: Path) -> None:
            try:
                _unpack(archive, folder, say)
            except UserError as error:
                say(f"UCI HAR: not used: {error}: remove it")
                raise UserError(f"{error}: remove it") from error

        def from_web(address: str, known_hash: str) -> None:
            say(f"UCI HAR: fetching 61 MB from {address}")
            with tempfile.TemporaryDirectory(dir=root) as scratch:
                _unpack(sources.fetch(address, Path(scratch), "archive.zip", known_hash), folder, say)

        for archive in (root / name for name in ARCHIVE_NAMES):
            if archive.is_file():
                yield str(archive), partial(from_archive, archive)
        for address, known_hash in ADDRESSES.items():
            yield address, partial(from_web, address, known_hash)


def validation_split(windows: Arrays) -> Arrays:
    """The training part alone, divided by people: ``x_test`` and the like are those of the validation part."""
    held_out = np.isin(windows["subject_train"], validation_people(np.unique(windows["subject_train"]).tolist()))
    return {
        f"{name}_{part}": windows[f"{name}_train"][chosen]
        for name in ("x", "y", "subject")
        for part, chosen in (("train", ~held_out), ("test", held_out))
    }


def validation_people(people: list[int]) -> list[int]:
    """A fifth of them, rounded down: see the module's text."""
    return arrays.drawn("har2", sorted(people))[: len(people) // VALIDATION_SHARE]


def parsed(folder: Path, say: Say = print) -> Arrays:
    """x_train, x_test: float32 (N, 128, 9), as recorded; y_train, y_test: UCI's labels, 1 to 6; subject_train,
    subject_test: 1 to 30. Checked; read from the cache beside the text files when it was made from these very files.

    UserError, with what is wrong in which file, and that the folder is to be removed.
    """
    try:
        return _checked(folder, say)
    except UserError as error:
        raise UserError(f"{folder}: {error}. Remove {folder} and run again, to unpack or fetch it anew.") from error


def check(windows: Arrays) -> None:
    """UserError, naming the file and what is wrong in it, unless these are UCI HAR's windows: as many of each class, of
    the same people, and each channel with its mean and standard deviation, which also shows swapped channels and other
    units.
    """
    for part, expected in CLASS_COUNTS.items():
        counts = tuple(int((windows[f"y_{part}"] == label).sum()) for label in range(1, 7))
        if counts != expected or len(windows[f"y_{part}"]) != sum(expected):
            raise UserError(f"{part}/y_{part}.txt has {counts} windows of UCI's classes 1 to 6, not {expected}")
        people = tuple(int(person) for person in np.unique(windows[f"subject_{part}"]))
        if people != SUBJECTS[part]:
            raise UserError(f"{part}/subject_{part}.txt is of the people {people}, not {SUBJECTS[part]}")
        if windows[f"x_{part}"].shape != (sum(expected), STEPS, len(CHANNELS)):
            raise UserError(f"{part} has windows of shape {windows[f'x_{part}'].shape}")
        finite = np.isfinite(windows[f"x_{part}"]).all((0, 1))
        if not finite.all():
            raise UserError(f"{signals(part)[int(finite.argmin())]} has values that are no numbers")
    train = windows["x_train"].astype(np.float64)
    found = (("mean", train.mean((0, 1)), MEAN, MEAN_TOLERANCE), ("std", train.std((0, 1)), STD, STD_TOLERANCE))
    for channel, file in enumerate(signals("train")):
        for what, values, expected_values, tolerance in found:
            if abs(values[channel] - expected_values[channel]) > tolerance:
                raise UserError(
                    f"{file}: channel {CHANNELS[channel]} has {what} {values[channel]:.4f}, and UCI HAR's is "
                    f"{expected_values[channel]:.4f}: channels in another order, other units, or other data"
                )


def _checked(folder: Path, say: Say) -> Arrays:
    """What ``parsed`` returns; its UserErrors do not say what to do, which depends on where the folder is from."""
    absent = [name for name in _files() if not (folder / name).is_file()]
    if absent:
        raise UserError(f"it is not complete: it lacks {absent[0]}")
    digests = {name: sources.sha256(folder / name) for name in _files()}
    made_from = f"{CACHE_VERSION}: {sources.fingerprint(digests)}"

    def make() -> Arrays:
        say("UCI HAR: reading the text files (some seconds, the first time)")
        windows = _read_text(folder)
        check(windows)
        return windows

    return arrays.cached(folder / "inertial_signals.npz", made_from, make, say)


def signals(part: str) -> list[str]:
    """The text files of a part, channel by channel."""
    return [f"{part}/Inertial Signals/{channel}_{part}.txt" for channel in CHANNELS]


def _files() -> list[str]:
    return [
        name for part in CLASS_COUNTS for name in (*signals(part), f"{part}/y_{part}.txt", f"{part}/subject_{part}.txt")
    ]


def _read_text(folder: Path) -> Arrays:
    windows = {}
    for part, counts in CLASS_COUNTS.items():
        rows = sum(counts)
        tables = [_table(folder, file, rows, STEPS) for file in signals(part)]
        windows[f"x_{part}"] = np.stack(tables, axis=-1).astype(np.float32)
        for name in ("y", "subject"):
            windows[f"{name}_{part}"] = _table(folder, f"{part}/{name}_{part}.txt", rows, 1)[:, 0].astype(np.uint8)
    return windows


def _table(folder: Path, name: str, rows: int, columns: int) -> np.ndarray:
    """The numbers in a text file, float64 (rows, columns); UserError, naming the line, when there are others."""
    path = folder / name
    try:
        table = np.loadtxt(path, ndmin=2)
        if table.shape == (rows, columns):
            return table
    except ValueError:  # no number, or lines of different lengths; loadtxt does not say which file
        pass
    lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            found = len([float(value) for value in line.split()])
        except ValueError as error:
            raise UserError(f"{name}, line {number}: {error}; the file is damaged") from None
        if found != columns:
            raise UserError(f"{name}, line {number}: {found} numbers, not {columns}; the file is damaged")
    raise UserError(f"{name} has {len(lines):,} lines, not {rows:,}; the file is damaged or cut short")


def _unpack(archive: Path, folder: Path, say: Say) -> None:
    """Unpack the files that are used, and check what is in them; ``folder`` appears complete and checked, with its
    cache, or not at all.
    """
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".uci_har.") as scratch:
        unpacked = Path(scratch, "new")
        try:
            with archive.open("rb") as file:
                _extract(file, unpacked)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise UserError(f"{archive} is damaged ({error})") from error
        except KeyError as error:
            raise UserError(f"{archive} is no archive of UCI HAR: {error.args[0]}") from error
        try:
            _checked(unpacked, say)
        except UserError as error:
            raise UserError(f"{archive} has other content than UCI HAR: {error}") from error
        unpacked.replace(folder)


def _extract(file: IO[bytes], target: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        if INNER_ARCHIVE in archive.namelist():
            _extract(io.BytesIO(archive.read(INNER_ARCHIVE)), target)
            return
        for name in _files():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            with archive.open(f"{FOLDER}/{name}") as packed, (target / name).open("wb") as out:
                shutil.copyfileobj(packed, out)


def _with_variants(whole: HAR2) -> tuple[HAR2, ...]:
    held_out = replace(
        whole,
        name=f"{whole.name}_validation",
        title=f"{whole.title}, 4 of the 21 people to learn from held out",
        train_examples=5_974,
        val_examples=1_378,
        evaluated_on="validation split",
        held_out_of=whole.name,
        validation=True,
    )
    channels = [
        replace(
            item,
            name=f"{item.name}_channels",
            title=f"{item.title}, scaled by channel",
            same_as=item.name,
            held_out_of=f"{item.held_out_of}_channels" if item.held_out_of else "",
            by_channel=True,
        )
        for item in (whole, held_out)
    ]
    return (whole, held_out, *channels)


OFFICIAL = OfficialHAR2(
    name="har2",
    title="HAR-2",
    train_examples=7_352,
    val_examples=2_947,
    disk_mb=299,
    fetch_mb=300,
    kept_in=FOLDER,
    collection="UCI HAR",
    by_hand=f"Put {INNER_ARCHIVE} or what it unpacks to into {{root}}, or set DATA_ROOT to a folder that has it.",
)
RECONSTRUCTED = HAR2(
    name="har2_rebuilt",
    title="HAR-2 (reconstructed UCI HAR)",
    train_examples=7_352,
    val_examples=2_947,
    disk_mb=24,
    files={REBUILT: REBUILT_SHA256},
    collection="a reconstruction of UCI HAR from the raw recordings of HAPT",
    by_hand="The official data is the data set har2 (`data har2` fetches it)",
)
DATASETS = (*_with_variants(OFFICIAL), *_with_variants(RECONSTRUCTED))
