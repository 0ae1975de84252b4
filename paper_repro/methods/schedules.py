"""How a target is approached over training; time runs from 0 (first step) to 1 (last step)."""

from __future__ import annotations


def cubic(time: float, start: float, end: float, updates: int) -> tuple[int, float]:
    """The cubic schedule of Zhu and Gupta (2017) in ``updates`` equal stages between ``start`` and ``end``.

    Returns the number k of the stage (0 before ``start``, ``updates`` from ``end`` on) and the fraction 1 - (1 - k /
    updates)^3 of the target that holds during it: fast first, slow at the end, exactly 1 after the last stage.
    """
    stage = int(updates * min(max((time - start) / (end - start), 0.0), 1.0) + 1e-9)
    return stage, 1.0 - (1.0 - stage / updates) ** 3
