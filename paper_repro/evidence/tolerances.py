"""The tolerances of CI and of verdicts: ``ci/tolerances.toml``, loaded and checked in one place."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from paper_repro.errors import UserError, unknown
from paper_repro.evidence.provenance import of_repository


@dataclass(frozen=True)
class FullScale:
    """How far a full-scale run may lie from the printed number: points of accuracy, or a fraction of the number.

    The tolerance of its sparsity stands with the row's recipe in ``paper_repro/experiments``.
    """

    top1_pct: float
    params_rel: float
    macs_rel: float


@dataclass(frozen=True)
class Tolerances:
    """``seeds``: how many the results of a trained tier must have. ``onset_before_pct``: the sparsity below which a run
    counts as not yet pruning.
    """

    seeds: int
    onset_before_pct: float
    full_scale: Mapping[str, FullScale]


def load(file: Path | None = None) -> Tolerances:
    """Read the file; an unknown, missing or negative tolerance is a UserError that names it."""
    file = file or of_repository("ci", "tolerances.toml")
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{file} does not exist: the tolerances are part of the repository") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{file} is not valid TOML: {error}") from error
    full_scale = {
        tier: FullScale(**_numbers(file, f"full_scale.{tier}", values, [f.name for f in fields(FullScale)]))
        for tier, values in data.pop("full_scale", {}).items()
    }
    names = ["seeds", "onset_before_pct"]
    rest = _numbers(file, "top level", data, names)
    return Tolerances(int(rest.pop("seeds")), full_scale=full_scale, **rest)


def _numbers(file: Path, where: str, values: Mapping[str, object], names: list[str]) -> dict[str, float]:
    for name in values:
        if name not in names:
            raise UserError(f"{file}, {where}: {unknown('tolerance', name, names)}")
    checked: dict[str, float] = {}
    for name in names:
        value = values.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
            raise UserError(f"{file}, {where}: {name} must be a number that is not negative, not {value!r}")
        checked[name] = float(value)
    return checked
