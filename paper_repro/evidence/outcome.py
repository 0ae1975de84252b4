"""What a check of a claim comes to, and the words that all checks share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from paper_repro.evidence.evidence import Evidence
from paper_repro.tables import Claim
from paper_repro.verdict import Verdict


class Outcome(NamedTuple):
    """``figure``: the evidence in a few words, for a line of the summary. ``numbers``: the lines of a table that stands
    behind the sentence.
    """

    verdict: Verdict
    figure: str
    sentence: str
    numbers: Sequence[Mapping[str, Any]] = ()


# on the printed numbers, where the last argument is true, or else on the runs; None where what it needs is not there
Check = Callable[[Claim, Evidence, bool], Outcome | None]


def who(line: Mapping[str, Any]) -> str:
    """The row of a line, and its seed where it has one."""
    return f"{line['row']} seed {line['seed']}" if "seed" in line else str(line["row"])


def span(values: Sequence[float], digits: int = 0, sign: bool = False) -> str:
    """The range of some numbers: "17 to 40", or the number where they all read the same."""
    low, high = (f"{value:{'+' if sign else ''}.{digits}f}" for value in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"
