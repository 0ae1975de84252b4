"""A third of UCI HAR's own windows: what the reconstruction, ``har2_rebuilt``, is held against.

``DATA_ROOT/har2/uci_har_original_subset.npz`` has 2,400 training and 950 test windows of the official archive, to four
significant digits. ``har2_matched`` is the same windows as reconstructed.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from paper_repro.data import arrays, har2
from paper_repro.data.har2 import prepare
from paper_repro.data.sources import Say

__all__ = ["ensure", "fingerprint", "load", "prepare", "present"]

NAME = "uci_har_original_subset.npz"
SHA256 = "6deab25c9cb097b215b5e87595af2048096e35317beac4896afc2de1ff0e94b6"


def ensure(root: Path, say: Say = print) -> Path:
    """The folder of the verified file; UserError, with what to use instead, when it is absent or another."""
    what = "it is a third of the windows of UCI HAR, for a comparison with their reconstruction"
    return arrays.verified(root / "har2" / NAME, SHA256, what, "The official data is the data set har2").parent


def present(root: Path) -> bool:
    """Whether the file is under ``root``."""
    return (root / "har2" / NAME).is_file()


def load(folder: Path) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """((training inputs, labels), (test inputs, labels)): float32 (N, 128, 9), standardised, and int64 (N,)."""
    return har2.two_classes(arrays.read(folder / NAME))


def fingerprint(folder: Path) -> str:
    """Of the windows before standardising, and of UCI's labels."""
    return har2.windows_fingerprint(arrays.read(folder / NAME))
