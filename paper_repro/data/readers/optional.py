"""The libraries that a reader needs and nothing else does."""

from __future__ import annotations

import importlib.util

from paper_repro.errors import UserError

LIBRARIES = {"ffcv": ("FFCV", "ffcv"), "dali": ("NVIDIA DALI", "nvidia.dali")}  # loader: its name, its module


def missing(loader: str) -> str:
    """The name of the library that ``loader`` needs and that is not installed; empty where nothing is missing."""
    name, module = LIBRARIES.get(loader, ("", ""))
    try:
        return name if module and importlib.util.find_spec(module) is None else ""
    except ModuleNotFoundError:  # of a package that the module is in
        return name


def require_library(loader: str, asked: str = "") -> None:
    """UserError where the library of ``loader`` is not installed; ``asked`` is the option that needs it."""
    asked = asked or f"LOADER={loader}"
    if name := missing(loader):
        raise UserError(
            f"{asked}: {name} is not installed. `make {loader}` installs it (environment.yml says how with conda); "
            f"without it, leave {asked.partition('=')[0]} out: torchvision then reads the folder."
        )
