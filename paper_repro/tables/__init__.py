"""What the paper says: its tables as data, the one module that loads and validates them, and the audit of its
numbers.
"""

from __future__ import annotations

from paper_repro.tables.claims import Claim
from paper_repro.tables.loader import (
    AUDIT,
    CHECKPOINT,
    FULL_SCALE,
    TIERS,
    Table,
    budgets,
    curve,
    holders,
    load,
    names,
    sources,
    verify,
)
from paper_repro.tables.printed import Reported, Row
from paper_repro.tables.quantity import Quantity
from paper_repro.tables.recipes import RowPlan, TierPlan

__all__ = [
    "AUDIT",
    "CHECKPOINT",
    "FULL_SCALE",
    "TIERS",
    "Claim",
    "Quantity",
    "Reported",
    "Row",
    "RowPlan",
    "Table",
    "TierPlan",
    "budgets",
    "curve",
    "holders",
    "load",
    "names",
    "sources",
    "verify",
]
