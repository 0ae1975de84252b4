"""The versioned results: their schema, and reading, checking, writing and merging the CSV files under ``results/``.

The schema below is the only definition of the columns; ``results/schema.md`` is generated from it
(``python -m paper_repro.evidence.results``) and a test holds the two together.
"""

from __future__ import annotations

import csv
import json
import math
import re
import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pandera.pandas as pa

from paper_repro import tables
from paper_repro.errors import UserError, unknown
from paper_repro.files import locked
from paper_repro.files import write as write_file
from paper_repro.spec import OPTIONS, Spec, options_text
from paper_repro.verdict import MEANING, Verdict

STATUSES = ("finished", "not_sparse", "diverged", "not_reached")
WITHOUT_NETWORK = ("diverged", "not_reached")  # statuses of a line that measures nothing
RESULT_JSON_SCHEMA = 1

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_SHA256 = r"[0-9a-f]{64}"
Kind = Literal["text", "integer", "number"]


def _column(
    kind: Kind,
    description: str,
    *,
    unit: str = "",
    fmt: str = "",
    empty: bool = False,
    optional: bool = False,
    checks: list[pa.Check] | None = None,
) -> pa.Column:
    """One column: ``fmt`` is how its numbers are written, ``empty`` says whether a cell may be empty (not
    applicable), ``optional`` that a file in which all its cells are empty goes without it.
    """
    dtype = {"text": "str", "integer": "int64", "number": "float64"}[kind]
    return pa.Column(
        dtype,
        checks=checks or [],
        nullable=empty or optional,
        description=description,
        metadata={"kind": kind, "unit": unit, "format": fmt, "optional": optional},
    )


def _pct(description: str, *, fmt: str, empty: bool = False) -> pa.Column:
    check = pa.Check.in_range(0.0, 100.0, error="must lie between 0 and 100 (percent)")
    return _column("number", description, unit="%", fmt=fmt, empty=empty, checks=[check])


def _amount(
    description: str, *, unit: str, fmt: str, empty: bool = False, optional: bool = False, kind: Kind = "number"
) -> pa.Column:
    check = pa.Check.ge(0, error="must not be negative")
    return _column(kind, description, unit=unit, fmt=fmt, empty=empty, optional=optional, checks=[check])


def _one_of(description: str, values: Iterable[str]) -> pa.Column:
    known = list(values)
    check = pa.Check.isin(known, error=f"must be one of {', '.join(known)}")
    return _column("text", description, checks=[check])


def _matching(description: str, pattern: str, wanted: str, *, optional: bool = False) -> pa.Column:
    check = pa.Check.str_matches(f"^(?:{pattern}{'|' if optional else ''})$", error=f"must be {wanted}")
    return _column("text", description, checks=[check], empty=optional, optional=optional)


_MEASURES = (
    "top1_pct",
    "val_loss",
    "sparsity_pct",
    "backbone_sparsity_pct",
    "params_m",
    "nonzero_params_m",
    "macs_m",
    "sparse_macs_m",
)


def _measured(frame: pd.DataFrame) -> pd.Series:
    """A line with a network has every measure; one without has no accuracy."""
    complete = frame[list(_MEASURES)].notna().all(axis=1)
    without = frame["status"].isin(WITHOUT_NETWORK)
    return (without & frame["top1_pct"].isna()) | (~without & complete)


def _whole(numbers: pd.Series) -> pd.Series:
    return numbers.mod(1).eq(0)


def _parts_within_wholes(frame: pd.DataFrame) -> pd.Series:
    params = frame["nonzero_params_m"].isna() | frame["nonzero_params_m"].le(frame["params_m"] * (1 + 1e-9))
    macs = frame["sparse_macs_m"].isna() | frame["sparse_macs_m"].le(frame["macs_m"] * (1 + 1e-9))
    return params & macs


def _sparsity_fits(frame: pd.DataFrame) -> pd.Series:
    """Sparsity in percent against the two counts: catches a fraction typed for a percentage, and thousands for
    millions.
    """
    recomputed = 100.0 * (1.0 - frame["nonzero_params_m"] / frame["params_m"])
    return (
        frame["sparsity_pct"].isna()
        | frame["nonzero_params_m"].isna()
        | (recomputed - frame["sparsity_pct"]).abs().lt(0.01)
    )


