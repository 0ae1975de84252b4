"""How many seeds the rows of a table have, on made-up runs."""

from __future__ import annotations

from pathlib import Path

from paper_repro.evidence import results
from paper_repro.report import coverage
from tests.made_up import MakeRuns


def test_rows_are_listed_by_their_number_of_seeds(make_runs: MakeRuns, tmp_path: Path) -> None:
    assert coverage.seeds_of_rows(tmp_path) == "Not run yet.\n"
    results.collect("resnet50", "smoke", make_runs(rows=["gmp-90"], seeds=(0, 1, 2)), tmp_path)
    results.collect("resnet50", "smoke", make_runs(rows=["gmp-95"], seeds=(0, 1)), tmp_path)
    results.collect("resnet50", "smoke", make_runs(rows=["dense"]), tmp_path)
    _, _, line, _, others = coverage.seeds_of_rows(tmp_path).splitlines()  # tables that only show these rows have none
    table, tier, none, one, two, more = line.strip("| ").split(" | ")
    assert (table, tier, one, two, more) == ("`resnet50`", "`smoke`", "1: `dense`", "1: `gmp-95`", "1")
    assert none.startswith("27: `gmp-80`, ") and none.endswith(" and 21 more")
    assert (
        "`family` at `small`" in others and "`resnet50` at `small`" in others and "`resnet50` at `smoke`" not in others
    )
    assert "checkpoint" not in others
