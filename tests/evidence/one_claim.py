"""One claim of a table, checked by itself."""

from __future__ import annotations

from dataclasses import replace

from paper_repro.evidence import claims
from paper_repro.evidence.claims import ClaimResult
from paper_repro.evidence.evidence import Evidence


def find(evidence: Evidence, id: str, tier: str = "smoke") -> ClaimResult:
    """What the claim of that name comes to at a tier; the table's other claims are not checked, which takes seconds."""
    (claim,) = [claim for claim in evidence.table.claims if claim.id == id]
    alone = replace(evidence, table=replace(evidence.table, claims=(claim,)))
    (found,) = [found for found in claims.check(alone) if found.tier == tier]
    return found
