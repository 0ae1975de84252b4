"""What others publish, row by row: the numbers, how they came about, and where each was read."""

from __future__ import annotations

from paper_repro.tables import Row, Table

HOW_READ = {
    "paper": "the authors' paper",
    "readme": "the authors' README",
    "another paper": "second-hand: another paper",
    "another repository": "second-hand: another repository",
    "issue": "second-hand: an issue",
    "leaderboard": "second-hand: a leaderboard",
}
NUMBERS = {"top1_pct": "Top-1 %", "sparsity_pct": "Sparsity %", "macs_m": "MACs M"}
CAPTION = (
    "Numbers as printed; FLOPs that are printed as a share are so many of the dense network's. Dense top-1: of the "
    "dense network that the authors print beside it. 100 epochs: from scratch, and at most as many epochs as STR's; "
    "longer: more epochs, or more gradients a step. Empty where the source does not say. None of these numbers was "
    "measured here."
)


def lines(table: Table) -> list[dict[str, str]]:
    """One per row that says how it was read: column -> cell."""
    return [
        {
            "Row": row.id,
            "Method": row.label,
            **{title: _printed(row, name) for name, title in NUMBERS.items()},
            "Dense top-1 %": _dense(table, row),
            "Schedule": row.schedule or "",
            "Epochs": "" if row.epochs is None else f"{row.epochs:g}",
            "Read in": HOW_READ[row.how_read],
            "Source": "; ".join(filter(None, (row.source, row.note))),
        }
        for row in table.rows
        if row.how_read is not None
    ]


def _printed(row: Row, name: str) -> str:
    return row.reported.printed[name].text if name in row.reported.printed else ""


def _dense(table: Table, row: Row) -> str:
    """The accuracy of the dense network printed in the same place: of a dense row, its own. Numbers that are quoted
    there from others have a dense network of their own.
    """
    if row.is_dense:
        return _printed(row, "top1_pct")
    read = (row.source, row.how_read)
    dense = (other for other in table.rows if other.is_dense and (other.source, other.how_read) == read)
    return next((_printed(other, "top1_pct") for other in dense), "")
