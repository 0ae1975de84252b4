"""Where the papers' numbers are, and the checksums that guard them."""

from __future__ import annotations

from pathlib import Path

from paper_repro import reading

FOLDER = Path(__file__).parent


def verify() -> None:
    """Raise UserError when the papers' numbers were changed by hand (their checksums differ from those on file)."""
    reading.verify(FOLDER)
