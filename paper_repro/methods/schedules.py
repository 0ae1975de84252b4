"""How a number changes over training, in stages: time runs from 0 (before the first step) to 1 (after the last).

A method asks ``starting(step, total_steps)`` at every step and gets the number of a stage that begins there, or None.
It ranks weights then and at no other step.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

from paper_repro.errors import UserError

EVERY_STEP = 10**9  # a number of updates that no run has steps for: a stage begins with every step


@dataclass(frozen=True)
class Schedule(ABC):
    """``updates`` equal stages between ``start`` and ``end``; stage k begins at start + k * (end - start) / updates."""

    start: float
    end: float
    updates: int

    def __post_init__(self) -> None:
        if not 0.0 <= self.start < self.end <= 1.0 or self.updates < 1:
            raise UserError(
                "a schedule runs from start to end of training in a number of updates: "
                f"0 <= {self.start:g} < {self.end:g} <= 1, updates = {self.updates} >= 1"
            )

    @abstractmethod
    def value(self, stage: int) -> float:
        """What holds in a stage."""

    def stage(self, time: float) -> int:
        """The stage at a time: 0 before the first one begins, ``updates`` from ``end`` on."""
        return int(self.updates * min(max((time - self.start) / (self.end - self.start), 0.0), 1.0) + 1e-9)

    def starting(self, step: int, total_steps: int) -> float | None:
        """The value of the stage that begins at training step ``step``, counted from 0; None where none begins."""
        stage = self.stage(step / total_steps)
        return None if stage == self.stage((step - 1) / total_steps) else self.value(stage)


@dataclass(frozen=True)
class Cubic(Schedule):
    """The schedule of Zhu and Gupta (2017): 1 - (1 - k / updates)^3 of the target; fast first, slow at the end. The
    last step reaches the target where no step begins as late as ``end``.
    """

    def value(self, stage: int) -> float:
        return 1.0 - (1.0 - min(stage / self.updates, 1.0)) ** 3

    def starting(self, step: int, total_steps: int) -> float | None:
        if step == total_steps - 1 and self.stage(step / total_steps) < self.updates:
            return 1.0
        return super().starting(step, total_steps)


@dataclass(frozen=True)
class CubicThenHold(Cubic):
    """The same, with stages of the same length that hold the target from ``end`` to the last step."""

    def stage(self, time: float) -> int:
        return int(self.updates * max((time - self.start) / (self.end - self.start), 0.0) + 1e-9)


@dataclass(frozen=True)
class Hold(Schedule):
    """The same value in all stages; the first begins with the first step."""

    height: float = 1.0

    def value(self, stage: int) -> float:
        return self.height

    def stage(self, time: float) -> int:
        return 0 if time < self.start else 1 + super().stage(time)


@dataclass(frozen=True)
class CosineDecay(Schedule):
    """From ``height`` to ``floor`` along half a cosine."""

    height: float = 1.0
    floor: float = 0.0

    def value(self, stage: int) -> float:
        return self.floor + (self.height - self.floor) / 2.0 * (1.0 + math.cos(math.pi * stage / self.updates))


@dataclass(frozen=True)
class Sigmoid(Schedule):
    """From 0 to 1, around the middle of the stages; the larger ``sharpness``, the more abruptly."""

    sharpness: float = 100.0

    def value(self, stage: int) -> float:
        return 1.0 / (1.0 + math.exp(-self.sharpness * (stage / self.updates - 0.5)))
