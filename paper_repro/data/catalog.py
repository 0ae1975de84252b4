"""The data sets that a spec can name. ``sets.toml`` has the facts of each, which are read without torch."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paper_repro.data.facts import Dataset, Step
from paper_repro.errors import UserError, require_known
from paper_repro.reading import read_toml

if TYPE_CHECKING:
    from paper_repro.data.dataset import Source


@cache
def sets() -> dict[str, dict[str, Any]]:
    """Data set -> its section of ``sets.toml``."""
    return read_toml(Path(__file__).with_name("sets.toml"))


def keys(name: str) -> dict[str, Any]:
    """What ``sets.toml`` says of a data set; UserError, with the nearest names, where there is none."""
    require_known("data set", name, sets())
    section = sets()[name]
    own: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in section.items()}
    own["steps"] = tuple(Step(**step) for step in own.get("steps", ()))
    return {**(keys(own.pop("like")) if "like" in own else {}), **own, "name": name}


BROUGHT: dict[str, Source] = {}  # of networks that users bring (``brought.register``), in this process


def dataset(name: str) -> Dataset:
    """The facts of the data set called ``name``; UserError, with the nearest names, where there is none."""
    if name in BROUGHT:
        return BROUGHT[name]
    said = keys(name)
    return Dataset(**{item.name: said[item.name] for item in fields(Dataset) if item.name in said})


def source(name: str) -> Source:
    """What finds, fetches, verifies and opens it."""
    if name in BROUGHT:
        return BROUGHT[name]
    said = keys(name)
    made: Source = pkgutil.resolve_name(said.pop("source"))(**said)
    return made


def every() -> list[Dataset]:
    """All data sets."""
    return [dataset(name) for name in sets()]


def validation_split(name: str) -> str:
    """The data set that holds out a part of the training set of ``name``; UserError where there is none."""
    for item in (*every(), *BROUGHT.values()):
        if item.held_out_of == name:
            return item.name
    if name in BROUGHT:
        raise UserError(
            f"{dataset(name).title} has a single training example, and nothing is chosen on its validation part: let "
            "data() return more, or leave out TUNE= (--tune)"
        )
    raise UserError(
        f"data set {name} has no validation split, and nothing is chosen on a test set: write one into "
        "paper_repro/data/sets.toml (held_out_of)"
    )


def standing_in(stand_ins: Mapping[str, str], root: Path) -> dict[str, str]:
    """Data set -> its stand-in, for those of ``stand_ins`` that are not under ``root`` while their stand-in is."""
    return {
        name: other
        for name, other in stand_ins.items()
        if not source(name).present(root) and source(other).present(root)
    }