RUNS = pa.DataFrameSchema(
    {
        "row": _column("text", "row of the table, as in `paper_repro/paper/` and `experiments/`"),
        "method": _column("text", "method that was trained"),
        "tier": _one_of("how far the evidence goes", tables.TIERS),
        "seed": _amount("seed of the run; (row, seed) is the key of the file", unit="", fmt="d", kind="integer"),
        "spec": _column("text", "name of the run, made from its frozen spec: another recipe has another name"),
        "options": _column(
            "text",
            "what the recipe or the command chose, where it is not the default: `loader=ffcv`, `autocast=bf16`, "
            "`channels_last=true`, `compile=true`; empty for none. A run that was interrupted ends bit by bit as if it "
            "had not been, but with `loader=ffcv`, which does not promise it",
            optional=True,
        ),
        "status": _one_of(
            "`finished`; `not_sparse`: less than 1 % sparse although the row has a target; "
            "`diverged`: the loss stopped being finite; "
            "`not_reached`: the run never had the row's ranks",
            STATUSES,
        ),
        "target_sparsity_pct": _pct("sparsity that the recipe aims at; empty for dense rows", fmt=".2f", empty=True),
        "empty_layers": _amount("layers of which no weight is left; empty for none", unit="", fmt="d", optional=True),
        "top1_pct": _pct(
            "top-1 accuracy on the validation set, of the RNNs' data the test set; empty without a network",
            fmt=".2f",
            empty=True,
        ),
        "val_loss": _amount("loss on the validation set", unit="nat", fmt=".4f", empty=True),
        "train_loss": _amount(
            "mean training loss since the last record of the history", unit="nat", fmt=".4f", empty=True
        ),
        "sparsity_pct": _pct("zeros among all weights of the finalized network", fmt=".4f", empty=True),
        "backbone_sparsity_pct": _pct("the same without the classifier", fmt=".4f", empty=True),
        "params_m": _amount(
            "weights of the trained network, which may be a narrow one", unit="million", fmt=".6f", empty=True
        ),
        "nonzero_params_m": _amount("nonzero weights of the finalized network", unit="million", fmt=".6f", empty=True),
        "macs_m": _amount("multiply-adds of the dense network for one image", unit="million", fmt=".6f", empty=True),
        "sparse_macs_m": _amount(
            "multiply-adds of the finalized network: (1 - sparsity) per layer", unit="million", fmt=".6f", empty=True
        ),
        "forecast_onset_epoch": _amount(
            "epoch at which sparsity was predicted to begin, before training", unit="epoch", fmt=".4f", empty=True
        ),
        "onset_epoch": _amount("epoch at which sparsity was first observed", unit="epoch", fmt=".4f", empty=True),
        "epochs": _amount("passes over the training set", unit="epoch", fmt="g"),
        "dataset": _column("text", "data set trained and evaluated on"),
        "dataset_sha256": _matching("fingerprint of the data files", _SHA256, "64 hexadecimal digits"),
        "skipped_images": _amount(
            "images that cannot be read and were left out because the user said so; empty for none",
            unit="",
            fmt="d",
            optional=True,
        ),
        "encoding": _column(
            "text",
            "how the images were encoded anew for `loader=ffcv`: longest side in px, JPEG quality, share of JPEGs; "
            "empty for images as they are",
            optional=True,
        ),
        "commit": _matching(
            "git commit of the code", r"[0-9a-f]{40}|unknown", "a commit of 40 hexadecimal digits, or 'unknown'"
        ),
        "dirty": _one_of("whether the code differed from that commit", ("false", "true", "unknown")),
        "torch": _column("text", "version of PyTorch"),
        "device": _column("text", "device that trained"),
        "threads": _amount("CPU threads of the training process", unit="", fmt="d", kind="integer"),
        "seconds": _amount("time of training and evaluation, monotonic clock", unit="s", fmt=".1f"),
        "checkpoint_sha256": _matching(
            "the authors' file that the network is from (tier `checkpoint`; other tiers have no such column)",
            _SHA256,
            "64 hexadecimal digits",
            optional=True,
        ),
    },
    name="<tier>.csv",
    description="One line per row and seed: what a run measured and under which conditions.",
    unique=["row", "seed"],
    strict=True,
    ordered=True,
    checks=[
        pa.Check(
            _measured,
            error=f"a row that is not {' or '.join(WITHOUT_NETWORK)} needs {', '.join(_MEASURES)}; "
            "one that is has no top1_pct",
        ),
        pa.Check(
            _parts_within_wholes,
            error="nonzero_params_m and sparse_macs_m cannot exceed params_m and macs_m (mixed units?)",
        ),
        pa.Check(
            _sparsity_fits, error="sparsity_pct does not equal 100 * (1 - nonzero_params_m / params_m) (mixed units?)"
        ),
    ],
)

