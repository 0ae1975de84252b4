"""The windows of ``har2_original`` as the reconstruction has them: for each the nearest of its part.

A network trained on the one and on the other differs by what the reconstruction gets wrong, and by nothing else: same
windows, same order, same labels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor

from paper_repro.data import arrays, har2, har2_original, har2_rebuilt
from paper_repro.data.arrays import Arrays
from paper_repro.data.har2 import prepare
from paper_repro.data.sources import Say
from paper_repro.errors import UserError

__all__ = ["ensure", "fingerprint", "load", "nearest", "prepare", "present"]


def ensure(root: Path, say: Say = print) -> Path:
    """The folder of the two verified files; UserError when one is absent or another."""
    har2_rebuilt.ensure(root, say)
    return har2_original.ensure(root, say)


def present(root: Path) -> bool:
    """Whether the two files are under ``root``."""
    return har2_rebuilt.present(root) and har2_original.present(root)


def load(folder: Path) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """((training inputs, labels), (test inputs, labels)): float32 (N, 128, 9), standardised, and int64 (N,)."""
    return har2.two_classes(_matched(folder))


def fingerprint(folder: Path) -> str:
    """Of the windows before standardising, and of UCI's labels."""
    return har2.windows_fingerprint(_matched(folder))


def nearest(wanted: np.ndarray, among: np.ndarray) -> np.ndarray:
    """For each of ``wanted`` (N, ...) the number of the nearest of ``among`` (M, ...), by Euclidean distance."""
    rows, columns = (np.asarray(windows, dtype=np.float64).reshape(len(windows), -1) for windows in (wanted, among))
    return ((columns**2).sum(1)[None, :] - 2.0 * rows @ columns.T).argmin(1)


def _matched(folder: Path) -> Arrays:
    made_from = f"{har2_original.SHA256} {har2_rebuilt.SHA256}"
    return arrays.cached(folder / "uci_har_matched.npz", made_from, lambda: _match(folder), say=lambda text: None)


def _match(folder: Path) -> Arrays:
    original, rebuilt = arrays.read(folder / har2_original.NAME), arrays.read(folder / har2_rebuilt.NAME)
    windows: Arrays = {}
    for part in har2.CLASS_COUNTS:
        found = nearest(original[f"x_{part}"], rebuilt[f"x_{part}"])
        windows |= {f"{name}_{part}": rebuilt[f"{name}_{part}"][found] for name in ("x", "y")}
        if len(set(found.tolist())) < len(found) or (windows[f"y_{part}"] != original[f"y_{part}"]).any():
            raise UserError(f"the reconstruction in {folder} has no window of its own for each original one ({part})")
    return windows
