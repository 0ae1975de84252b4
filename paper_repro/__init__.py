"""Reference reproduction of *Soft Threshold Weight Reparameterization for Learnable Sparsity* (Kusupati et al., ICML
2020).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from paper_repro import methods, models, tables
    from paper_repro.accounting import account
    from paper_repro.methods.base import Method

__version__ = "0.1.0"
__all__ = ["Method", "account", "methods", "models", "tables"]


def __getattr__(name: str) -> Any:
    """Import on first use: reading results needs no torch, and importing the package does nothing."""
    if name == "account":
        return importlib.import_module("paper_repro.accounting").account
    if name == "Method":
        return importlib.import_module("paper_repro.methods.base").Method
    if name in __all__:
        return importlib.import_module(f"paper_repro.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