BUDGETS = pa.DataFrameSchema(
    {
        "row": _column("text", "row of the table"),
        "seed": _amount("seed of the run", unit="", fmt="d", kind="integer"),
        "layer": _column("text", "name of the layer's module; lines stand in the order of definition"),
        "params": _amount("weights of the layer", unit="", fmt="d", kind="integer"),
        "macs": _amount("multiply-adds of the dense layer for one image", unit="", fmt="d", kind="integer"),
        "sparsity_pct": _pct("zeros among the layer's weights after training", fmt=".4f"),
        "threshold": _amount(
            "g(s) after training; empty for methods without thresholds", unit="", fmt=".6g", empty=True
        ),
        "kept_l1": _amount(
            "L1 norm of the raw values that the threshold keeps; empty for methods that learn no thresholds, and for "
            "runs of code that did not record it",
            unit="",
            fmt=".6g",
            optional=True,
        ),
        "balance": _amount(
            "slope^2 g'(u) L1 / |u| of all that shares the layer's s (`paper_repro/methods/balance.py`): 1 where "
            "the threshold is balanced, above 1 where the loss pulls it down harder than decay lifts it, 0 where "
            "nothing is kept or the threshold still sleeps; empty as `kept_l1` is",
            unit="",
            fmt=".5g",
            optional=True,
        ),
    },
    name="<tier>_budgets.csv",
    description="One line per row, seed and layer: the budget that a run ended with.",
    unique=["row", "seed", "layer"],
    strict=True,
    ordered=True,
)

HISTORY = pa.DataFrameSchema(
    {
        "row": _column("text", "row of the table"),
        "seed": _amount("seed of the run", unit="", fmt="d", kind="integer"),
        "epoch": _amount("time of the record, in passes over the training set", unit="epoch", fmt=".4f"),
        "lr": _amount("learning rate of the step before the record", unit="", fmt=".6g", empty=True),
        "train_loss": _amount("training loss since the last record", unit="nat", fmt=".4f", empty=True),
        "sparsity_pct": _pct("overall sparsity of the weights in use", fmt=".4f"),
        "threshold_min": _amount("smallest g(s) over layers", unit="", fmt=".6g", empty=True),
        "threshold_median": _amount("median g(s) over layers", unit="", fmt=".6g", empty=True),
        "threshold_max": _amount("largest g(s) over layers", unit="", fmt=".6g", empty=True),
        "threshold_figure_layer": _amount("g(s) of the layer in the paper's Figure 1", unit="", fmt=".6g", empty=True),
        "kept_l1": _amount(
            "L1 norm of the raw values that all thresholds together keep; empty where no run recorded it",
            unit="",
            fmt=".6g",
            optional=True,
        ),
        "balance_min": _amount(
            "smallest `balance` (see the budgets) over layers that keep weights: a layer that has lost all of them has "
            "no pull, and is left out; empty where no run recorded it",
            unit="",
            fmt=".5g",
            optional=True,
        ),
        "balance_median": _amount("median of the same", unit="", fmt=".5g", optional=True),
        "balance_max": _amount("largest of the same", unit="", fmt=".5g", optional=True),
    },
    name="<tier>_history.csv",
    description="Several lines per run: sparsity and thresholds while it trained.",
    unique=["row", "seed", "epoch"],
    strict=True,
    ordered=True,
)

_RANK_CHECKS = [pa.Check.ge(0, error="must not be negative"), pa.Check(_whole, error="must be a whole number")]
EPOCHS = pa.DataFrameSchema(
    {
        "row": _column("text", "row of the table"),
        "seed": _amount("seed of the run", unit="", fmt="d", kind="integer"),
        "epoch": _amount("epochs of training done", unit="epoch", fmt="d", kind="integer"),
        "val_top1_pct": _pct("top-1 accuracy then, on the data of `top1_pct`", fmt=".2f"),
        "rank_w": _column(
            "number",
            "inner dimension of W then; empty where W is no product",
            fmt="d",
            empty=True,
            checks=_RANK_CHECKS,
        ),
        "rank_u": _column("number", "the same of U", fmt="d", empty=True, checks=_RANK_CHECKS),
        "kept": _one_of("whether the row's network was taken in this epoch, at its end or before", ("yes", "no")),
    },
    name="<tier>_epochs.csv",
    description="One line per row, seed and epoch, where a run takes more than one: accuracy and ranks meanwhile.",
    unique=["row", "seed", "epoch"],
    strict=True,
    ordered=True,
)

AUDIT = pa.DataFrameSchema(
    {
        "table": _column("text", "table of the paper"),
        "row": _column("text", "row of that table"),
        "quantity": _column("text", "which number of the row"),
        "unit": _column("text", "its unit", empty=True),
        "printed": _column("text", "as the paper prints it; empty where it leaves out what follows", empty=True),
        "recomputed": _column(
            "number",
            "from the published budget and the full-size architecture; empty if it cannot be recomputed",
            fmt=".4f",
            empty=True,
        ),
        "difference": _column("number", "recomputed minus printed", fmt=".4f", empty=True),
        "verdict": _one_of(
            "; ".join(f"{verdict}: {meaning}" for verdict, meaning in MEANING.items()),
            [str(v) for v in Verdict],
        ),
        "convention": _column(
            "text",
            "which of the paper's ways of counting gives the number, where it is not the usual one "
            "(`paper_repro/audit/conventions.py`)",
            empty=True,
        ),
        "note": _column("text", "why, where that is not obvious", empty=True),
    },
    name="audit.csv",
    description="One line per printed number that was recomputed without training.",
    unique=["table", "row", "quantity"],
    strict=True,
    ordered=True,
)

