"""Reading the reference files: what is wrong with one is said with file, line and column.

The CSV files hold the paper's numbers as printed, as text. They are UTF-8; a byte order mark and CRLF are accepted.
"""

from __future__ import annotations

import csv
import hashlib
import io
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, lru_cache, wraps
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import BaseModel, TypeAdapter, ValidationError

from paper_repro.errors import UserError, problems, require_known, unknown
from paper_repro.files import write

CHECKSUMS = "CHECKSUMS"
M = TypeVar("M", bound=BaseModel)
Read = TypeVar("Read", bound=Callable[..., Any])
Row = tuple[int, dict[str, Any]]  # line in the file, and column -> cell


def at(path: Path, line: int, column: str | None, problem: str) -> UserError:
    """The error for one place in a file."""
    where = f", column {column!r}" if column else ""
    return UserError(f"{path}, line {line}{where}: {problem}")


def once(read: Read) -> Read:
    """``read``, of a file and of arguments that can be hashed, done once while the file stays as it is. Everybody gets
    the same result: leave it alone.
    """

    @lru_cache(maxsize=256)
    def in_state(_state: tuple[int, ...], path: Path, *args: Any) -> Any:
        return read(path, *args)

    @wraps(read)
    def read_once(path: Path, *args: Any) -> Any:
        try:
            state = path.stat()
        except OSError:
            return read(path, *args)  # which says what is wrong
        return in_state((state.st_ino, state.st_mtime_ns, state.st_size), path, *args)

    return cast(Read, read_once)


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, without byte order mark and with LF line ends."""
    try:
        return path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except FileNotFoundError:
        raise UserError(f"{path} is missing; restore it from git") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text at byte {error.start}") from None


def read_cells(path: Path, *key: str, model: type[BaseModel] | None = None) -> tuple[list[str], list[Row]]:
    """The columns of a CSV file, and (line, column -> text) of every row; the ``key`` columns together are unique.
    ``model``: what a row is to be, if the columns follow from that.

    UserError for an empty file, a column that appears twice, a row with too few or too many cells, or a repeated key.
    """
    reader = csv.reader(io.StringIO(read_text(path)), strict=True)
    rows: list[Row] = []
    try:
        header = [column.strip() for column in next(reader, [])]
        if not header:
            raise UserError(f"{path}: empty; a header line and rows are expected")
        for column in header:
            if header.count(column) > 1:
                raise at(path, 1, column, "this column appears twice")
        fields = model.model_fields if model else {}
        for column in (*key, *(name for name, field in fields.items() if field.is_required())):
            if column not in header:
                raise at(path, 1, None, f"column {column!r} is missing; the columns are {', '.join(header)}")
        for column in header if model else ():
            if column not in fields:
                raise at(path, 1, None, str(unknown("column", column, fields)))
        for cells in reader:
            if len(cells) != len(header):
                column = header[min(len(cells), len(header) - 1)]
                problem = (
                    f"{len(cells)} cells in this row, {len(header)} in the header; a cell with a comma needs quotes"
                )
                raise at(path, reader.line_num, column, problem)
            rows.append((reader.line_num, dict(zip(header, cells, strict=True))))
    except csv.Error as error:
        raise at(path, reader.line_num, None, str(error)) from None
    require_unique(path, rows, key)
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
    _, rows = read_cells(path, *key, model=model)
    if not rows and not may_be_empty:
        raise UserError(f"{path}: no rows below the header")
    return validated(path, [(line, complete(line, cells)) for line, cells in rows], model)


def validated(path: Path, rows: Sequence[Row], model: type[M]) -> list[M]:
    """Rows of a file as ``model``s; the UserError names what is wrong by line and column, at most ten in words."""
    try:
        return _rows_of(model).validate_python([cells for _, cells in rows])
    except ValidationError as error:
        sentences = [
            str(at(path, rows[int(index)][0], str(column[0]) if column else None, problem))
            for (index, *column), problem in problems(error)
        ]
        more = [f"... and {len(sentences) - 10} more"] if len(sentences) > 10 else []
        raise UserError("\n".join(sentences[:10] + more)) from None


@cache
def _rows_of(model: type[M]) -> TypeAdapter[list[M]]:
    return TypeAdapter(list[model])  # type: ignore[valid-type]


def require_unique(path: Path, rows: Iterable[Row], key: Sequence[str]) -> None:
    """UserError when two rows have the same in the ``key`` columns; it names both lines."""
    seen: dict[tuple[Any, ...], int] = {}
    for line, cells in rows if key else ():
        name = tuple(cells[column] for column in key)
        if name in seen:
            raise at(path, line, key[-1], f"{', '.join(map(str, name))!r} is already on line {seen[name]}")
        seen[name] = line


def read_toml(path: Path) -> dict[str, Any]:
    """The contents of a TOML file; a syntax error is a UserError with its line."""
    try:
        return tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path} is not valid TOML: {error}") from None


def validate(path: Path, where: str, values: Mapping[str, Any], model: type[M]) -> M:
    """``values`` as a ``model``; an unknown key is an error that names the nearest known one."""
    require_known("key", values, model.model_fields, f"{path}, {where}")
    try:
        return model.model_validate(values)
    except ValidationError as error:
        place, problem = problems(error)[0]
        raise UserError(f"{path}, {where}, key {'.'.join(map(str, place))!r}: {problem}") from None


def verify(directory: Path, pattern: str = "*.csv") -> None:
    """Raise UserError when a reference CSV file is not the one whose checksum is on file.

    The paper does not change: neither do these files, except to mend a slip of transcription, and then on the record.
    """
    recorded = {name: digest for digest, name in map(str.split, read_text(directory / CHECKSUMS).splitlines())}
    present = _checksums(directory, pattern)
    differing = {
        "changed": {name for name in recorded.keys() & present.keys() if recorded[name] != present[name]},
        "missing": recorded.keys() - present.keys(),
        "without a checksum": present.keys() - recorded.keys(),
    }
    problems = [f"{what}: {', '.join(sorted(names))}" for what, names in differing.items() if names]
    if problems:
        raise UserError(
            f"reference data changed by hand in {directory} ({'; '.join(problems)}). Undo it with git, or, where the "
            "transcription was wrong: add a CHANGELOG entry under [results] that says what the paper prints, and run "
            "`python -m paper_repro.tables` to record the new checksums."
        )


def record(directory: Path, pattern: str = "*.csv") -> None:
    """Write the checksums of the reference CSV files."""
    write(
        directory / CHECKSUMS, "".join(f"{digest}  {name}\n" for name, digest in _checksums(directory, pattern).items())
    )


def _checksums(directory: Path, pattern: str) -> dict[str, str]:
    """SHA-256 of the CSV files as git stores them (LF, no byte order mark): a checkout on Windows has the same ones."""
    files = sorted(directory.glob(pattern))
    return {file.name: hashlib.sha256(read_text(file).encode()).hexdigest() for file in files}


def unique(path: Path, where: str, names: Iterable[str]) -> None:
    """Raise UserError when a name appears twice."""
    for name, count in Counter(names).items():
        if count > 1:
            raise UserError(f"{path}, {where}: {name!r} appears twice")
