"""What the papers print, table by table: the one place where their numbers are read.

``tables.toml`` says of each table where it is printed and what it is of. A number is typed once: the column of Table 7
that repeats Table 6 is not there, nor the columns of Tables 10 and 11 that repeat Tables 1 and 2. ``printed.py`` says
what a line of each file is; of a table's files,

==========================  ======================================================================================
``_rows.csv``               the rows and their numbers; the columns after ``macs`` say how a row's sparsity is spread
                            over the layers, and ``same_as`` names the row of another table that is printed again
``_layers.csv``             weights and FLOPs of the dense layers, as Tables 6 and 8 print them
``_budgets.csv``            Table 6 or 8: sparsity of every layer, overall, and of the backbone (all but the classifier)
``_budgets_90.csv``         Table 7 without its STR column. ERK is given there in whole per cent and SNFS in tenths,
                            padded with zeros; here they stand with the digits that they carry
==========================  ======================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import create_model

from paper_repro import reading
from paper_repro.errors import UserError, require_known
from paper_repro.paper.printed import (
    CurvePoint,
    HyperparameterRow,
    LayerRow,
    PrintedPercent,
    PrintedTable,
    Row,
    TableFacts,
    TableFile,
)
from paper_repro.paper.quantity import Quantity

FOLDER = Path(__file__).parent
TOTALS = ("overall", "backbone")  # rows of a budget file that are no layers
AVERAGE_POOL = "average_pool"
Line = TypeVar("Line", bound=TableFile)
Cells = dict[str, Any]  # column -> cell


def tables() -> Mapping[str, PrintedTable]:
    """The tables that papers print."""
    return _tables(FOLDER / "tables.toml")


@reading.once
def _tables(path: Path) -> Mapping[str, PrintedTable]:
    return {
        name: reading.validate(path, f"[{name}]", keys, PrintedTable) for name, keys in reading.read_toml(path).items()
    }


def lines(table: str, model: type[Line]) -> list[Line]:
    """The lines of one of a table's files; none where it has no such file."""
    path = FOLDER / f"{table}_{model.FILE}.csv"
    return list(_lines(path, model)) if path.exists() else []


@reading.once
def _lines(path: Path, model: type[Line]) -> list[Line]:
    return reading.read_rows(path, model, *model.KEY)


def rows(table: str) -> list[Row]:
    """The rows of a table that a paper prints."""
    return read_rows(FOLDER / f"{table}_rows.csv", tables()[table], tables()[table].paper_table)


def read_rows(path: Path, facts: TableFacts, paper_table: str) -> list[Row]:
    """The rows of a file. What is empty there comes from the row of another table that prints the same model
    (``same_as``), from the table, and from the hyperparameters that are printed of the row.
    """
    printed = _hyperparameters(path.stem.removesuffix("_rows"))
    of_table: Cells = {"model": facts.model, "dataset": facts.dataset, "paper_table": paper_table}
    if dense := layer_rows(facts.budgets_of).get("overall"):
        of_table["dense_macs_m"] = str(dense.macs / 1e6)

    def complete(line: int, cells: Cells) -> Cells:
        there = _same(path, line, cells["same_as"]) if cells.get("same_as") else {}
        whole = _filled(cells, {**there, **printed.get(cells["row"], {})})
        return _filled(whole, {**of_table, "series": whole["method"]})

    rows = reading.read_rows(path, Row, "row", complete=complete)
    require_known("row", printed, [row.id for row in rows], FOLDER / f"{path.stem[:-5]}_hyperparameters.csv")
    return rows


def _filled(cells: Cells, other: Cells) -> Cells:
    """The cells; empty ones are taken from the others."""
    return {**cells, **{name: value for name, value in other.items() if not cells.get(name)}}


def _same(path: Path, line: int, same_as: str) -> Cells:
    """The cells of the row "table:row", and its printed hyperparameters."""
    table, _, id = same_as.partition(":")
    try:
        require_known("table", table, tables())
        there = {cells["row"]: cells for _, cells in reading.read_cells(FOLDER / f"{table}_rows.csv", "row")[1]}
        require_known(f"row of table {table}", id, there)
    except UserError as error:
        raise reading.at(path, line, "same_as", str(error)) from None
    if there[id].get("same_as"):
        raise reading.at(path, line, "same_as", f"{same_as} is itself the same as {there[id]['same_as']}")
    hyperparameters = _hyperparameters(table).get(id, {})
    return _filled(there[id], {"paper_table": tables()[table].paper_table, **hyperparameters})


def _hyperparameters(table: str) -> dict[str, Cells]:
    """Row -> its printed weight decay and s_init, for the rows that have them."""
    printed = lines(table, HyperparameterRow)
    return {line.row: {"weight_decay": line.weight_decay, "s_init": line.s_init} for line in printed}


def layer_rows(table: str) -> dict[str, LayerRow]:
    """The dense counts of Table 6 or 8, by layer; with ``overall``, ``backbone`` and ``average_pool``. A table without
    layers has none.
    """
    return {line.layer: line for line in lines(table, LayerRow)}


def budget_cells(table: str) -> dict[str, Mapping[str, Quantity]]:
    """Every published budget as printed: its name -> layer, ``overall`` or ``backbone`` -> sparsity in percent."""
    layers = tuple(layer for layer in layer_rows(table) if layer != AVERAGE_POOL)
    files = tables()[table].budget_tables if table in tables() else {}
    return {
        name: budget for file in files for name, budget in _budgets_in(FOLDER / f"{table}_{file}.csv", layers).items()
    }


def budget_tables(table: str) -> dict[str, str]:
    """Name of a published budget -> the table of the paper that prints it."""
    return {
        name: paper_table
        for file, paper_table in tables()[table].budget_tables.items()
        for name in reading.read_cells(FOLDER / f"{table}_{file}.csv", "layer")[0][1:]
    }


@reading.once
def _budgets_in(path: Path, layers: tuple[str, ...]) -> Mapping[str, Mapping[str, Quantity]]:
    """The budgets of one file: a column each."""
    (_, *names), cells = reading.read_cells(path, "layer")
    for layer in set(layers) - {row["layer"] for _, row in cells}:
        raise UserError(f"{path}: layer {layer!r} is missing")
    for line, row in cells:
        require_known("layer", row["layer"], layers, f"{path}, line {line}, column 'layer'")
    model: Any = create_model("Budgets", layer=str, **dict.fromkeys(names, PrintedPercent))  # type: ignore[call-overload]
    rows = reading.validated(path, cells, model)
    return {name: {row.layer: getattr(row, name) for row in rows} for name in names}


def budgets(table: str) -> Mapping[str, dict[str, float]]:
    """The published budgets: name such as "str-90.23" or "erk-90" -> layer name, in order -> sparsity in percent."""
    order = [layer for layer in layer_rows(table) if layer not in (*TOTALS, AVERAGE_POOL)]
    return {name: {layer: cells[layer].value for layer in order} for name, cells in budget_cells(table).items()}


def curve(table: str, name: str) -> list[tuple[float, float]]:
    """A digitised curve of the 90.23 % ResNet50, as (x, y) points.

    "fig1_threshold": epoch, threshold of layer 10 (accurate to 2e-5); "fig2_sparsity": epoch, overall sparsity in
    percent (to 0.1); "fig3_threshold": number of the layer from 1, its final threshold (to 5e-5).
    """
    points = lines(table, CurvePoint)
    known = {point.curve for point in points}
    require_known(f"curve of table {table}", name, known)
    return [(point.x, point.y) for point in points if point.curve == name]