BALANCE = pa.DataFrameSchema(
    {
        "layer": _column("text", "name of the layer's module; lines stand in the order of definition"),
        "params": _amount("weights of the layer", unit="", fmt="d", kind="integer"),
        "fan_in": _amount("weights of one output", unit="", fmt="d", kind="integer"),
        "sparsity_pct": _pct("sparsity of the layer, as the paper prints it", fmt=".2f"),
        "kept_weights": _amount("weights that this sparsity leaves", unit="", fmt=".1f"),
        "threshold": _amount("threshold of the layer, read off the paper's Figure 3", unit="", fmt=".6f"),
        "implied_l1": _amount(
            "L1 norm of kept raw weights at which this threshold is balanced: |u| / g'(u), u = logit of the threshold",
            unit="",
            fmt=".6g",
        ),
        "implied_mean": _amount(
            "mean |w| of a kept weight that follows: implied_l1 / kept_weights", unit="", fmt=".6g"
        ),
    },
    name="balance.csv",
    description="One line per layer of the network in the paper's Figure 3: what the balance of thresholds, this "
    "project's finding and no claim of the paper, implies there. Nothing is fitted.",
    unique=["layer"],
    strict=True,
    ordered=True,
)

BALANCE_TESTS = pa.DataFrameSchema(
    {
        "test": _column("text", "what is tested: `paper` is the balance on the paper's data, the others are rivals"),
        "quantity": _column("text", "which number"),
        "value": _column("number", "the number; of something that is drawn at random, its median", fmt=".6g"),
        "low": _column("number", "where it is a range, its lower end", fmt=".6g", empty=True),
        "high": _column("number", "its upper end", fmt=".6g", empty=True),
        "meaning": _column("text", "what the number says"),
    },
    name="balance_tests.csv",
    description="How well the balance of thresholds agrees with `balance.csv`, and how well its rivals would.",
    unique=["test", "quantity"],
    strict=True,
    ordered=True,
)

SCHEMAS: Mapping[str, pa.DataFrameSchema] = {
    "runs": RUNS,
    "budgets": BUDGETS,
    "history": HISTORY,
    "audit": AUDIT,
    "epochs": EPOCHS,
    "balance": BALANCE,
    "balance_tests": BALANCE_TESTS,
}
OF_RUNS = ("runs", "budgets", "history", "epochs")  # what `collect` brings together; the rest is the audit's


def path(results_dir: Path, table: str, tier: str, kind: str = "runs") -> Path:
    """Where a file lies: ``kind`` is "runs", "budgets", "history" or "epochs", or one of the audit's, which have no
    tier: "audit", "balance", "balance_tests".
    """
    names = {
        "runs": f"{tier}.csv",
        "budgets": f"{tier}_budgets.csv",
        "history": f"{tier}_history.csv",
        "audit": "audit.csv",
        "epochs": f"{tier}_epochs.csv",
        "balance": "balance.csv",
        "balance_tests": "balance_tests.csv",
    }
    if kind not in names:
        raise unknown("kind of results file", kind, names)
    return results_dir / table / names[kind]


# -- reading ---------------------------------------------------------------------------------------------------------


def read(file: Path, kind: str = "runs") -> pd.DataFrame:
    """Read and check one results file; a byte-order mark and CRLF are accepted.

    Raises UserError naming file, line and column, and what to do, for: a missing file, another encoding than UTF-8, a
    missing, unknown or doubled column, a line of the wrong length, text in a number (such as "1,014.45" or "nan"),
    an empty cell where one is needed, a value out of range, and a key that stands there twice.
    """
    schema = SCHEMAS[kind]
    header, records, lines = _read_cells(file, schema)
    frame = pd.DataFrame(records, columns=header, dtype=object)[list(schema.columns)]
    typed = {name: _typed(file, frame[name], lines, column) for name, column in schema.columns.items()}
    return validate(pd.DataFrame(typed), kind, file, lines)


def empty(kind: str = "runs") -> pd.DataFrame:
    """A frame of the right columns and types without lines: what a tier without results looks like."""
    columns = SCHEMAS[kind].columns
    return pd.DataFrame({name: pd.Series([], dtype=_dtype(column)) for name, column in columns.items()})


def read_if_there(file: Path, kind: str = "runs") -> pd.DataFrame:
    """``read``, or no lines when there is no such file."""
    return read(file, kind) if file.exists() else empty(kind)


