"""The tiers: how far the evidence of a result goes, least evidence about the paper's own numbers first."""

from __future__ import annotations

TIERS = AUDIT, SMOKE, SMALL, CHECKPOINT, PAPER = ("audit", "smoke", "small", "checkpoint", "paper")
FULL_SCALE = (CHECKPOINT, PAPER)  # network and data are the paper's own: results may be compared with its numbers
