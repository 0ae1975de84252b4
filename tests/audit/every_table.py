"""The audit of every table."""

from __future__ import annotations

from pathlib import Path

from paper_repro import tables
from paper_repro.audit.comparison import Comparison
from paper_repro.audit.whole_table import audit


def audit_all(errata_path: Path | None = None) -> list[Comparison]:
    """An erratum that belongs to no table stands there once."""
    return list(dict.fromkeys(line for name in tables.names() for line in audit(name, errata_path)))