def validate(frame: pd.DataFrame, kind: str, file: Path, lines: list[int] | None = None) -> pd.DataFrame:
    """Check a typed frame against its schema; every finding is reported, at most ten of them in words."""
    where = lines or list(range(2, len(frame) + 2))
    schema = SCHEMAS[kind]
    frame = frame.reset_index(drop=True)
    key = list(schema.unique)
    twice = frame[frame.duplicated(key, keep="first")]
    if len(twice):
        index: int = twice.index.to_list()[0]
        values = ", ".join(f"{name}={frame.at[index, name]!s}" for name in key)
        same = frame[key].eq(frame.loc[index, key]).all(axis=1)
        first = where[same.to_list().index(True)]
        raise UserError(
            f"{file}, line {where[index]}: {values} stands there twice (first in line {first}); "
            "keep one of the two lines"
        )
    try:
        return schema.validate(frame, lazy=True)
    except pa.errors.SchemaErrors as error:
        raise UserError(_findings(file, where, error.failure_cases)) from error


def _read_cells(file: Path, schema: pa.DataFrameSchema) -> tuple[list[str], list[list[str]], list[int]]:
    """Column names, cells and line numbers; an optional column that the file has not has empty cells."""
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise UserError(f"{file} does not exist; `make reproduce` writes it") from error
    except (UnicodeDecodeError, OSError) as error:
        raise UserError(f"{file} cannot be read as UTF-8 text: {error}; save it as UTF-8") from error
    reader = csv.reader(text.splitlines(keepends=True), strict=True)
    records: list[list[str]] = []
    lines: list[int] = []
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_header(file, header, schema)
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(header):
                raise UserError(
                    f"{file}, line {reader.line_num}: {len(cells)} cells under {len(header)} columns; "
                    "quote cells that hold a comma, and write numbers without thousands separators"
                )
            records.append([cell.strip() for cell in cells])
            lines.append(reader.line_num)
    except csv.Error as error:
        raise UserError(f"{file}, line {reader.line_num}: {error}; is it a CSV file?") from error
    absent = [name for name in schema.columns if name not in header]
    return [*header, *absent], [[*cells, *("" for _ in absent)] for cells in records], lines


def _check_header(file: Path, header: list[str], schema: pa.DataFrameSchema) -> None:
    wanted = list(schema.columns)
    if not header:
        raise UserError(f"{file} is empty: even a file without results has the line of column names")
    doubled = sorted({name for name in header if header.count(name) > 1})
    if doubled:
        raise UserError(f"{file}, line 1: column {', '.join(doubled)} stands there twice; remove one")
    missing = [name for name, column in schema.columns.items() if name not in header and not _optional(column)]
    if missing:
        raise UserError(f"{file}, line 1: column {', '.join(missing)} is missing; results/schema.md lists the columns")
    extra = [name for name in header if name not in wanted]
    if extra:
        raise UserError(f"{file}, line 1: {unknown('column', extra[0], wanted)}")


def _optional(column: pa.Column) -> bool:
    return bool(column.metadata["optional"])


def _empty(cells: pd.Series) -> bool:
    return bool((cells.isna() | cells.eq("")).all())


def _dtype(column: pa.Column) -> Any:
    return {"text": "str", "integer": "int64", "number": "float64"}[column.metadata["kind"]]


def _typed(file: Path, cells: pd.Series, lines: list[int], column: pa.Column) -> pd.Series:
    kind = column.metadata["kind"]
    for cell, line in zip(cells, lines, strict=True):
        place = f"{file}, line {line}, column {column.name}"
        if cell == "":
            if not column.nullable:
                raise UserError(f"{place}: empty; this column needs a value")
        elif kind != "text" and not _NUMBER.fullmatch(cell):
            raise UserError(
                f"{place}: {cell!r} is not a plain number; write it like 1014.45, without separators or unit"
            )
        elif kind == "integer" and not float(cell).is_integer():
            raise UserError(f"{place}: {cell!r} must be a whole number")
    if kind == "text":
        return cells.astype("str")
    return pd.to_numeric(cells.where(cells.ne(""), None)).astype(_dtype(column))


def _findings(file: Path, lines: list[int], cases: pd.DataFrame) -> str:
    found: dict[tuple[int, str], str] = {}
    for case in cases.to_dict("records"):
        index, check = case["index"], str(case["check"])
        if pd.isna(index):
            found.setdefault((0, check), f"{file}, column {case['failure_case']}: {check}")
            continue
        line = lines[int(index)]
        if case["schema_context"] == "Column":
            found.setdefault(
                (line, f"{case['column']}{check}"),
                f"{file}, line {line}, column {case['column']}: {case['failure_case']!r} {check}",
            )
        else:
            found.setdefault((line, check), f"{file}, line {line}: {check}")
    messages = [found[key] for key in sorted(found)]
    more = [f"... and {len(messages) - 10} more"] if len(messages) > 10 else []
    return "\n".join(messages[:10] + more)


# -- writing ---------------------------------------------------------------------------------------------------------


def natural(text: str) -> tuple[tuple[int, float, str], ...]:
    """Sort key under which "str-9" stands before "str-80" and numbers before words."""
    parts = re.findall(r"\d+(?:\.\d+)?|\D+", text)
    return tuple((0, float(part), "") if part[0].isdigit() else (1, 0.0, part) for part in parts)


