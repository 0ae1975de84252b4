"""Claims, checked as claims: on the paper's own published numbers (tier ``audit``) and on the runs of a tier.

Which claims there are stands in the table's TOML file: the wording, where the paper makes it, the tiers that can test
it, whose claim it is, and what is compared with what (``experiments/claims.py``). A new claim that is a contrast is a
new entry there and nothing else; one of its own kind also needs a function in ``CHECKS``. A finding of this project is
checked in the same way and is never called the paper's.

How a claim is decided:

- A tier that cannot test a claim makes it UNTESTED; one that could and lacks the runs, MISSING.
- A contrast (an accuracy ahead of another, MACs saved) needs the 95 % t interval of the differences, paired by seed, at
  equal sparsity, MACs or accuracy as ``contrast.py`` defines them: PASS when it lies above what the claim needs, FAIL
  when below, INCONCLUSIVE otherwise and where nothing is comparable. Neither one seed nor a printed number
  gives an interval: INCONCLUSIVE.
- "About 20 %", "up to half" and "up to 10 points" are met by what rounds to 20 % or more, 50 % and 10 points. A
  largest mean that falls short of that is FAIL where its interval excludes the amount, INCONCLUSIVE otherwise. On
  printed numbers this is arithmetic: PASS says that the paper's tables bear it out, not that a new training would.
- Where a claim says that a lead grows, means that do not grow make a PASS INCONCLUSIVE.
- A claim about what a network is once trained (its budget, when it began to prune) is checked on every network on its
  own, one seed or more. PASS when it holds for all, FAIL when some network contradicts it; the sentence says which.
- "First" and "last" layers are the first and the last third in forward order, read by their weights: what share of them
  is zero, against the share in the whole network. Counts of layers are told beside it.
- MACs are those of the trained network. A narrow network has them in other layers than the full-size one, whose MACs
  under the same densities are told beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from paper_repro.evidence import budget_claims, contrast_claims, training_claims
from paper_repro.evidence.evidence import Evidence
from paper_repro.evidence.outcome import Check, Outcome
from paper_repro.experiments.claims import CONTRAST
from paper_repro.tables import AUDIT, Claim
from paper_repro.verdict import Verdict


@dataclass(frozen=True)
class ClaimResult:
    """One claim on one body of evidence."""

    claim: Claim
    tier: str
    verdict: Verdict
    figure: str
    sentence: str
    numbers: Sequence[Mapping[str, Any]] = ()

    @property
    def id(self) -> str:
        """The claim's."""
        return self.claim.id


def check(evidence: Evidence) -> list[ClaimResult]:
    """Every claim of the table: first on the paper's own numbers, then on the runs of the tier."""
    return [
        ClaimResult(claim, tier, *_check(claim, tier, evidence))
        for claim in evidence.table.claims
        for tier in dict.fromkeys((AUDIT, evidence.tier))
        if tier in claim.tiers or tier == evidence.tier
    ]


def _check(claim: Claim, tier: str, evidence: Evidence) -> Outcome:
    if tier not in claim.tiers:
        needs = f": it needs {claim.needs}" if claim.needs else ""
        able = ", ".join(claim.tiers)
        return Outcome(Verdict.UNTESTED, f"for {able}", f"Tier {tier} cannot test it{needs}. Tiers that can: {able}.")
    if claim.check not in CHECKS:
        return Outcome(Verdict.UNTESTED, "no check", "There is no check for this claim.")
    outcome = CHECKS[claim.check](claim, evidence, tier == AUDIT)
    return outcome or Outcome(Verdict.MISSING, "not run", f"What this claim needs at tier {tier} is not there yet.")


CHECKS: Mapping[str, Check] = {
    CONTRAST: contrast_claims.check,
    "sparser-at-first-denser-at-last": budget_claims.against_baselines,
    "fewer-macs-than-uniform": budget_claims.fewer_macs_than_uniform,
    "budget-shape": budget_claims.shape,
    "onset": training_claims.onset,
    "cubic-schedule": training_claims.cubic_schedule,
    "training-time": training_claims.training_time,
}
