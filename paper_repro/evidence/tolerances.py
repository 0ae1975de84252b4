"""The tolerances of CI and of verdicts: ``ci/tolerances.toml``, loaded and checked in one place."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from paper_repro.errors import UserError
from paper_repro.evidence.provenance import of_repository
from paper_repro.tables.files import read_toml, validate
from paper_repro.tables.printed import File

Tolerance = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]


class FullScale(File):
    """How far a full-scale run may lie from the printed number: points of accuracy, or a fraction of the number.

    The tolerance of its sparsity stands with the row's recipe in ``paper_repro/tables``.
    """

    top1_pct: Tolerance
    params_rel: Tolerance
    macs_rel: Tolerance


class Tolerances(File):
    """``density_slack``: how much denser (as a fraction) one network may be than another and still count as equally
    sparse. ``accuracy_margin``: by how many points it may be less accurate and still count as at least as accurate.
    """

    seeds: Annotated[int, Field(strict=True, ge=0)]
    density_slack: Tolerance
    accuracy_margin: Tolerance
    onset_before_pct: Tolerance
    full_scale: dict[str, FullScale] = Field(default_factory=dict)


def load(file: Path | None = None) -> Tolerances:
    """Read the file; an unknown, missing or negative tolerance is a UserError that names it."""
    file = file or of_repository("ci", "tolerances.toml")
    if not file.exists():
        raise UserError(f"{file} does not exist: the tolerances are part of the repository")
    return validate(file, "top level", read_toml(file), Tolerances)
