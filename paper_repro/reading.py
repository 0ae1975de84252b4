"""Reading the reference files: what is wrong with one is said with file, line and column.

The CSV files hold the paper's numbers as printed, as text. They are UTF-8; a byte order mark and CRLF are accepted.
"""

from __future__ import annotations

import csv
import hashlib
import io
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from paper_repro.errors import UserError, unknown
from paper_repro.files import write

CHECKSUMS = "CHECKSUMS"
M = TypeVar("M", bound=BaseModel)


def at(path: Path, line: int, column: str | None, problem: str) -> UserError:
    """The error for one place in a file."""
    where = f", column {column!r}" if column else ""
    return UserError(f"{path}, line {line}{where}: {problem}")


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, without byte order mark and with LF line ends."""
    try:
        return path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except FileNotFoundError:
        raise UserError(f"{path} is missing; restore it from git") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text at byte {error.start}") from None


def read_cells(path: Path, *key: str) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """The columns of a CSV file, and (line, column -> text) of every row; the ``key`` columns together are unique.

    UserError for an empty file, a column that appears twice, a row with too few or too many cells, or a repeated key.
    """
    reader = csv.reader(io.StringIO(read_text(path)), strict=True)
    rows: list[tuple[int, dict[str, str]]] = []
    seen: dict[tuple[str, ...], int] = {}
    try:
        header = next(reader, None)
        if not header:
            raise UserError(f"{path}: empty; a header line and rows are expected")
        for column in header:
            if header.count(column) > 1:
                raise at(path, 1, column, "this column appears twice")
        for column in key:
            if column not in header:
                raise at(path, 1, None, f"column {column!r} is missing; the columns are {', '.join(header)}")
        for cells in reader:
            line = reader.line_num
            if len(cells) != len(header):
                column = header[min(len(cells), len(header) - 1)]
                raise at(path, line, column, f"{len(cells)} cells in this row, {len(header)} in the header")
            row = dict(zip(header, cells, strict=True))
            name = tuple(row[column] for column in key)
            if name in seen:
                raise at(path, line, key[-1], f"{', '.join(name)!r} is already on line {seen[name]}")
            seen[name] = line
            rows.append((line, row))
    except csv.Error as error:
        raise at(path, reader.line_num, None, str(error)) from None
    return header, rows


def read_rows(
    path: Path,
    model: type[M],
    *key: str,
    may_be_empty: bool = False,
    complete: Callable[[int, dict[str, str]], dict[str, str]] = lambda _line, cells: cells,
) -> list[M]:
    """The rows of a CSV file as ``model``s. Missing and unknown columns, and cells that do not fit, are UserErrors.

    A column may be left out where the model has a default for it. ``complete`` is given the line and the cells of each
    row, and returns the cells to validate.
    """
    columns, rows = read_cells(path, *key)
    for column, field in model.model_fields.items():
        if column not in columns and field.is_required():
            raise at(path, 1, None, f"column {column!r} is missing; the columns are {', '.join(columns)}")
    for column in columns:
        if column not in model.model_fields:
            raise at(path, 1, None, str(unknown("column", column, model.model_fields)))
    if not rows and not may_be_empty:
        raise UserError(f"{path}: no rows below the header")
    validated = []
    for line, cells in rows:
        try:
            validated.append(model.model_validate(complete(line, cells)))
        except ValidationError as error:
            column, problem = _first(error)
            raise at(path, line, column, problem) from None
    return validated


def read_toml(path: Path) -> dict[str, Any]:
    """The contents of a TOML file; a syntax error is a UserError with its line."""
    try:
        return tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path}: {error}") from None


def validate(path: Path, where: str, values: Mapping[str, Any], model: type[M]) -> M:
    """``values`` as a ``model``; an unknown key is an error that names the nearest known one."""
    for key in values:
        if key not in model.model_fields:
            raise UserError(f"{path}, {where}: {unknown('key', key, model.model_fields)}")
    try:
        return model.model_validate(values)
    except ValidationError as error:
        key, problem = _first(error)
        raise UserError(f"{path}, {where}, key {key!r}: {problem}") from None


def _first(error: ValidationError) -> tuple[str, str]:
    """Where and what the first problem is, without pydantic's wrapping."""
    details = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in details["loc"])
    given = details["input"]
    message = details["msg"].removeprefix("Value error, ")
    if not place:  # about the whole row or section: what was given would only repeat it
        return place, message
    if details["type"] == "missing":
        return place, "is missing"
    return place, message if repr(given) in message else f"{message}, not {given!r}"


def checksum(path: Path) -> str:
    """SHA-256 of a text file as git stores it (LF, no byte order mark), so that a checkout on Windows has the same
    one.
    """
    return hashlib.sha256(read_text(path).encode()).hexdigest()


def verify(directory: Path) -> None:
    """Raise UserError when a reference CSV file is not the one whose checksum is on file.

    The paper does not change: neither do these files, except to mend a slip of transcription, and then on the record.
    """
    recorded = {}
    for line in read_text(directory / CHECKSUMS).splitlines():
        digest, _, name = line.partition("  ")
        recorded[name] = digest
    present = {path.name: checksum(path) for path in sorted(directory.glob("*.csv"))}
    changed = sorted(name for name in recorded.keys() & present.keys() if recorded[name] != present[name])
    problems = [
        f"{what}: {', '.join(sorted(files))}"
        for what, files in (
            ("changed", changed),
            ("missing", recorded.keys() - present.keys()),
            ("without a checksum", present.keys() - recorded.keys()),
        )
        if files
    ]
    if problems:
        raise UserError(
            f"reference data changed by hand in {directory} ({'; '.join(problems)}). Undo it with git, or, where the "
            "transcription was wrong: add a CHANGELOG entry under [results] that says what the paper prints, and run "
            "`python -m paper_repro.tables` to record the new checksums."
        )


def record(directory: Path) -> None:
    """Write the checksums of the reference CSV files."""
    lines = [f"{checksum(path)}  {path.name}\n" for path in sorted(directory.glob("*.csv"))]
    write(directory / CHECKSUMS, "".join(lines))


def unique(path: Path, where: str, names: Iterable[str]) -> None:
    """Raise UserError when a name appears twice."""
    seen = set()
    for name in names:
        if name in seen:
            raise UserError(f"{path}, {where}: {name!r} appears twice")
        seen.add(name)
