"""The tolerances of CI and of verdicts: ``ci/tolerances.toml``, loaded and checked in one place."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from paper_repro.errors import UserError
from paper_repro.evidence.provenance import of_repository
from paper_repro.paper.printed import File
from paper_repro.reading import read_toml, validate

Tolerance = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]


class FullScale(File):
    """How far a full-scale run may lie from the printed number: points of accuracy, or a fraction of the number.

    The tolerance of its sparsity stands with the row's recipe in ``paper_repro/experiments``.
    """

    top1_pct: Tolerance
    params_rel: Tolerance
    macs_rel: Tolerance


class Tolerances(File):
    """``seeds``: how many the results of a trained tier must have. ``onset_before_pct``: the sparsity below which a run
    counts as not yet pruning.
    """

    seeds: Annotated[int, Field(strict=True, ge=0)]
    onset_before_pct: Tolerance
    full_scale: dict[str, FullScale] = Field(default_factory=dict)


def load(file: Path | None = None) -> Tolerances:
    """Read the file; an unknown, missing or negative tolerance is a UserError that names it."""
    file = file or of_repository("ci", "tolerances.toml")
    if not file.exists():
        raise UserError(f"{file} does not exist: the tolerances are part of the repository")
    return validate(file, "top level", read_toml(file), Tolerances)
