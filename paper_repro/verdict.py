"""The verdict on one number, or on many: how far what was printed and what was reproduced agree."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Verdict(StrEnum):
    """PASS and FAIL compare two numbers; the others say why there is no such answer."""

    PASS = "PASS"
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"  # the evidence does not decide
    MISSING = "MISSING"  # nothing was run
    ERRATUM = "ERRATUM"  # the paper's own number is wrong, and the evidence is on file


PRECEDENCE = (Verdict.FAIL, Verdict.MISSING, Verdict.INCONCLUSIVE, Verdict.ERRATUM, Verdict.PASS)


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """One verdict for many: FAIL, else MISSING, else INCONCLUSIVE, else ERRATUM, else PASS. Of none at all: MISSING."""
    return min(verdicts, key=PRECEDENCE.index, default=Verdict.MISSING)
