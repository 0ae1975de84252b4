"""Dense training: the reference point of every comparison, and a method like any other."""

from __future__ import annotations

from paper_repro.methods.base import Method


class Dense(Method):
    """Leaves every weight as it is."""

    prunes = False
