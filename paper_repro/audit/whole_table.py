"""The audit: every printed number that follows from published budgets and the architecture, recomputed and compared.

A number passes when the recomputed value rounds to the printed digits ("rounds"), or would do so with budget cells
that round to the printed ones ("within the rounding of its inputs", see ``recompute``). Where that rounding is
coarser than the printed number itself, the comparison decides nothing: INCONCLUSIVE. In a number printed with "~"
trailing zeros count as no digits: "~600M" passes from 550 to 650. Everything else is FAIL, or ERRATUM where
``results/errata.csv`` states the same recomputed value with the evidence. An erratum that is not needed any more,
states another value, or names nothing that is audited, is a FAIL.

The paper counts in more than one way (``conventions``). A number that the usual way does not give, and another of the
paper's own does, is PASS with that convention named. The backbone is everything but the classifier.

Parameters, sizes and multiply-adds of recurrent networks follow from their ranks. The STR paper prints none: they stand
here without a printed number, UNTESTED, and count as no comparison. What the FastGRNN paper prints of such networks is
held against the same code.

Not audited, because nothing published decides them: accuracies (but for a number printed twice or misquoted), the
FLOPs of rows whose budget is not published (DSR's are held against the quoted source), the SNFS, VD and GS cells of
Table 7, and any sparsity that is only a target. What the audit can see of one budget cell is what the printed totals
show: the cells of the smallest layers it cannot judge, which the checksums of the files guard (``tables.verify``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

from paper_repro import tables
from paper_repro.audit import printed_numbers
from paper_repro.audit.comparison import Comparison
from paper_repro.audit.errata import read_errata, settled
from paper_repro.audit.recompute import network
from paper_repro.audit.text_numbers import text_numbers
from paper_repro.files import write_csv
from paper_repro.paper import library

COLUMNS = ("table", "row", "quantity", "unit", "printed", "recomputed", "difference", "verdict", "convention", "note")


def audit(name: str, errata_path: Path | None = None) -> list[Comparison]:
    """Every auditable number of the paper tables that table ``name`` stands for, in the order of ``audited``.

    ``errata_path``: the errata to hold mismatches against; None for none. UserError for an unknown table or a
    malformed file.
    """
    table = tables.load(name)
    errata = read_errata(errata_path) if errata_path is not None else {}
    numbers = sorted(_numbers(table), key=lambda number: table.audited.index(number.paper_table))
    lines = [settled(number, errata.pop(number.key, None)) for number in numbers]
    elsewhere = {there for other, facts in library.tables().items() if other != name for there in facts.audited}
    return [*lines, *(erratum.as_stale() for erratum in errata.values() if erratum.table not in elsewhere)]


def _numbers(table: tables.Table) -> Iterator[Comparison]:
    """Rows that only name a row of another table are audited there, and rows without numbers nowhere."""
    if not table.audited:
        return
    cells, net = library.budget_cells(table.budgets_of), network(table.model, table.dataset)
    for row in table.rows:
        if row.reported.printed and row.paper_table in table.audited:
            yield from printed_numbers.of_row(row, cells)
    yield from printed_numbers.quoted(table, net)
    if table.budgets_of == table.name and cells:
        yield from printed_numbers.layers(table, net)
        yield from printed_numbers.budgets(table, net, cells)
    yield from printed_numbers.sizes(table)
    yield from text_numbers(table, cells)


def save(lines: Iterable[Comparison], path: Path) -> Path:
    """Write the lines as ``audit.csv``: counts in full, other numbers with four decimals, NaN as an empty cell."""
    rows = []
    for line in lines:
        decimals = 0 if line.quantity in ("params", "macs") else 4
        numbers = ("" if math.isnan(x) else f"{x:.{decimals}f}" for x in (line.recomputed, line.difference))
        rows.append((*line.key, line.unit, line.printed, *numbers, line.verdict.value, line.convention, line.note))
    return write_csv(path, COLUMNS, rows)
