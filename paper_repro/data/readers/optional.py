"""The libraries that a reader needs and nothing else does."""

from __future__ import annotations

import importlib.util

from paper_repro.errors import UserError

LIBRARIES = {"ffcv": ("FFCV", "ffcv"), "dali": ("NVIDIA DALI", "nvidia.dali")}  # loader: its name, its module


def missing(loader: str) -> str:
    """The name of the library that ``loader`` needs and that is not installed; empty where nothing is missing."""
    name, module = LIBRARIES.get(loader, ("", ""))
    if not module:
        return ""
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:  # of a package that the module is in
        return name
    # an uninstalled library may leave folders behind, which are found as a package without a file
    return "" if spec is not None and getattr(spec, "origin", module) is not None else name


def require_library(loader: str, asked: str = "") -> None:
    """UserError where the library of ``loader`` is not installed; ``asked`` is the option that needs it."""
    asked = asked or f"LOADER={loader}"
    if name := missing(loader):
        raise UserError(
            f"{asked}: {name} is not installed. `make {loader}` installs it (environment.yml says how with conda); "
            f"without it, leave {asked.partition('=')[0]} out: torchvision then reads the folder."
        )