def write(frame: pd.DataFrame, file: Path, kind: str = "runs") -> Path:
    """Check, sort and write a frame in fixed formats (UTF-8, LF), under a temporary name until it is complete.

    Layers keep the order in which they come. What is written reads back equal to the last digit that is written.
    """
    schema = SCHEMAS[kind]
    frame = frame[list(schema.columns)].reset_index(drop=True)
    for name, column in schema.columns.items():
        if column.metadata["kind"] == "number":
            frame[name] = frame[name].astype("float64")
    frame = validate(frame, kind, file)
    columns = {n: column for n, column in schema.columns.items() if not (_optional(column) and _empty(frame[n]))}
    lines = list(zip(*(frame[name] for name in columns), strict=True))
    if kind in OF_RUNS:  # the audit has an order of its own: that of the paper
        key = [list(columns).index(name) for name in schema.unique if name != "layer"]
        lines.sort(key=lambda line: [natural(line[i]) if isinstance(line[i], str) else line[i] for i in key])
    cells = [[_text(value, column) for value, column in zip(line, columns.values(), strict=True)] for line in lines]
    return write_file(file, _csv([list(columns), *cells]))


def _text(value: Any, column: pa.Column) -> str:
    if pd.isna(value):
        return ""
    fmt = column.metadata["format"]
    if column.metadata["kind"] == "text":
        return str(value)
    number = int(value) if fmt == "d" else float(value)
    text = format(number, fmt)
    return text[1:] if text.startswith("-") and float(text) == 0 else text


def _csv(rows: list[list[str]]) -> str:
    class Buffer(list[str]):
        def write(self, text: str) -> int:
            self.append(text)
            return len(text)

    buffer = Buffer()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return "".join(buffer)


# -- collecting runs -------------------------------------------------------------------------------------------------


def collect(table: str, tier: str, run_dirs: Iterable[Path], results_dir: Path) -> Path:
    """Merge finished runs into ``results/<table>/<tier>*.csv``, keyed by (row, seed).

    Other lines are kept, but for those of a recipe that has changed since, and those of another data set or other
    options than a newly collected run of the row: one row never mixes two recipes, data sets or choices of options.
    Which rows a run belongs to follows from its spec's name, so that a run of another recipe cannot enter by mistake.
    Two processes may collect at once: the files are read and replaced under a lock.

    Raises UserError for a run without result, a damaged result, a run that no row of this table and tier asks for, and
    runs of one row on two data sets or with different options.
    """
    plan = tables.load(table)
    runs = [_load_run(Path(directory)) for directory in run_dirs]
    rows_of: dict[str, list[tables.Row]] = {}
    chosen = {run["options"] for run in runs}
    for row, spec in specs(plan, tier, sorted({run["spec"]["seed"] for run in runs}), chosen):
        rows_of.setdefault(spec.name, []).append(row)
    new: dict[str, list[pd.DataFrame]] = {kind: [] for kind in OF_RUNS}
    for run in runs:
        name = run["directory"].name
        if name not in rows_of:
            raise UserError(
                f"{run['directory']} belongs to no row of table {table} at tier {tier}: "
                "its recipe has changed since, or was another one"
            )
        for row in rows_of[name]:
            for kind, frame in _frames(run, row, plan, tier).items():
                new[kind].append(frame)
    made_on = {column: _one_each(new["runs"], column) for column in ("dataset", "options")}
    main = path(results_dir, table, tier)
    with locked(main.parent / f".{tier}.lock"):
        before = read_if_there(main)
        current = {spec.name for _, spec in specs(plan, tier, sorted(set(before["seed"])), set(before["options"]))}
        replaced = {
            (line["row"], line["seed"])
            for line in before.to_dict("records")
            if line["spec"] not in current
            or any(line[column] != values.get(line["row"], line[column]) for column, values in made_on.items())
        }
        replaced |= {(frame.at[0, "row"], frame.at[0, "seed"]) for frame in new["runs"]}
        for kind in ("budgets", "history", "epochs", "runs"):  # the file that the others are read by comes last
            file = path(results_dir, table, tier, kind)
            old = read_if_there(file, kind)
            kept = old[[key not in replaced for key in zip(old["row"], old["seed"], strict=True)]]
            parts = [part for part in [kept, *new[kind]] if len(part)]
            if parts or file.exists() or kind != "epochs":  # runs of one epoch have no such file
                write(pd.concat(parts, ignore_index=True) if parts else empty(kind), file, kind)
    return main


