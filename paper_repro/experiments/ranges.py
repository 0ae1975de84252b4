"""Ranges of hyperparameters for a search: those of ``methods/ranges.toml``, and those that a plug-in declares."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from paper_repro import methods, reading
from paper_repro.errors import UserError
from paper_repro.paper.printed import File
from paper_repro.spec import Spec

FILE = Path(methods.__file__).parent / "ranges.toml"
OF_SPEC = ("weight_decay", "lr", "grad_clip_norm")  # may be searched beside the arguments of a method
Ranges = dict[str, "Range"]  # hyperparameter or argument -> where it may lie


class Range(File):
    """Where a value may lie: from ``low`` to ``high``, drawn on a logarithmic scale where ``log``, and whole where both
    ends are (``fitted`` makes them fractions where the argument is no whole number); or one of ``choices``; or the
    recipe's own value ``times`` a factor between these two.
    """

    low: int | float | None = None
    high: int | float | None = None
    log: bool = False
    choices: list[Any] = Field(default_factory=list)
    times: tuple[float, float] | None = None

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        ends = (self.low, self.high) if self.times is None else self.times
        forms = [self.low is not None or self.high is not None, bool(self.choices), self.times is not None]
        if forms.count(True) != 1:
            raise ValueError("a range is {low, high}, {choices} or {times}, and one of them")
        if not self.choices and (None in ends or not ends[0] < ends[1]):  # type: ignore[operator]
            raise ValueError("a range has two ends, the lower one first")
        if self.choices and self.log:
            raise ValueError("choices are not drawn on a scale: leave log out")
        if (self.log or self.times) and not ends[0] > 0:  # type: ignore[operator]
            raise ValueError("a logarithmic scale begins above 0")
        return self

    def __str__(self) -> str:
        if self.choices:
            return f"one of {', '.join(map(str, self.choices))}"
        if self.times:
            return f"{self.times[0]:g} to {self.times[1]:g} times the recipe's"
        return f"{self.low:g} to {self.high:g}{' (log)' if self.log else ''}"

    def value(self, drawn: Any, own: Any) -> Any:
        """What a draw stands for, where ``own`` is the recipe's value; fractions to four digits."""
        if self.times:
            drawn *= own
        return float(f"{drawn:.4g}") if isinstance(drawn, float) else drawn


def of_family() -> list[str]:
    """The methods that have ranges of their own in ``methods/ranges.toml``, in its order."""
    return [name for name in reading.read_toml(FILE) if name != "default"]


def of_method(name: str) -> Ranges:
    """The ranges of a method in ``methods/ranges.toml``."""
    sections = reading.read_toml(FILE)
    of_file = parsed(FILE, f"[{name}]", sections.get(name, sections["default"]))
    return fitted(of_file, methods.METHODS[name].load()) if name in methods.METHODS else of_file


def parsed(path: Path, where: str, values: Mapping[str, Mapping[str, Any]]) -> Ranges:
    """Ranges as they are written; UserError for one that is none."""
    return {name: reading.validate(path, f"{where} {name}", range_, Range) for name, range_ in values.items()}


def fitted(ranges: Ranges, method: type[methods.Method]) -> Ranges:
    """Ranges as the arguments of a method take them: whole ends mean whole numbers where the argument is an int, by its
    annotation, or by its default where it has no annotation. Everything else may be a fraction.
    """
    whole = {name for name, argument in inspect.signature(method).parameters.items() if _is_whole(argument)}
    return {name: item if name in whole else _fractions(item) for name, item in ranges.items()}


def _is_whole(argument: inspect.Parameter) -> bool:
    if argument.annotation is argument.empty:
        return type(argument.default) is int  # a bool is none
    said = (
        argument.annotation if isinstance(argument.annotation, str) else inspect.formatannotation(argument.annotation)
    )
    return {part.strip() for part in said.split("|")} - {"None"} == {"int"}


def _fractions(item: Range) -> Range:
    if item.low is None or item.high is None:
        return item
    return item.model_copy(update={"low": float(item.low), "high": float(item.high)})


def defaults(method: type[methods.Method]) -> dict[str, int | float]:
    """Argument -> the number that a method has for it where nobody says another."""
    arguments = inspect.signature(method).parameters.items()
    return {name: argument.default for name, argument in arguments if _is_number(argument.default)}


def own_value(spec: Spec, name: str, defaults: Mapping[str, Any]) -> Any:
    """What a spec has for a hyperparameter or argument, or else the method's default. UserError where there is none
    that could be multiplied: no number, or 0, of which every multiple is 0.
    """
    value = getattr(spec, name) if name in OF_SPEC else spec.method_args.get(name, defaults.get(name))
    if not _is_number(value):
        raise UserError(
            f"{name} has no value in the recipe of {spec.method}, so that its range cannot be {{times}}: "
            "give it {low, high}"
        )
    if value == 0:
        raise UserError(
            f"{name} is 0 in the recipe of {spec.method}, and so is every multiple of it: its range cannot be "
            "{times}; give it {low, high}"
        )
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def applied(spec: Spec, values: Mapping[str, Any]) -> Spec:
    """A spec with these hyperparameters and arguments."""
    own = {name: value for name, value in values.items() if name in OF_SPEC}
    arguments = {name: value for name, value in values.items() if name not in OF_SPEC}
    return replace(spec, **own, method_args={**spec.method_args, **arguments})
