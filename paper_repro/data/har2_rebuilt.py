"""HAR-2 on a reconstruction of UCI HAR, for machines that cannot reach UCI's archive.

``DATA_ROOT/har2/uci_har_rebuilt.npz`` was made from the raw recordings of HAPT, the later release of the same
experiments, by the filters that UCI HAR's description names. It has the official people, windows and class counts; the
windows are in another order and differ from the original ones by about 1e-5 to 2e-4 (median over the samples of a
channel). Results on it are results on "reconstructed UCI HAR". Classes and preparation are those of ``har2``.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from paper_repro.data import arrays, har2
from paper_repro.data.arrays import Arrays
from paper_repro.data.har2 import prepare
from paper_repro.data.sources import Say

__all__ = ["ensure", "fingerprint", "load", "prepare", "present", "windows"]

NAME = "uci_har_rebuilt.npz"
SHA256 = "1a023a6011f332450ee72d76e83945a0e03ee7b550b9a999932ddc3d8dbb313d"


def ensure(root: Path, say: Say = print) -> Path:
    """The folder of the verified file; UserError, with what to use instead, when it is absent or another."""
    what = "it is a reconstruction of UCI HAR from the raw recordings of HAPT"
    instead = "The official data is the data set har2 (`data har2` fetches it)"
    return arrays.verified(root / "har2" / NAME, SHA256, what, instead).parent


def present(root: Path) -> bool:
    """Whether the file is under ``root``."""
    return (root / "har2" / NAME).is_file()


def load(folder: Path) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """((training inputs, labels), (test inputs, labels)): float32 (N, 128, 9), standardised, and int64 (N,)."""
    return har2.two_classes(windows(folder))


def windows(folder: Path) -> Arrays:
    """The windows before standardising, with UCI's labels and the people."""
    return arrays.read(folder / NAME)


def fingerprint(folder: Path) -> str:
    """Of the windows before standardising, and of UCI's labels."""
    return har2.windows_fingerprint(windows(folder))
