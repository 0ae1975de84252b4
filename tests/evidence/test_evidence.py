"""A run stands in the results of one table, and is shown by all that have its row."""

from __future__ import annotations

from pathlib import Path

import pytest

from paper_repro import tables
from paper_repro.evidence import evidence
from tests.made_up import load


def test_a_row_that_another_table_has_is_held_there() -> None:
    family = tables.holders(tables.load("family"), "smoke")
    assert family["gmp-95"] == ("resnet50", "gmp-95") and family["st3-95"] == ("st3", "st3-95")
    assert family["set-95"] == ("family", "set-95")
    assert tables.holders(tables.load("transfer"), "smoke")["gmp-uniform-90"] == ("resnet50", "gmp-90")
    assert tables.holders(tables.load("target"), "smoke")["search-98"] == ("resnet50", "str-98.05")
    for name, (table, row) in family.items():
        assert table == "family" or tables.holders(tables.load(table), "smoke")[row] == (table, row), name


def test_a_row_with_a_recipe_of_its_own_is_not() -> None:
    st3 = tables.load("st3")
    assert tables.holders(st3, "smoke")["dense"] == ("resnet50", "dense")
    assert tables.holders(st3, "paper")["dense"] == ("st3", "dense")  # another protocol


@pytest.mark.parametrize("table, row, there", [("family", "gmp-95", "gmp-95"), ("target", "search-98", "str-98.05")])
def test_evidence_shows_the_runs_of_the_table_that_holds_them(table: str, row: str, there: str) -> None:
    here, holder = evidence.load(table, "smoke"), evidence.load("resnet50", "smoke")
    assert here.by_seed(row, "top1_pct") == holder.by_seed(there, "top1_pct") != {}
    layers = here.budgets[here.budgets["row"] == row]
    assert len(layers) == 54 * len(here.by_seed(row, "top1_pct"))
    assert set(here.history.loc[here.history["row"] == row, "seed"]) == set(here.by_seed(row, "top1_pct"))


def test_a_line_of_a_row_that_the_table_has_no_more_is_no_crash(tmp_path: Path) -> None:
    here = load(tmp_path, rows=["dense", "gmp-80"])
    here.runs.loc[here.runs["row"] == "gmp-80", "row"] = "renamed"
    assert here.setting.startswith("Fashion-MNIST")
