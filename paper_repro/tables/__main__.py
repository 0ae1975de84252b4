"""``python -m paper_repro.tables``: record the checksums of the reference data, after a correction to it."""

from __future__ import annotations

from paper_repro.tables.files import CHECKSUMS, record
from paper_repro.tables.loader import DATA

record(DATA)
print(f"checksums written to {DATA / CHECKSUMS}")