def specs(
    plan: tables.Table, tier: str, seeds: Iterable[int], options: Iterable[str] = ("",)
) -> list[tuple[tables.Row, Spec]]:
    """Every run that a row may be filled from: on the data set of its recipe, and on that one's stand-in; with each of
    these choices of options.
    """
    seeds, options = list(seeds), list(options)
    found: dict[tuple[str, str], tuple[tables.Row, Spec]] = {}
    for stand_ins in ({}, plan.tier(tier).stand_ins):
        for row, recipe in plan.specs(tier, seeds, stand_ins):
            for spec in (recipe.with_options(text) for text in options):
                found[row.id, spec.name] = (row, spec)
    return list(found.values())


def _one_each(runs: Iterable[pd.DataFrame], column: str) -> dict[str, str]:
    """Row -> what all its runs have in a column; UserError when two differ."""
    found: dict[str, str] = {}
    kind = {"dataset": "data sets", "options": "choices of options"}[column]
    for frame in runs:
        row, value = str(frame.at[0, "row"]), str(frame.at[0, column])
        if found.setdefault(row, value) != value:
            raise UserError(
                f"the runs of row {row} are on two {kind}, {found[row] or 'none'} and {value or 'none'}; a row is of "
                "one: collect the runs of one of them"
            )
    return found


def _load_run(directory: Path) -> dict[str, Any]:
    file = directory / "result.json"
    try:
        run = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{directory} has no result.json: the run has not finished") from error
    except (ValueError, OSError) as error:
        raise UserError(f"{file} is damaged ({error}); delete the folder and run again", exit_code=3) from error
    if not isinstance(run, dict) or run.get("schema") != RESULT_JSON_SCHEMA:
        raise UserError(
            f"{file} is not of schema {RESULT_JSON_SCHEMA}; it was written by another version: "
            "delete the folder and run again"
        )
    missing = [key for key in ("spec", "result", "layers", "history", "provenance") if key not in run]
    if missing or "seed" not in run["spec"]:
        raise UserError(
            f"{file} lacks {', '.join(missing or ['spec.seed'])}; delete the folder and run again", exit_code=3
        )
    options = {name: run["spec"][name] for name in OPTIONS if name in run["spec"]}
    return {**run, "directory": directory, "options": options_text(options)}


def _frames(run: dict[str, Any], row: tables.Row, plan: tables.Table, tier: str) -> dict[str, pd.DataFrame]:
    """The lines of one run for each file; what the run does not say (row, method, target) comes from the table."""
    seed, file = int(run["spec"]["seed"]), run["directory"] / "result.json"
    key = {"row": row.id, "seed": seed}
    network = _network(run, row)
    known = {
        **{name: run["spec"][name] for name in ("dataset", "epochs") if name in run["spec"]},
        **run["provenance"],
        **_device(run["provenance"]),
        **run["result"],
        **_reading(run["result"].get("images", {})),
        **network["result"],
        **key,
        "method": row.method,
        "tier": tier,
        "spec": run["directory"].name,
        "options": run["options"],
        "empty_layers": sum(layer["sparsity_pct"] == 100.0 for layer in network["layers"]) or None,
        "target_sparsity_pct": plan.tier(tier).rows[row.id].target_sparsity_pct,
    }
    records = {
        "runs": [known],
        "budgets": [{**layer, **_finite_balance(layer), **key} for layer in network["layers"]],
        "history": [
            {**record, **_thresholds(record, plan.figure_layer), **_balance(record), **key} for record in run["history"]
        ],
        "epochs": [{**_epoch(record, network["epoch"]), **key} for record in run.get("epochs", [])],
    }
    return {kind: _from_json(file, kind, lines) for kind, lines in records.items()}


