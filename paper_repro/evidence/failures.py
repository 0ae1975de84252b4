"""Trained numbers that do not come out, and what is known about each: ``results/failures.csv``, written by hand."""

from __future__ import annotations

from pathlib import Path

from paper_repro.paper.printed import File, Name
from paper_repro.reading import read_rows

FILE = "failures.csv"


class Failure(File):
    """A line of the file."""

    table: Name
    tier: Name
    row: Name
    quantity: Name
    known: Name


def read_failures(results_dir: Path) -> list[Failure]:
    """Those on record in a folder of results: none where it has no such file."""
    file = results_dir / FILE
    key = ("table", "tier", "row", "quantity")
    return read_rows(file, Failure, *key, may_be_empty=True) if file.exists() else []
