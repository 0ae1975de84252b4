"""How a network becomes sparse: one file per method, all on the protocol of ``base.Method``."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

from paper_repro.errors import UserError, unknown
from paper_repro.methods.base import Method

METHODS = {
    "dense": ("dense", "Dense"),
    "gmp": ("gmp", "GMP"),
    "str": ("str", "STR"),
}


def get(name: str, **arguments: Any) -> Method:
    """The method called ``name``, with its arguments; a misspelt name or argument is an error that names the nearest
    known one.
    """
    if name not in METHODS:
        raise unknown("method", name, METHODS)
    module, cls = METHODS[name]
    method = getattr(importlib.import_module(f"{__name__}.{module}"), cls)
    accepted = [parameter for parameter in inspect.signature(method).parameters if parameter not in ("args", "kwargs")]
    for argument in arguments:
        if argument not in accepted:
            raise unknown(f"argument of method {name}", argument, accepted)
    try:
        return method(**arguments)
    except TypeError as error:
        raise UserError(f"method {name}: {error}") from error


__all__ = ["METHODS", "Method", "get"]
