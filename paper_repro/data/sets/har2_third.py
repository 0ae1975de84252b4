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
from paper_repro.data.sets.har2 import CLASS_COUNTS, HAR2, REBUILT, REBUILT_SHA256
from paper_repro.errors import UserError

FILE, SHA256 = "uci_har_original_subset.npz", "6deab25c9cb097b215b5e87595af2048096e35317beac4896afc2de1ff0e94b6"


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


DATASETS = (
    HAR2(
        name="har2_original",
        title="a third of HAR-2's original windows",
        train_examples=2_400,
        val_examples=950,
        disk_mb=14,
        files={FILE: SHA256},
        collection="a third of the windows of UCI HAR, for a comparison with their reconstruction",
        by_hand="The official data is the data set har2",
    ),
    Matched(
        name="har2_matched",
        title="the same third of HAR-2, reconstructed",
        train_examples=2_400,
        val_examples=950,
        disk_mb=40,
        files={REBUILT: REBUILT_SHA256, FILE: SHA256},
        collection="windows of UCI HAR, for a comparison of the original ones with their reconstruction",
        by_hand="The official data is the data set har2",
    ),
)
