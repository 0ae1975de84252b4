"""The tables, by name: what the papers print (``paper``) and how rows are trained (``experiments``), joined.

``python -m paper_repro.tables`` records the checksums of what the papers print, after a correction to it.
"""

from __future__ import annotations

from paper_repro.experiments.claims import Claim
from paper_repro.experiments.recipe import TierPlan
from paper_repro.experiments.table import Table, budgets, holders, layer_rows, load, names, sources, verify
from paper_repro.experiments.tiers import AUDIT, CHECKPOINT, FULL_SCALE, TIERS
from paper_repro.paper import library
from paper_repro.paper.library import curve
from paper_repro.paper.printed import Row

__all__ = [
    "AUDIT",
    "CHECKPOINT",
    "FULL_SCALE",
    "TIERS",
    "Claim",
    "Row",
    "Table",
    "TierPlan",
    "budgets",
    "curve",
    "holders",
    "layer_rows",
    "load",
    "names",
    "sources",
    "verify",
]

if __name__ == "__main__":
    from paper_repro import reading
    from paper_repro.experiments.table import FOLDER, PRINTED

    reading.record(library.FOLDER)
    reading.record(FOLDER, PRINTED)
    print(f"checksums written to {library.FOLDER} and {FOLDER}")
