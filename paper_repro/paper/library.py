"""What the papers print, table by table: the one place where their numbers are read.

``tables.toml`` says of each table where it is printed and what it is of. A number is typed once: the column of Table 7
that repeats Table 6 is not there, nor the columns of Tables 10 and 11 that repeat Tables 1 and 2. What a file of table
``NAME`` holds:

==========================  ======================================================================================
``_rows.csv``               the rows and their numbers; the columns after ``macs`` say how a row's sparsity is spread
                            over the layers, and ``same_as`` names the row of another table that is printed again
``_hyperparameters.csv``    Table 10, 11 or 12
``_layers.csv``             weights and FLOPs of the dense layers, as Tables 6 and 8 print them
``_budgets.csv``            Table 6 or 8: sparsity of every layer, overall, and of the backbone (all but the classifier)
``_budgets_90.csv``         Table 7 without its STR column. ERK is given there in whole per cent and SNFS in tenths,
                            padded with zeros; here they stand with the digits that they carry
``_networks.csv``           how large the network of a table is on each data set, where it is not always the same
``_sizes.csv``              sizes that another paper prints of such networks
``_curves.csv``             Figures 1 to 3, read off the vector paths of the PDF
``_quoted.csv``             what another source prints of a row's numbers
``_text_claims.csv``        numbers in the running text that follow from the tables
==========================  ======================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from paper_repro import reading
from paper_repro.errors import UserError, unknown
from paper_repro.paper.printed import (
    CurvePoint,
    File,
    HyperparameterRow,
    LayerRow,
    NetworkRow,
    PrintedRow,
    PrintedTable,
    QuotedRow,
    SizeRow,
    TextClaim,
)
from paper_repro.paper.quantity import Quantity, parse

FOLDER = Path(__file__).parent
TOTALS = ("overall", "backbone")  # rows of a budget file that are no layers
AVERAGE_POOL = "average_pool"
Line = TypeVar("Line", bound=File)


def tables() -> Mapping[str, PrintedTable]:
    """The tables that papers print."""
    return _tables(FOLDER / "tables.toml")


@lru_cache
def _tables(path: Path) -> Mapping[str, PrintedTable]:
    return {
        name: reading.validate(path, f"[{name}]", keys, PrintedTable) for name, keys in reading.read_toml(path).items()
    }


def _lines(table: str, file: str, model: type[Line], *key: str) -> list[Line]:
    """The lines of one of a table's files; none where it has no such file."""
    path = FOLDER / f"{table}_{file}.csv"
    return reading.read_rows(path, model, *key) if path.exists() else []


def rows(table: str) -> list[PrintedRow]:
    """The rows of a table as printed."""
    return read_rows(FOLDER / f"{table}_rows.csv")


def read_rows(path: Path) -> list[PrintedRow]:
    """The rows of a file; empty cells of a row that another table prints (``same_as``) are filled from there."""
    return reading.read_rows(path, PrintedRow, "row", complete=lambda line, cells: _filled(path, line, cells))


def _filled(path: Path, line: int, cells: dict[str, str]) -> dict[str, str]:
    if not cells.get("same_as"):
        return cells
    table, _, id = cells["same_as"].partition(":")
    try:
        if table not in tables():
            raise unknown("table", table, tables())
        there = {printed["row"]: printed for _, printed in reading.read_cells(FOLDER / f"{table}_rows.csv", "row")[1]}
        if id not in there:
            raise unknown(f"row of table {table}", id, there)
    except UserError as error:
        raise reading.at(path, line, "same_as", str(error)) from None
    printed = there[id]
    if printed.get("same_as"):
        raise reading.at(path, line, "same_as", f"{cells['same_as']} is itself the same as {printed['same_as']}")
    place = printed.get("paper_table") or tables()[table].paper_table
    return {**printed, "paper_table": place, **{name: text for name, text in cells.items() if text}}


def numbers(row: PrintedRow, budgets_of: str) -> dict[str, Quantity]:
    """The printed numbers of a row by unit-bearing name; FLOPs that are printed as a share are one of the dense network
    of table ``budgets_of``.
    """
    printed = row.printed()
    if row.macs_ratio is not None:
        printed["macs_m"] = parse(row.macs_ratio).of(layer_rows(budgets_of)["overall"].macs / 1e6)
    return printed


