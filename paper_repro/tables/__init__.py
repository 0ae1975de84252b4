"""What the paper says: its tables as data, the one module that loads and validates them, and the audit of its
numbers.
"""

from __future__ import annotations

from paper_repro.tables.loader import (
    AUDIT,
    TIERS,
    Claim,
    Reported,
    Row,
    RowPlan,
    Table,
    TierPlan,
    budgets,
    curve,
    load,
    names,
    verify,
)
from paper_repro.tables.quantity import Quantity

__all__ = [
    "AUDIT",
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
    "load",
    "names",
    "verify",
]
