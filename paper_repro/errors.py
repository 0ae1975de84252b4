"""Errors made for people: a sentence that says what is wrong, where, and what to do."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from pydantic import ValidationError

T = TypeVar("T")


class UserError(Exception):
    """A mistake or a missing thing that the user can mend; shown without a traceback.

    The command line exits with ``exit_code``: 2 for bad input, 3 for a state that must not be overwritten.
    """

    def __init__(self, message: str, exit_code: int = 2) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Advice(UserWarning):
    """Something that is allowed, and hardly what the user meant. A run passes it on as a note."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """The error for a name that does not exist: it suggests the nearest one and lists all."""
    known = sorted(known)
    near = difflib.get_close_matches(str(name), known, n=5, cutoff=0.5)
    # of names that are about as near, the one that begins like it: 'str-90' is str-90.23 rather than str-98.05
    ratio = {item: difflib.SequenceMatcher(None, item, str(name)).ratio() for item in near}
    near = [item for item in near if ratio[item] > ratio[near[0]] - 0.05]
    near.sort(key=lambda item: _alike_from_the_start(item, str(name)), reverse=True)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return UserError(f"unknown {kind} {name!r}.{hint} Known: {', '.join(known) or 'none'}.")


def require_known(kind: str, names: str | Iterable[str], known: Collection[str], where: object = "") -> None:
    """UserError for a name, or the first of several, that is not among ``known``; ``where``: the file and place."""
    for name in [names] if isinstance(names, str) else names:
        if name not in known:
            raise UserError(f"{where}: {unknown(kind, name, known)}") if where else unknown(kind, name, known)


def called(what: str, make: Callable[..., T], arguments: Mapping[str, Any]) -> T:
    """``make(**arguments)``; UserError for an argument that it does not take, with the nearest that it does."""
    accepted = [name for name in inspect.signature(make).parameters if name not in ("args", "kwargs")]
    require_known(f"argument of {what}", arguments, accepted)
    try:
        return make(**arguments)
    except TypeError as error:
        raise UserError(f"{what}: {error}") from error


# pydantic's kinds of problems that can be said more plainly
PLAIN = {
    "missing": "is missing",
    "finite_number": "{value!r} is not a finite number",
    "float_parsing": "{value!r} is not a plain number; write it like 1014.45, without separators or unit",
    "int_parsing": "{value!r} must be a whole number, without separators or unit",
    "int_from_float": "{value!r} must be a whole number",
}


def problems(error: ValidationError) -> list[tuple[tuple[int | str, ...], str]]:
    """(place, what is wrong there) for everything that pydantic found."""
    errors = error.errors(include_url=False)
    return [(item["loc"], _plainly(item["type"], item["msg"], item["input"])) for item in errors]


def _plainly(kind: str, message: str, value: object) -> str:
    if kind == "value_error":  # said by a validator of ours, in full
        return message.removeprefix("Value error, ")
    if value in ("", None) and kind != "missing":
        return "empty, and a value is needed"
    if kind in PLAIN:
        return PLAIN[kind].format(value=value)
    _, should, wanted = message.partition(" should ")
    return f"{value!r} must {wanted}" if should else f"{message}, not {value!r}"


def _alike_from_the_start(one: str, other: str) -> int:
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


CRASHED = 70  # EX_SOFTWARE of sysexits.h; no verb has it as an answer
# of the verb `regress`
EXIT_CODES = """\
Exit code:
  0  worse in none; not every regime need be decided
  1  worse than STR in at least one regime
  2  bad input, a broken plug-in, or a run of the method that failed, diverged or pruned nothing
  3  a stored state that cannot be used
  4  with --strict (STRICT=1): as 0, but a regime is not decided: more seeds are needed, or STR has no run there
  70  a fault of this program
Only the comparison at equal sparsity counts for it; the one at equal multiply-adds is shown."""
