"""The tiers: how far the evidence of a result goes."""

from __future__ import annotations

from enum import StrEnum


class Tier(StrEnum):
    """A tier by its name; ``Tier("smoke").trains``. Least evidence about the paper's own numbers first."""

    AUDIT = "audit"
    SMOKE = "smoke"
    SMALL = "small"
    CHECKPOINT = "checkpoint"
    PAPER = "paper"

    @property
    def trains(self) -> bool:
        """Whether networks are trained: the audit has none, and those of tier checkpoint are the authors' own."""
        return self not in (Tier.AUDIT, Tier.CHECKPOINT)

    @property
    def full_scale(self) -> bool:
        """Whether network and data are the paper's own, so that results may be compared with its numbers."""
        return self in (Tier.CHECKPOINT, Tier.PAPER)


AUDIT, CHECKPOINT = Tier.AUDIT.value, Tier.CHECKPOINT.value
TIERS = tuple(tier.value for tier in Tier)
FULL_SCALE = tuple(tier.value for tier in Tier if tier.full_scale)
