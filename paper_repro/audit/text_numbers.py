"""Numbers of the running text that follow from the tables. Which rows a number is of stands in ``_text_claims.csv``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from paper_repro import tables
from paper_repro.audit.comparison import Comparison, compared
from paper_repro.audit.printed_numbers import Cells, estimates
from paper_repro.audit.recompute import Estimate, network
from paper_repro.paper import library
from paper_repro.paper.printed import Row, TextClaim
from paper_repro.paper.quantity import parse


def text_numbers(table: tables.Table, cells: Cells) -> Iterator[Comparison]:
    """Every number of the text that stands in the table's file."""
    for claim in library.lines(table.name, TextClaim):
        estimate = RULES[claim.rule](table, claim, cells)
        place = (table.audited[-1], claim.claim, "number in text")
        yield compared(*place, parse(claim.printed), estimate, unit=claim.unit)


def _macs_saved(table: tables.Table, claim: TextClaim, cells: Cells) -> Estimate:
    """MACs that the row needs fewer than the one that it is set against, whose rule holds exactly; in millions."""
    net, ours = network(table.model, table.dataset), table.row(claim.row)
    against = Estimate(estimates(net, table.row(claim.against), cells)["macs_m"].value)
    if ours.distribution == "budget":
        return against - estimates(net, ours, cells)["macs_m"]
    own = ours.reported.printed["macs_m"]
    return replace(
        against - Estimate(own.value, own.half_unit), note="STR's part as printed: its budget is not published"
    )


def _macs_saved_share(table: tables.Table, claim: TextClaim, cells: Cells) -> Estimate:
    """The same, in percent of what the other row needs."""
    whole = estimates(network(table.model, table.dataset), table.row(claim.against), cells)["macs_m"].value
    saved = _macs_saved(table, claim, cells)
    return Estimate(100.0 * saved.value / whole, 100.0 * saved.spread / whole)


def _accuracy(table: tables.Table, claim: TextClaim, cells: Cells) -> Estimate:
    """An accuracy of a table, which the text prints again."""
    row = table.row(claim.row)
    return Estimate(_top1(row).value, note=f"row {row.id} of {row.paper_table}")


def _accuracy_gain(table: tables.Table, claim: TextClaim, cells: Cells) -> Estimate:
    ours, against = table.row(claim.row), table.row(claim.against)
    note = f"between {ours.id} and {against.id}, which differ in sparsity"
    return Estimate(_top1(ours).value - _top1(against).value, note=note)


def _largest_gain_at_equal_ranks(table: tables.Table, claim: TextClaim, cells: Cells) -> Estimate:
    """The largest lead over rows of the same ranks and data: of the method of ``row`` over that of ``against``."""
    ours, against = table.row(claim.row), table.row(claim.against)
    rows = {(row.method, row.ranks): _top1(row) for row in table.rows if row.dataset == ours.dataset}
    gains = {
        ranks: top1 - rows[against.method, ranks] for (method, ranks), top1 in rows.items() if method == ours.method
    }
    ranks = max(gains, key=lambda ranks: gains[ranks].value)
    return replace(gains[ranks], note=f"at ranks {ranks} of {ours.paper_table}")


def _compression(table: tables.Table, claim: TextClaim, cells: Cells) -> Estimate:
    """1 over the density of a network."""
    sparsity = table.row(claim.row).reported.printed["sparsity_pct"]
    density = 1.0 - sparsity.value / 100.0
    return Estimate(1.0 / density, sparsity.half_unit / 100.0 / density**2)


def _top1(row: Row) -> Estimate:
    printed = row.reported.printed["top1_pct"]
    return Estimate(printed.value, printed.half_unit)


RULES = {
    "macs saved": _macs_saved,
    "macs saved, share": _macs_saved_share,
    "accuracy": _accuracy,
    "accuracy gain": _accuracy_gain,
    "largest accuracy gain at equal ranks": _largest_gain_at_equal_ranks,
    "compression": _compression,
}