def hyperparameters(table: str) -> dict[str, HyperparameterRow]:
    """Row -> weight decay and s_init as printed, for the rows of which they are."""
    printed = {line.row: line for line in _lines(table, "hyperparameters", HyperparameterRow, "row")}
    ids = [row.row for row in rows(table)] if printed else []
    for id in printed:
        if id not in ids:
            raise UserError(f"{FOLDER / f'{table}_hyperparameters.csv'}: {unknown('row', id, ids)}")
    return printed


def quoted_rows(table: str) -> list[QuotedRow]:
    """What other sources print about rows of this table."""
    return _lines(table, "quoted", QuotedRow, "row", "quantity")


def text_claims(table: str) -> list[TextClaim]:
    """Numbers of the running text that follow from this table."""
    return _lines(table, "text_claims", TextClaim, "claim")


def hidden_units(table: str) -> dict[str, int]:
    """Data set -> hidden units of the table's network there; empty for a table whose network is always the same."""
    return {line.dataset: line.hidden for line in _lines(table, "networks", NetworkRow, "dataset")}


def printed_sizes(table: str) -> list[SizeRow]:
    """Sizes that another paper prints of the table's network."""
    return _lines(table, "sizes", SizeRow, "network")


def layer_rows(table: str) -> dict[str, LayerRow]:
    """The dense counts of Table 6 or 8, by layer; with ``overall``, ``backbone`` and ``average_pool``. A table without
    layers has none.
    """
    return {line.layer: line for line in _lines(table, "layers", LayerRow, "layer")}


def budget_cells(table: str) -> dict[str, dict[str, Quantity]]:
    """Every published budget as printed: its name -> layer, ``overall`` or ``backbone`` -> sparsity in percent."""
    layers = [layer for layer in layer_rows(table) if layer != AVERAGE_POOL]
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


def _budgets_in(path: Path, layers: list[str]) -> dict[str, dict[str, Quantity]]:
    """The budgets of one file: a column each."""
    _, lines = reading.read_cells(path, "layer")
    for layer in set(layers) - {cells["layer"] for _, cells in lines}:
        raise UserError(f"{path}: layer {layer!r} is missing")
    budgets: dict[str, dict[str, Quantity]] = {}
    for line, cells in lines:
        layer = cells.pop("layer")
        if layer not in layers:
            raise reading.at(path, line, "layer", str(unknown("layer", layer, layers)))
        for name, text in cells.items():
            try:
                cell = parse(text)
            except ValueError as error:
                raise reading.at(path, line, name, str(error)) from None
            if not 0.0 <= cell.value <= 100.0:
                raise reading.at(path, line, name, f"a sparsity lies between 0 and 100 %, not at {text}")
            budgets.setdefault(name, {})[layer] = cell
    return budgets


def budgets(table: str) -> Mapping[str, dict[str, float]]:
    """The published budgets: name such as "str-90.23" or "erk-90" -> layer name, in order -> sparsity in percent."""
    order = [layer for layer in layer_rows(table) if layer not in (*TOTALS, AVERAGE_POOL)]
    return {name: {layer: cells[layer].value for layer in order} for name, cells in budget_cells(table).items()}


def curve(table: str, name: str) -> list[tuple[float, float]]:
    """A digitised curve of the 90.23 % ResNet50, as (x, y) points.

    "fig1_threshold": epoch, threshold of layer 10 (accurate to 2e-5); "fig2_sparsity": epoch, overall sparsity in
    percent (to 0.1); "fig3_threshold": number of the layer from 1, its final threshold (to 5e-5).
    """
    points = _lines(table, "curves", CurvePoint, "curve", "x")
    known = {point.curve for point in points}
    if name not in known:
        raise unknown(f"curve of table {table}", name, known)
    return [(point.x, point.y) for point in points if point.curve == name]


def verify() -> None:
    """Raise UserError when the papers' numbers were changed by hand (their checksums differ from those on file)."""
    reading.verify(FOLDER)
