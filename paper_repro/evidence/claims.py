"""Claims, checked as claims: on the paper's own published numbers (tier ``audit``) and on the runs of a tier.

Which claims there are stands in the table's TOML file: the wording, where the paper makes it, the tiers that can test
it, and whose claim it is. A finding of this project is checked in the same way and is never called the paper's.

How a claim is decided:

- A tier that cannot test a claim makes it UNTESTED; one that could and lacks the runs, MISSING.
- A claim about a mean over seeds (an accuracy ahead of another) needs a 95 % t interval of the differences, paired by
  seed: PASS when it lies above zero, FAIL when below, INCONCLUSIVE otherwise. One seed gives no interval, and so does
  a printed number: INCONCLUSIVE.
- A claim about what a network is once trained (its budget, its MACs, when it began to prune) is checked on every
  network on its own, one seed or more. PASS when it holds for all, FAIL when some network contradicts it; the
  sentence says which.
- "About 20 %", "up to half" and "up to 10 points" are met by what rounds to 20 % or more, 50 % and 10 points. On
  printed numbers this is arithmetic: PASS says that the paper's tables bear it out, not that a new training would.
- Where a claim says that a lead grows, means that do not grow make a PASS INCONCLUSIVE.
- Methods count as equally sparse while STR keeps at most ``density_slack`` (``ci/tolerances.toml``) more weights than
  the other one. A lead with more weights than that is INCONCLUSIVE.
- "At least as accurate" allows ``accuracy_margin`` (same file): PASS when the interval lies above minus the margin.
- At equal MACs, or at equal accuracy, a network is compared with the line between the two of the other method on either
  side, each seed with its own; outside of their range nothing is compared.
- "First" and "last" layers are the first and the last third in forward order, read by their weights: what share of them
  is zero, against the share in the whole network. Counts of layers are told beside it.
- MACs are those of the trained network. A narrow network has them in other layers than the full-size one, whose MACs
  under the same densities are told beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from paper_repro import tables
from paper_repro.evidence import accuracy_claims, budget_claims, method_claims, rank_claims, tolerances, training_claims
from paper_repro.evidence.evidence import Evidence
from paper_repro.evidence.finding import Checker, Finding
from paper_repro.evidence.tolerances import Tolerances
from paper_repro.tables import AUDIT
from paper_repro.verdict import Verdict


@dataclass(frozen=True)
class ClaimResult:
    """One claim on one body of evidence."""

    claim: tables.Claim
    tier: str
    verdict: Verdict
    figure: str
    sentence: str
    numbers: Sequence[Mapping[str, Any]] = ()

    @property
    def id(self) -> str:
        """The claim's."""
        return self.claim.id


def check(evidence: Evidence, limits: Tolerances | None = None) -> list[ClaimResult]:
    """Every claim of the table: first on the paper's own numbers, then on the runs of the tier."""
    limits = limits or tolerances.load()
    found = []
    for claim in evidence.table.claims:
        for tier in dict.fromkeys((AUDIT, evidence.tier)):
            if tier in claim.tiers or tier == evidence.tier:
                found.append(ClaimResult(claim, tier, *_check(claim, tier, evidence, limits)))
    return found


def _check(claim: tables.Claim, tier: str, evidence: Evidence, limits: Tolerances) -> Finding:
    if tier not in claim.tiers:
        needs = f": it needs {claim.needs}" if claim.needs else ""
        able = ", ".join(claim.tiers)
        return Finding(Verdict.UNTESTED, f"for {able}", f"Tier {tier} cannot test it{needs}. Tiers that can: {able}.")
    checker = CHECKS.get(claim.id, (None, None))[tier != AUDIT]
    if checker is None:
        return Finding(Verdict.UNTESTED, "no check", "There is no check for this claim.")
    return checker(evidence, limits) or Finding(Verdict.MISSING, "not run", f"Not what it needs at tier {tier}.")


CHECKS: Mapping[str, tuple[Checker | None, Checker | None]] = {
    "dnw-as-accurate-under-str-budget": (method_claims.dnw_budget_published, method_claims.dnw_budget_runs),
    "gmp-ahead-under-str-budget": (method_claims.gmp_budget_published, method_claims.gmp_budget_runs),
    "st3-ahead-at-equal-sparsity": (method_claims.st3_published, method_claims.st3_runs),
    "st3-sigma-ahead-at-equal-macs": (method_claims.st3_macs_published, method_claims.st3_macs_runs),
    "ahead-of-vanilla-low-rank": (rank_claims.vanilla_published, rank_claims.vanilla_runs),
    "near-full-rank": (rank_claims.full_published, rank_claims.full_runs),
    "fewer-macs-same-accuracy": (accuracy_claims.equal_accuracy_published, accuracy_claims.equal_accuracy_runs),
    "up-to-half-the-macs": (accuracy_claims.half_published, accuracy_claims.half_runs),
    "ahead-of-gmp-from-95": (accuracy_claims.ahead_published, accuracy_claims.ahead_runs),
    "up-to-10-points-ahead": (accuracy_claims.gain_published, accuracy_claims.gain_runs),
    "first-sparser-last-denser": (budget_claims.baselines_published, budget_claims.baselines_runs),
    "fewer-macs-than-uniform": (budget_claims.macs_published, budget_claims.macs_runs),
    "budget-shape": (budget_claims.shape_published, budget_claims.shape_runs),
    "sparsity-after-onset": (training_claims.onset_published, training_claims.onset_runs),
    "gradual-pruning-learned": (training_claims.gradual_published, training_claims.gradual_runs),
    "no-training-cost": (None, training_claims.cost_runs),
}
