"""A printed number: its value, and how much its last digit leaves open."""

from __future__ import annotations

import re
from dataclasses import dataclass

# K, M and G scale to millions, the project's unit for parameters and MACs
SCALE_TO_MILLIONS = {"": 1.0, "K": 1e-3, "M": 1.0, "G": 1e3}
PRINTED = re.compile(r"(?P<approximate>~?)(?P<digits>-?\d+(?:\.\d+)?)(?P<suffix>[KMG]?)")


@dataclass(frozen=True)
class Quantity:
    """A number as printed: ``text`` "1.23G" has value 1230 and half_unit 5, both in millions.

    ``half_unit`` is half a unit of the last printed digit. In a number printed with "~" trailing zeros are not digits:
    "~600M" promises 550 to 650, so its half_unit is 50.
    """

    value: float
    half_unit: float
    text: str

    def matches(self, x: float) -> bool:
        """Whether ``x`` rounds to the printed value (with a relative slack of 1e-9 for floating point)."""
        return self.excess(x) <= 0.0

    def excess(self, x: float) -> float:
        """How far ``x`` lies outside the numbers that round to the printed value; 0 when inside."""
        return max(0.0, abs(x - self.value) - self.half_unit - 1e-9 * max(1.0, abs(self.value)))

    def of(self, whole: float) -> Quantity:
        """A printed share, such as 0.42, as so much of ``whole``; its text says "0.42 of dense"."""
        return Quantity(self.value * whole, self.half_unit * whole, f"{self.text} of dense")


def parse(text: str) -> Quantity:
    """The quantity printed as ``text``; ValueError when it is not a plain decimal number (NaN and "1,014" are not)."""
    match = PRINTED.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a number as printed, such as 0.51, 766M, 1.23G or ~600M")
    digits, scale = match["digits"], SCALE_TO_MILLIONS[match["suffix"]]
    decimals = len(digits.partition(".")[2])
    if match["approximate"] and decimals == 0:
        decimals = -(len(digits) - len(digits.rstrip("0")))
    return Quantity(float(digits) * scale, 0.5 * 10.0**-decimals * scale, text)
