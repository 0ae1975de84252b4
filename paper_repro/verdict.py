"""The verdict on one number, or on many: how far what was printed and what was reproduced agree."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

MARGIN = 0.5  # points of top-1 accuracy that do not matter when two methods are compared, unless asked otherwise


class Verdict(StrEnum):
    """PASS and FAIL are the outcome of a test; the others say why there is no such answer."""

    PASS = "PASS"
    FAIL = "FAIL"
    ERRATUM = "ERRATUM"  # the paper's own number is wrong, and the evidence is on file
    INCONCLUSIVE = "INCONCLUSIVE"  # tested, and not decided
    MISSING = "MISSING"  # this tier should have the run, and has not
    UNTESTED = "UNTESTED"  # this tier cannot test it


MEANING = {
    Verdict.PASS: "holds",
    Verdict.FAIL: "does not hold",
    Verdict.ERRATUM: "the paper's own number is wrong",
    Verdict.INCONCLUSIVE: "tested, not decided",
    Verdict.MISSING: "not run yet",
    Verdict.UNTESTED: "this tier cannot test it",
}
# worst first; what cannot be tested says nothing about what was
PRECEDENCE = (
    Verdict.FAIL,
    Verdict.MISSING,
    Verdict.INCONCLUSIVE,
    Verdict.ERRATUM,
    Verdict.PASS,
    Verdict.UNTESTED,
)


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """One verdict for many: FAIL, else MISSING, INCONCLUSIVE, ERRATUM, PASS, UNTESTED. Of none at all: MISSING."""
    return min(verdicts, key=PRECEDENCE.index, default=Verdict.MISSING)
