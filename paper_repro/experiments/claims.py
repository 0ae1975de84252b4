"""A claim as data: what is said, where, and how it is tested. ``[[claims]]`` of a table's TOML file.

Most claims are a contrast: the rows of ``ours`` beside the rows of ``theirs``, at equal something. Others are of their
own kind: ``check`` names the function that tests them (``evidence/claims.py``), ``ours`` and ``theirs`` say on which
rows.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from paper_repro.paper.printed import Distribution, File, Name, Percent, Row

CONTRAST = "contrast"


class Rows(File):
    """Some rows of a table: those of these methods, with this kind of budget, in regimes from one to another."""

    methods: tuple[Name, ...] = Field(min_length=1)
    distribution: Distribution | None = None
    regimes_pct: tuple[Percent, Percent] = (0.0, 100.0)

    def of(self, row: Row) -> bool:
        """Whether a row is one of them."""
        low, high = self.regimes_pct
        within = low <= (row.regime_pct or 0.0) <= high
        return within and row.method in self.methods and self.distribution in (None, row.distribution)


class Claim(File):
    """A claim that results can support or contradict. ``quote``: the sentence in which the source makes it, where it is
    one. ``tiers``: those that can test it; the others lack what it ``needs``. ``whose``: "paper" for that of the
    source, "project" for a finding of this project.

    Of a contrast: ``difference`` is what is compared, in words: "STR minus GMP". ``at_equal``: "sparsity", "macs" or
    "accuracy", read off between the rows of one side (``read_off``); or each row beside the one of the other side that
    has the same "ranks", the same "data", or, best beside best, the same "regime". ``measure``: points of accuracy, or
    multiply-adds saved in percent, which is the only measure at equal accuracy.

    It holds when the difference is above zero for all rows; or above minus the ``margin`` (what counts as equal); or
    above ``at_least``; or when the largest comes to ``up_to``. ``counts_from_pct``: regimes below it are told, and
    do not count. ``fewer_macs``: ours must need fewer, too. ``grows``: and its lead must grow with sparsity.
    """

    id: Name
    text: Name
    source: Name
    quote: str = ""
    tiers: tuple[Name, ...] = Field(min_length=1)
    needs: str = ""
    whose: Literal["paper", "project"] = "paper"
    check: Name = CONTRAST
    ours: Rows = Rows(methods=("str",))
    theirs: Rows | None = None
    difference: str = ""
    at_equal: Literal["sparsity", "macs", "accuracy", "ranks", "data", "regime"] | None = None
    read_off: Literal["ours", "theirs"] = "theirs"
    measure: Literal["points", "macs_saved_pct"] = "points"
    margin: Annotated[float, Field(ge=0)] = 0.0
    at_least: float | None = None
    up_to: float | None = None
    counts_from_pct: Percent = 0.0
    fewer_macs: bool = False
    grows: bool = False
    caveat: str = ""

    @model_validator(mode="after")
    def _whole(self) -> Claim:
        if self.check == CONTRAST and not (self.theirs and self.at_equal and self.difference):
            raise ValueError("a contrast needs theirs, at_equal and difference; another claim names its check")
        if self.at_equal == "accuracy" and self.measure == "points":
            raise ValueError("at equal accuracy there are no points to be ahead: measure is macs_saved_pct")
        return self
