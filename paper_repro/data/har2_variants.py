"""HAR-2 with another preparation, or with another part of it held out; the windows are those of ``har2`` or
``har2_rebuilt``.

The validation split is for choosing settings without looking at the test set: of the 21 people of the training part, in
the order of the sha256 of "har2 PERSON", the first 4 are the validation part and the other 17 are trained on. The
FastGRNN paper holds out a fifth of the training windows for this purpose, and does not say which.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
from torch import Tensor

from paper_repro.data import arrays, har2, har2_rebuilt
from paper_repro.data.arrays import Arrays
from paper_repro.data.sources import Say

VALIDATION_SHARE = 5  # one person in five


@dataclass(frozen=True)
class Variant:
    """A source of data (``loaders.Source``). ``per_channel``: one mean and one deviation for each of the 9 channels
    instead of each of the 1,152 columns; ``validation``: people of the training part take the place of the test part.
    """

    base: ModuleType
    per_channel: bool = False
    validation: bool = False

    def present(self, root: Path) -> bool:
        """Whether the windows are under ``root``."""
        return bool(self.base.present(root))

    def ensure(self, root: Path, say: Say = print) -> Path:
        """The folder of the windows, verified; they are fetched where ``base`` can be."""
        folder: Path = self.base.ensure(root, say)
        return folder

    def load(self, folder: Path) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """((training inputs, labels), (test or validation inputs, labels)), as ``har2.load`` returns them."""
        return har2.two_classes(self._windows(folder), (0, 1) if self.per_channel else (0,))

    def prepare(self, inputs: Tensor) -> Tensor:
        """The inputs: ``load`` has standardised them."""
        return inputs

    def fingerprint(self, folder: Path) -> str:
        """Of the windows before standardising, of UCI's labels, and of how they are standardised."""
        scale = {"per_channel": np.array(self.per_channel)} if self.per_channel else {}
        return arrays.fingerprint({**har2.learnable(self._windows(folder)), **scale})

    def _windows(self, folder: Path) -> Arrays:
        windows: Arrays = self.base.windows(folder)
        return validation_split(windows) if self.validation else windows


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
    order = sorted(people, key=lambda person: hashlib.sha256(f"har2 {person}".encode()).hexdigest())
    return order[: len(order) // VALIDATION_SHARE]


VARIANTS = {
    f"{base}_{name}": Variant(module, **change)
    for base, module in (("har2", har2), ("har2_rebuilt", har2_rebuilt))
    for name, change in (
        ("channels", {"per_channel": True}),
        ("validation", {"validation": True}),
        ("validation_channels", {"per_channel": True, "validation": True}),
    )
}
