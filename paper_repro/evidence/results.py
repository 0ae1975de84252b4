"""The versioned results: reading, checking and writing the CSV files under ``results/``, and merging runs into them.

What a line of each file says stands in ``lines.py``, what a run leaves in ``record.py``.
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import ValidationError

from paper_repro import record, tables
from paper_repro.errors import UserError, problems, require_known
from paper_repro.evidence import lines as kinds
from paper_repro.evidence.lines import KINDS, MEASURES, Column, Line, RunLine, columns
from paper_repro.files import locked, write_csv
from paper_repro.reading import once, read_rows, require_unique, validated
from paper_repro.record import Layer, Point, Provenance, Record
from paper_repro.spec import Spec

DEVICE = re.compile(r"(?:(?P<processes>\d+) x )?(?:cpu \((?P<cpu>.*)\)|(?P<name>.*))")  # as ``_device`` writes it
OF_RUNS = ("runs", "budgets", "history", "epochs")  # what `collect` brings together; the rest is the audit's


def path(results_dir: Path, table: str, tier: str, kind: str = "runs") -> Path:
    """Where a file lies: ``kind`` is "runs", "budgets", "history" or "epochs", or one of the audit's, which have no
    tier: "audit", "balance", "balance_tests".
    """
    require_known("kind of results file", kind, KINDS)
    return results_dir / table / file_name(tier, kind)


def file_name(tier: str, kind: str) -> str:
    """What such a file is called in the folder of each table."""
    return KINDS[kind].FILE.replace("<tier>", tier)


# -- reading and writing -----------------------------------------------------------------------------------------------


def read(file: Path, kind: str = "runs") -> pd.DataFrame:
    """Read and check one results file; a byte-order mark and CRLF are accepted.

    Raises UserError naming file, line and column for all that does not fit ``KINDS[kind]``, such as a column that is
    missing or unknown, text in a number, a value out of range, or a key that stands there twice.
    """
    return _frame(read_lines(file, KINDS[kind]), KINDS[kind])


_read_once = once(read)


def read_lines(file: Path, model: type[Line]) -> list[Any]:
    """The lines of one results file."""
    if not file.exists():
        raise UserError(f"{file} does not exist; `make reproduce` writes it")
    return read_rows(file, model, *model.KEY, may_be_empty=True)


def lines_if_there(file: Path, model: type[Line]) -> list[Any]:
    """The same, or no lines when there is no such file."""
    return read_lines(file, model) if file.exists() else []


def read_if_there(file: Path, kind: str = "runs") -> pd.DataFrame:
    """``read``, or no lines when there is no such file. What has not changed is read once; leave its lines alone."""
    return _read_once(file, kind) if file.exists() else empty(kind)


@cache
def empty(kind: str = "runs") -> pd.DataFrame:
    """A frame of the right columns and types without lines: what a tier without results looks like. Made once; leave it
    alone.
    """
    return _frame([], KINDS[kind])


def _frame(lines: Sequence[Line], model: type[Line]) -> pd.DataFrame:
    dtypes = {name: column.dtype for name, column in columns(model).items()}
    return pd.DataFrame([line.model_dump() for line in lines], columns=list(dtypes)).astype(dtypes)


def validate(frame: pd.DataFrame, kind: str, file: Path) -> list[Line]:
    """The lines of a frame, which is what ``file`` is to hold; UserErrors as by ``read``."""
    cells = frame[list(columns(KINDS[kind]))].astype(object)
    lines: list[dict[str, Any]] = cells.where(cells.notna(), "").to_dict("records")  # type: ignore[assignment]
    return validated(file, list(enumerate(lines, 2)), KINDS[kind])


def write(frame: pd.DataFrame, file: Path, kind: str = "runs") -> Path:
    """Check, sort and write a frame in fixed formats (UTF-8, LF), under a temporary name until it is complete.

    Layers keep the order in which they come. What is written reads back equal to the last digit that is written.
    """
    return write_lines(validate(frame, kind, file), file, kind)


def write_lines(lines: Iterable[Line], file: Path, kind: str) -> Path:
    """The same for lines that have been checked."""
    model = KINDS[kind]
    if kind in OF_RUNS:  # the audit has an order of its own: that of the paper
        key = [name for name in model.KEY if name != "layer"]
        lines = sorted(lines, key=lambda line: [_natural_if_text(getattr(line, name)) for name in key])
    lines = list(lines)
    require_unique(file, enumerate((line.model_dump(include=set(model.KEY)) for line in lines), 2), model.KEY)
    shown = {
        name: column
        for name, column in columns(model).items()
        if not column.optional or any(getattr(line, name) not in ("", None) for line in lines)
    }
    return write_csv(file, shown, ([_text(getattr(line, name), shown[name]) for name in shown] for line in lines))


def natural(text: str) -> tuple[tuple[int, float, str], ...]:
    """Sort key under which "str-9" stands before "str-80" and numbers before words."""
    parts = re.findall(r"\d+(?:\.\d+)?|\D+", text)
    return tuple((0, float(part), "") if part[0].isdigit() else (1, 0.0, part) for part in parts)


def _natural_if_text(value: Any) -> Any:
    return natural(value) if isinstance(value, str) else value


def _text(value: Any, column: Column) -> str:
    if value is None or column.type is str:
        return value or ""
    text = format(value, column.format)
    return text[1:] if text.startswith("-") and float(text) == 0 else text


# -- collecting runs ---------------------------------------------------------------------------------------------------


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
    new = _new_lines(plan, tier, {Path(folder): record.read(Path(folder)) for folder in run_dirs})
    made_on = _one_for_each_row(new["runs"])
    main = path(results_dir, table, tier)
    with locked(main.parent / f".{tier}.lock"):
        files = {kind: path(results_dir, table, tier, kind) for kind in OF_RUNS}
        there = {kind: lines_if_there(file, KINDS[kind]) for kind, file in files.items()}
        before: list[Any] = there["runs"]
        current = specs(plan, tier, {line.seed for line in before}, {line.options for line in before})
        recipes = {(row.id, spec.name) for row, spec in current}
        replaced = {(line.row, line.seed) for line in new["runs"]} | {
            (line.row, line.seed)
            for line in before
            if (line.row, line.spec) not in recipes
            or made_on.get(line.row, (line.dataset, line.options)) != (line.dataset, line.options)
        }
        for kind in ("budgets", "history", "epochs", "runs"):  # the file that the others are read by comes last
            kept = [line for line in there[kind] if (line.row, line.seed) not in replaced]
            if kept or new[kind] or files[kind].exists() or kind != "epochs":  # runs of one epoch have no such file
                write_lines([*kept, *new[kind]], files[kind], kind)
    return main


def specs(
    plan: tables.Table, tier: str, seeds: Iterable[int], options: Collection[str] | None = None
) -> list[tuple[tables.Row, Spec]]:
    """Every run that a row may be filled from: on the data set of its recipe, and on that one's stand-in; with each of
    these choices of options in place of the recipe's (None: with the recipe's).
    """
    seeds = sorted(seeds)
    pairs: dict[tuple[str, str], tuple[tables.Row, Spec]] = {}
    for stand_ins in ({}, plan.tier(tier).stand_ins):
        for row, recipe in plan.specs(tier, seeds, stand_ins):
            for text in [recipe.options] if options is None else options:
                spec = recipe.with_no_other_options(text)
                pairs[row.id, spec.name] = (row, spec)
    return list(pairs.values())


def _new_lines(plan: tables.Table, tier: str, runs: Mapping[Path, Record]) -> dict[str, list[Any]]:
    """Kind of file -> the lines of these runs."""
    rows_of: dict[str, list[tables.Row]] = {}
    specs_ = [run.spec for run in runs.values()]
    for row, spec in specs(plan, tier, {spec.seed for spec in specs_}, {spec.options for spec in specs_}):
        rows_of.setdefault(spec.name, []).append(row)
    new: dict[str, list[Line]] = {kind: [] for kind in OF_RUNS}
    for folder, run in runs.items():
        if run.spec.name not in rows_of:
            raise UserError(
                f"{folder} belongs to no row of table {plan.name} at tier {tier}: "
                "its recipe has changed since, or was another one"
            )
        for row in rows_of[run.spec.name]:
            try:
                for kind, line in _lines(run, row, plan, tier):
                    new[kind].append(line)
            except ValidationError as error:
                place, problem = problems(error)[0]
                column = "".join(f", column {name}" for name in place)
                said = f"{folder / record.FILE}, for {error.title}{column}: {problem}"
                raise UserError(said, exit_code=3) from error
    return new


def _one_for_each_row(lines: Iterable[RunLine]) -> dict[str, tuple[str, str]]:
    """Row -> data set and options of all its runs; UserError when two differ."""
    made_on: dict[str, tuple[str, str]] = {}
    for line in lines:
        first = made_on.setdefault(line.row, (line.dataset, line.options))
        for what, one, other in (
            ("data sets", first[0], line.dataset),
            ("choices of options", first[1], line.options),
        ):
            if one != other:
                raise UserError(
                    f"the runs of row {line.row} are on two {what}, {one or 'none'} and {other or 'none'}; a row is of "
                    "one: collect the runs of one of them"
                )
    return made_on


# -- from the record of a run to lines ---------------------------------------------------------------------------------


def _lines(run: Record, row: tables.Row, plan: tables.Table, tier: str) -> Iterator[tuple[str, Line]]:
    """(kind, line) of one run for one row; what the run does not say (row, method, target) comes from the table."""
    key = {"row": row.id, "seed": run.spec.seed}
    epoch_of, different, layers = _network(run, row)
    images = run.result.images
    values = run.provenance.model_dump() | run.result.model_dump() | different | key
    values |= {
        "method": row.method,
        "tier": tier,
        "spec": run.spec.name,
        "options": run.spec.options,
        "target_sparsity_pct": plan.tier(tier).rows[row.id].target_sparsity_pct,
        "empty_layers": sum(layer.sparsity_pct == 100.0 for layer in layers) or None,
        "skipped_images": sum(part.skipped_images for part in images.values()) or None,
        "encoding": " ".join(f"{key}={value}" for key, value in images["train"].encoding.items()) if images else "",
        "device": _device(run.provenance),
        "processor": run.provenance.processor if run.provenance.device == "cpu" else "",  # a GPU rounds by itself
        "checkpoint_sha256": run.result.checkpoint_sha256 or "",
    }
    yield "runs", RunLine.model_validate({name: values[name] for name in RunLine.model_fields})
    for layer in layers:
        balance = {"balance": _finite(layer.balance)}  # infinite where s is 0, and decay has nothing left to pull
        yield "budgets", kinds.BudgetLine.model_validate(key | layer.model_dump() | balance)
    for point in run.history:
        yield "history", kinds.HistoryLine.model_validate(key | _history(point, plan.figure_layer))
    for epoch in run.epochs:
        ranks = {f"rank_{name}": epoch.ranks.get(name) for name in ("w", "u")}
        kept = "yes" if epoch_of is not None and epoch.epoch == math.ceil(epoch_of) else "no"
        own = epoch.model_dump(exclude={"ranks"})
        yield "epochs", kinds.EpochLine.model_validate(key | own | ranks | {"kept": kept})


def _network(run: Record, row: tables.Row) -> tuple[float | None, dict[str, Any], list[Layer]]:
    """The network of a run that stands in a row: the epoch that it is of (None for no network), what of the run's
    result is different for it, and its layers.

    The last network, but for a row with ranks of a run that was to keep networks by their ranks: there the last one
    that had those ranks, if any had.
    """
    if run.result.status == "diverged":
        return None, {}, run.layers
    if not row.ranks or "keep" not in run.spec.method_args:
        return len(run.epochs) or None, {}, run.layers
    if row.ranks not in run.kept:
        return None, {"status": "not_reached", **dict.fromkeys(MEASURES)}, []
    kept = run.kept[row.ranks]
    return kept.epoch, kept.result.model_dump(), kept.layers


def _history(point: Point, figure_layer: str | None) -> dict[str, Any]:
    """Of thresholds and their balance, the smallest, the median and the largest over layers; None for methods without.
    Layers that have lost all their weights have no balance.
    """
    ratios = [ratio for l1, ratio in point.balance.values() if l1 > 0 and math.isfinite(ratio)]
    return {
        **point.model_dump(exclude={"thresholds", "balance"}),
        **_spread("threshold", point.thresholds.values()),
        "threshold_figure_layer": point.thresholds.get(figure_layer or ""),
        "kept_l1": sum(l1 for l1, _ in point.balance.values()) if point.balance else None,
        **_spread("balance", ratios),
    }


def _spread(name: str, values: Iterable[float]) -> dict[str, float | None]:
    some = list(values)
    spread = (min(some), statistics.median(some), max(some)) if some else (None, None, None)
    return {f"{name}_{what}": value for what, value in zip(("min", "median", "max"), spread, strict=True)}


def _finite(ratio: float | None) -> float | None:
    return ratio if ratio is not None and math.isfinite(ratio) else None


def _device(made_by: Provenance) -> str:
    """A CPU is named by its model: "cpu" says nothing about how long a run takes. Where several processes trained the
    run together, so many devices did.
    """
    name = f"cpu ({made_by.cpu})" if made_by.device == "cpu" and made_by.cpu else made_by.device
    return name if made_by.processes == 1 else f"{made_by.processes} x {name}"


def machine(line: Mapping[str, Any]) -> str:
    """``Provenance.machine`` of the run that a line is of, so that a machine has one name, wherever its runs are kept.
    Lines of code that did not keep the processor have a shorter one.
    """
    found = DEVICE.fullmatch(line["device"])
    assert found is not None
    made_by = {"device": "cpu" if found["cpu"] else found["name"], "cpu": found["cpu"] or found["name"]}
    kept = {name: line[name] for name in ("processor", "threads", "torch")}
    return Provenance.model_validate({**kept, **made_by, "processes": found["processes"] or 1}).machine