def _reading(images: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Of how a run read its images, by part of the data set, what its line says."""
    encoding = images.get("train", {}).get("encoding", {})
    return {
        "skipped_images": sum(part["skipped_images"] for part in images.values()) or None,
        "encoding": " ".join(f"{key}={value}" for key, value in encoding.items()),
    }


def _network(run: dict[str, Any], row: tables.Row) -> dict[str, Any]:
    """The network of a run that stands in a row: the ``epoch`` that it is of (None for no network), its ``layers``, and
    what of the run's ``result`` is different for it.

    The last network, but for a row with ranks of a run that was to keep networks by their ranks: there the last one
    that had those ranks, if any had.
    """
    last = len(run.get("epochs", [])) or None
    if run["result"].get("status") == "diverged":
        return {"epoch": None, "result": {}, "layers": run["layers"]}
    if not row.ranks or "keep" not in run["spec"].get("method_args", {}):
        return {"epoch": last, "result": {}, "layers": run["layers"]}
    kept = run.get("kept", {}).get(row.ranks)
    return kept or {"epoch": None, "result": {"status": "not_reached", **dict.fromkeys(_MEASURES)}, "layers": []}


def _epoch(record: Mapping[str, Any], kept: float | None) -> dict[str, Any]:
    ranks = record.get("ranks", {})
    return {
        **{name: record.get(name) for name in ("epoch", "val_top1_pct")},
        **{f"rank_{name}": ranks.get(name) for name in ("w", "u")},
        "kept": "yes" if kept is not None and record.get("epoch") == math.ceil(kept) else "no",
    }


def _thresholds(record: Mapping[str, Any], figure_layer: str | None) -> dict[str, float | None]:
    """Smallest, median and largest g(s) over layers, and that of the layer in Figure 1; None for methods without
    thresholds.
    """
    by_layer = record.get("thresholds") or {}
    values = sorted(by_layer.values())
    return {
        "threshold_min": values[0] if values else None,
        "threshold_median": statistics.median(values) if values else None,
        "threshold_max": values[-1] if values else None,
        "threshold_figure_layer": by_layer.get(figure_layer),
    }


def _finite_balance(layer: Mapping[str, Any]) -> dict[str, float | None]:
    """A layer's ratio; None where s is 0, and decay has nothing left to pull."""
    ratio = layer.get("balance")
    return {"balance": ratio if ratio is not None and math.isfinite(ratio) else None}


def _balance(record: Mapping[str, Any]) -> dict[str, float | None]:
    """L1 norm of all that is kept, and the smallest, median and largest ratio over the layers that keep anything; None
    where the run recorded none.
    """
    balances = (record.get("balance") or {}).values()
    ratios = sorted(ratio for l1, ratio in balances if l1 > 0 and math.isfinite(ratio))
    return {
        "kept_l1": sum(l1 for l1, _ in balances) if balances else None,
        "balance_min": ratios[0] if ratios else None,
        "balance_median": statistics.median(ratios) if ratios else None,
        "balance_max": ratios[-1] if ratios else None,
    }


def _device(provenance: Mapping[str, Any]) -> dict[str, str]:
    """A CPU is named by its model: "cpu" says nothing about how long a run takes. Where several processes trained the
    run together, so many devices did.
    """
    device, cpu = str(provenance.get("device", "")), provenance.get("cpu")
    name = f"cpu ({cpu})" if device == "cpu" and cpu else device
    count = provenance.get("processes", 1)
    return {"device": name if count == 1 else f"{count} x {name}"} if device else {}


def _from_json(file: Path, kind: str, records: list[dict[str, Any]]) -> pd.DataFrame:
    columns = SCHEMAS[kind].columns
    data: dict[str, pd.Series] = {}
    for name, column in columns.items():
        values = [record.get(name) for record in records]
        if any(value is None for value in values) and not column.nullable:
            raise UserError(f"{file}: {name} is missing from {kind}; delete the folder and run again", exit_code=3)
        if column.metadata["kind"] == "text":
            texts = [str(value).lower() if isinstance(value, bool) else str(value or "") for value in values]
            data[name] = pd.Series(texts, dtype="str")
        else:
            try:
                data[name] = pd.Series([None if v is None else float(v) for v in values], dtype="float64").astype(
                    _dtype(column)
                )
            except (TypeError, ValueError) as error:
                raise UserError(f"{file}: {name} in {kind} is not a number: {error}", exit_code=3) from error
    return pd.DataFrame(data)


# -- documentation ---------------------------------------------------------------------------------------------------

BEGIN, END = "<!-- generated from paper_repro/evidence/results.py: begin -->", "<!-- generated: end -->"


def schema_markdown() -> str:
    """The column tables of ``results/schema.md``."""
    parts = []
    for schema in SCHEMAS.values():
        parts += [
            f"## `{schema.name}`",
            "",
            f"{schema.description} Key: {', '.join(f'`{name}`' for name in schema.unique)}.",
            "",
        ]
        parts += ["| column | type | unit | may be empty | meaning |", "| --- | --- | --- | --- | --- |"]
        for name, column in schema.columns.items():
            meta = column.metadata
            parts.append(
                f"| `{name}` | {meta['kind']} | {meta['unit']} "
                f"| {'yes, and absent if all are' if _optional(column) else 'yes' if column.nullable else ''} "
                f"| {column.description} |"
            )
        parts.append("")
    return "\n".join(parts).rstrip() + "\n"


def replace_between(text: str, begin: str, end: str, content: str, file: Path) -> str:
    """``text`` with what stands between the two marker lines replaced. Raises UserError when a marker is missing."""
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise UserError(f"{file} needs the lines {begin!r} and {end!r} once each, in this order")
    head, rest = text.split(begin)
    return f"{head}{begin}\n{content}{end}{rest.split(end)[1]}"


def update_schema_document(file: Path, check: bool = False) -> bool:
    """Bring ``results/schema.md`` up to date; returns whether it already was. With ``check``, nothing is written."""
    text = file.read_text(encoding="utf-8")
    new = replace_between(text, BEGIN, END, schema_markdown(), file)
    if new != text and not check:
        write_file(file, new)
    return new == text


if __name__ == "__main__":
    update_schema_document(Path(__file__).resolve().parents[2] / "results" / "schema.md")
