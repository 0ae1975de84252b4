"""A third of UCI HAR's own windows, and the same windows as the reconstruction of ``har2`` has them: what shows whether
results on the reconstruction stand for the original.

``DATA_ROOT/har2/uci_har_original_subset.npz`` has 2,400 training and 950 test windows of the official archive, to four
significant digits. ``har2_matched`` has for each the nearest of its part in the reconstruction. A network trained on
the one and on the other differs by what the reconstruction gets wrong, and by nothing else: same windows, same order,
same labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from paper_repro.data import arrays
from paper_repro.data.arrays import Arrays
from paper_repro.data.sets.har2 import CLASS_COUNTS, HAR2
from paper_repro.errors import UserError

FILE, REBUILT = "uci_har_original_subset.npz", "uci_har_rebuilt.npz"


@dataclass(frozen=True, kw_only=True)
class Matched(HAR2):
    """The windows of the reconstruction that are nearest to the original ones."""

    def windows(self, folder: Path) -> Arrays:
        made_from = f"{self.files[FILE]} {self.files[REBUILT]}"
        return arrays.cached(folder / "uci_har_matched.npz", made_from, lambda: _match(folder), say=lambda text: None)


def nearest(wanted: np.ndarray, among: np.ndarray) -> np.ndarray:
    """For each of ``wanted`` (N, ...) the number of the nearest of ``among`` (M, ...), by Euclidean distance."""
    rows, columns = (np.asarray(windows, dtype=np.float64).reshape(len(windows), -1) for windows in (wanted, among))
    return ((columns**2).sum(1)[None, :] - 2.0 * rows @ columns.T).argmin(1)


def _match(folder: Path) -> Arrays:
    original, rebuilt = arrays.read(folder / FILE), arrays.read(folder / REBUILT)
    windows: Arrays = {}
    for part in CLASS_COUNTS:
        chosen = nearest(original[f"x_{part}"], rebuilt[f"x_{part}"])
        windows |= {f"{name}_{part}": rebuilt[f"{name}_{part}"][chosen] for name in ("x", "y")}
        if len(set(chosen.tolist())) < len(chosen) or (windows[f"y_{part}"] != original[f"y_{part}"]).any():
            raise UserError(f"the reconstruction in {folder} has no window of its own for each original one ({part})")
    return windows
