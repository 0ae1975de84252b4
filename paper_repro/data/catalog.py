"""The data sets that a spec can name."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from paper_repro.errors import unknown

if TYPE_CHECKING:
    from paper_repro.data.dataset import Dataset

# Data set -> the module of ``sets`` that has it in its ``DATASETS``. Modules are imported when they are asked for:
# torch takes seconds, and the command line knows the names without it.
MODULES = {
    "fashion_mnist": "fashion_mnist",
    "cifar10": "cifar10",
    "cifar100": "cifar100",
    "imagenet1k": "imagenet1k",
    "har2": "har2",
    "har2_validation": "har2",
    "har2_channels": "har2",
    "har2_validation_channels": "har2",
    "har2_rebuilt": "har2",
    "har2_rebuilt_validation": "har2",
    "har2_rebuilt_channels": "har2",
    "har2_rebuilt_validation_channels": "har2",
    "watch": "watch",
    "speech12": "speech12",
    "har2_original": "har2_third",
    "har2_matched": "har2_third",
    "google12": "google12",
}

BROUGHT: dict[str, Dataset] = {}  # of networks that users bring (``brought.register``), in this process


def dataset(name: str) -> Dataset:
    """The data set called ``name``; UserError, with the nearest names, where there is none."""
    if name in BROUGHT:
        return BROUGHT[name]
    if name not in MODULES:
        raise unknown("data set", name, MODULES)
    module = import_module(f"paper_repro.data.sets.{MODULES[name]}")
    (item,) = (item for item in module.DATASETS if item.name == name)
    found: Dataset = item
    return found


def every() -> list[Dataset]:
    """All data sets."""
    return [dataset(name) for name in MODULES]


def standing_in(stand_ins: Mapping[str, str], root: Path) -> dict[str, str]:
    """Data set -> its stand-in, for those of ``stand_ins`` that are not under ``root`` while their stand-in is."""
    return {
        name: other
        for name, other in stand_ins.items()
        if not dataset(name).present(root) and dataset(other).present(root)
    }
