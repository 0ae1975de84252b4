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
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from paper_repro.data import arrays, sources
from paper_repro.data.arrays import Arrays
from paper_repro.data.dataset import Archived, Sequences
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
CACHE_VERSION = "uci-har windows, version 1"  # raise it when the same files give other arrays
VALIDATION_SHARE = 5  # one person in five


@dataclass(frozen=True, kw_only=True)
class HAR2(Sequences):
    """Windows from a file that cannot be fetched. ``validation``: people of the training part take the place of the
    test part.
    """

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
class OfficialHAR2(HAR2, Archived):
    """Windows from UCI's archive: unpacked, packed, or fetched from one of UCI's two addresses. An archive with other
    content is passed over; a folder with other content is a UserError that names the file.
    """

    def lock(self, root: Path) -> Path:
        return root / ".uci_har.lock"

    def present(self, root: Path) -> bool:
        return self.folder(root).is_dir() or any((root / name).is_file() for name in self.archives)

    def is_whole(self, folder: Path, say: Say) -> bool:
        """Whether the folder is there; its content is checked whenever it is read."""
        return folder.is_dir()

    def verify(self, folder: Path, say: Say) -> None:
        self.windows(folder, say)

    def windows(self, folder: Path, say: Say = print) -> Arrays:
        try:
            return parsed(folder, say)
        except UserError as error:
            raise UserError(f"{folder}: {error}. Remove {folder} and run again, to unpack or fetch it anew.") from error

    def unpack(self, archive: Path, folder: Path, say: Say) -> None:
        """``folder`` appears complete and checked, with its cache, or not at all."""
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
                parsed(unpacked, say)
            except UserError as error:
                raise UserError(f"{archive} has other content than UCI HAR: {error}") from error
            unpacked.replace(folder)


def validation_split(windows: Arrays) -> Arrays:
    """The training part alone, divided by people: ``x_test`` and the like are those of the validation part."""
    held_out = np.isin(windows["subject_train"], validation_people(np.unique(windows["subject_train"]).tolist()))
    return arrays.divided(held_out, **{name: windows[f"{name}_train"] for name in ("x", "y", "subject")})


def validation_people(people: list[int]) -> list[int]:
    """A fifth of them, rounded down: see the module's text."""
    return arrays.drawn("har2", sorted(people))[: len(people) // VALIDATION_SHARE]


def require_uci_har(windows: Arrays) -> None:
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
    statistics = (("mean", train.mean((0, 1)), MEAN, MEAN_TOLERANCE), ("std", train.std((0, 1)), STD, STD_TOLERANCE))
    for channel, file in enumerate(signals("train")):
        for what, values, expected_values, tolerance in statistics:
            if abs(values[channel] - expected_values[channel]) > tolerance:
                raise UserError(
                    f"{file}: channel {CHANNELS[channel]} has {what} {values[channel]:.4f}, and UCI HAR's is "
                    f"{expected_values[channel]:.4f}: channels in another order, other units, or other data"
                )


def parsed(folder: Path, say: Say) -> Arrays:
    """What is in UCI's text files, checked; read from the cache beside them when it was made from these very files.
    UserError, with what is wrong in which file.
    """
    absent = [name for name in _files() if not (folder / name).is_file()]
    if absent:
        raise UserError(f"it is not complete: it lacks {absent[0]}")
    digests = {name: sources.sha256(folder / name) for name in _files()}
    made_from = f"{CACHE_VERSION}: {sources.fingerprint(digests)}"

    def make() -> Arrays:
        say("UCI HAR: reading the text files (some seconds, the first time)")
        windows = _read_text(folder)
        require_uci_har(windows)
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
            count = len([float(value) for value in line.split()])
        except ValueError as error:
            raise UserError(f"{name}, line {number}: {error}; the file is damaged") from None
        if count != columns:
            raise UserError(f"{name}, line {number}: {count} numbers, not {columns}; the file is damaged")
    raise UserError(f"{name} has {len(lines):,} lines, not {rows:,}; the file is damaged or cut short")


def _extract(file: IO[bytes], target: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        if INNER_ARCHIVE in archive.namelist():
            _extract(io.BytesIO(archive.read(INNER_ARCHIVE)), target)
            return
        for name in _files():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            with archive.open(f"{FOLDER}/{name}") as packed, (target / name).open("wb") as out:
                shutil.copyfileobj(packed, out)
