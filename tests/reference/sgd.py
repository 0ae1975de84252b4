"""SGD with momentum and coupled weight decay, one parameter at a time, as torch documents it."""

from __future__ import annotations


def decay_only(value: float, rates: list[float], momentum: float, weight_decay: float) -> list[float]:
    """The values of a parameter without gradient, before the first step and after each."""
    buffer, values = None, [value]
    for rate in rates:
        gradient = weight_decay * value
        buffer = gradient if buffer is None else momentum * buffer + gradient
        value = value - rate * buffer
        values.append(value)
    return values
