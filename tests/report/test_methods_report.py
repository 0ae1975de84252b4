"""Methods beside STR after equal tuning, on trials files that are made up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from paper_repro import tables
from paper_repro.evidence import results
from paper_repro.evidence.lines import SEED_OF_TRIALS, TrialLine
from paper_repro.report import methods_report
from tests.made_up import MakeRuns, fake_run

NOISE = (0.0, 0.1, -0.1)


def line(method: str, seed: int, top1_pct: float, trial: int = 1, **other: Any) -> TrialLine:
    of_trial = seed == SEED_OF_TRIALS
    known = {
        "method": method,
        "tier": "smoke",
        "regime_pct": 95.0,
        "trial": trial,
        "seed": seed,
        "settings": f"weight_decay=0.0{trial}",
        "chosen": "yes" if trial == 1 else "no",
        "status": "finished",
        "top1_pct": top1_pct,
        "sparsity_pct": 95.0,
        "sparse_macs_m": 1.0,
        "spec": f"{method}-{trial}-s{seed}",
        "dataset": "fashion_mnist_validation" if of_trial else "fashion_mnist",
        "machine": "one",
    }
    return TrialLine.model_validate(known | other)


def write(results_dir: Path, *lines: TrialLine) -> None:
    file = results.path(results_dir, "resnet50", "smoke", "trials")
    file.parent.mkdir(parents=True)
    results.write_lines(lines, file, "trials")


def tuned_lines(method: str, top1_pct: float, **other: Any) -> list[TrialLine]:
    """Two trials, of which the second was chosen, and three seeds with its settings."""
    tried = [line(method, SEED_OF_TRIALS, 99.0, trial, **other) for trial in (0, 1)]
    return tried + [line(method, seed, top1_pct + noise, **other) for seed, noise in enumerate(NOISE)]


def test_a_method_is_held_against_str_with_the_settings_that_were_chosen_for_both(tmp_path: Path) -> None:
    write(tmp_path, *tuned_lines("gmp", 82.0), *tuned_lines("str", 80.0))
    text = methods_report.tuned(tmp_path)
    assert "2 trials for each method and for STR" in text
    (row,) = [part for part in text.splitlines() if part.startswith("| `gmp`")]
    assert [cell.strip() for cell in row.strip("|").split("|")] == [
        "`gmp`", "95 %", "82.00", "80.00", "+2.00 [+2.00, +2.00]: better", "1.0", "+2.00 [+2.00, +2.00]: better",
    ]  # fmt: skip
    assert "`str`" not in text
    assert "- At equal sparsity, better than STR: `gmp` (95 %); worse than STR: none.\n" in text
    (left,) = [part for part in text.splitlines() if part.startswith("- Not tuned yet: ")]
    assert "`gmp`" not in left and "`gmp-global`, " in left and left.endswith("`continuous-sparsification`.")


def test_a_seed_without_a_pair_is_in_neither_accuracy(tmp_path: Path) -> None:
    """STR's networks of seed 2 are too dense for the method's."""
    of_str = [
        line if line.seed != 2 else line.model_copy(update={"sparsity_pct": 80.0}) for line in tuned_lines("str", 80.0)
    ]
    write(tmp_path, *tuned_lines("gmp", 82.0), *of_str)
    (row,) = [part for part in methods_report.tuned(tmp_path).splitlines() if part.startswith("| `gmp`")]
    assert row.split(" | ")[2:4] == ["82.05", "80.05"]
    assert row.split(" | ")[4].endswith("]: better, 2 of 3 seeds")


def test_what_is_better_with_as_many_weights_may_be_worse_at_the_same_cost(tmp_path: Path) -> None:
    """STR's networks of 80 % cost what the method's of 95 % do, and are more accurate."""
    denser = [line.model_copy(update={"regime_pct": 80.0}) for line in tuned_lines("str", 90.0, sparsity_pct=80.0)]
    sparser = tuned_lines("str", 80.0, sparse_macs_m=0.25)
    write(tmp_path, *tuned_lines("gmp", 82.0), *denser, *sparser)
    text = methods_report.tuned(tmp_path)
    (row,) = [part for part in text.splitlines() if part.startswith("| `gmp`")]
    assert [cell.strip() for cell in row.strip("|").split("|")][4:] == [
        "+2.00 [+2.00, +2.00]: better", "4.0", "-8.00 [-8.00, -8.00]: worse",
    ]  # fmt: skip
    assert "- At equal MACs, better than STR: none; worse than STR: `gmp` (95 %).\n" in text


def test_what_one_method_decides_many_together_may_not(tmp_path: Path) -> None:
    """Three seeds at +2.00 with a spread of 0.6 have p = 0.03, and among four methods four times that."""
    spread = [2.6, 2.0, 1.4]
    of_str, lines = tuned_lines("str", 80.0), []
    for method in ("gmp", "st3", "lats", "granet"):
        for seed, ahead in enumerate(spread):
            lines.append(line(method, seed, 80.0 + NOISE[seed] + ahead))
    write(tmp_path, *lines, *of_str)
    (at_sparsity,) = [one for one in methods_report.tuned(tmp_path).splitlines() if one.startswith("- At equal spars")]
    alone, at_once = at_sparsity.split(" Corrected for all 4 comparisons at once, ")
    assert "`gmp` (95 %), `st3` (95 %), `lats` (95 %), `granet` (95 %)" in alone
    assert at_once == "better than STR: none; worse than STR: none."


def test_runs_of_two_machines_are_no_pairs(tmp_path: Path) -> None:
    write(tmp_path, *tuned_lines("gmp", 82.0, machine="another"), *tuned_lines("str", 80.0))
    assert "better" not in methods_report.tuned(tmp_path)


def test_what_was_tuned_on_two_machines_has_a_line_for_each(tmp_path: Path) -> None:
    """Each beside STR's runs of there."""
    there = {"machine": "another", "settings": "weight_decay=0.3"}
    both = [*tuned_lines("gmp", 82.0), *tuned_lines("str", 80.0)]
    write(tmp_path, *both, *tuned_lines("gmp", 79.0, **there), *tuned_lines("str", 80.5, **there))
    parts = methods_report.tuned(tmp_path).splitlines()
    rows = [part.strip("| ").split(" | ") for part in parts if part.startswith("| `gmp`")]
    assert [[row[4], row[-1]] for row in rows] == [
        ["-1.50 [-1.50, -1.50]: worse", "1"], ["+2.00 [+2.00, +2.00]: better", "2"],
    ]  # fmt: skip
    assert "Machines: 1: another; 2: one." in methods_report.tuned(tmp_path)


def test_without_trials_nothing_is_said(tmp_path: Path) -> None:
    assert methods_report.tuned(tmp_path) == "No method of the family has been tuned yet.\n"
    write(tmp_path, *tuned_lines("str", 80.0))
    assert methods_report.tuned(tmp_path) == "No method of the family has been tuned yet.\n"


def test_successors_stand_beside_strs_rows_of_every_regime(make_runs: MakeRuns, tmp_path: Path) -> None:
    assert methods_report.successors(tmp_path) == "Not run yet.\n"
    runs = make_runs("successors", rows=["granet-90", "granet-95"], seeds=(0, 1))
    results.collect("successors", "smoke", runs, tmp_path)
    assert "| `granet` | – | – | – | – | – |" in methods_report.successors(tmp_path)  # nothing of STR yet
    results.collect("resnet50", "smoke", make_runs(rows=["str-90.23", "str-95.03"], seeds=(0, 1)), tmp_path)
    (row,) = [line for line in methods_report.successors(tmp_path).splitlines() if line.startswith("| `granet`")]
    points = [float(cell.split()[0]) for cell in row.split(" | ")[1:3]]
    assert points == pytest.approx([-3.025, -4.525], abs=0.006)  # 84.0 and 84.13 against 87.0 and 87.18, and so on


def test_what_seeds_decide(tmp_path: Path) -> None:
    """Two rows of STR, 2 points apart from seed to seed: a deviation of sqrt(2) points; 100 s a run."""
    assert methods_report.what_seeds_decide(tmp_path).startswith("Not known yet")
    runs = [
        fake_run(tmp_path / "runs", "resnet50", row, spec, top1_pct=80.0 + 2 * spec.seed, seconds=100.0)
        for row, spec in tables.load("resnet50").specs("smoke", (0, 1))
        if row.id in ("str-90.23", "str-98.05")
    ]
    results.collect("resnet50", "smoke", runs, tmp_path)
    lines = [line.strip("| ").split(" | ") for line in methods_report.what_seeds_decide(tmp_path).splitlines()[2:7]]
    assert [line[:3] for line in lines][:2] == [["2", "8", "13"], ["3", "12", "20"]]
    smallest = [[float(cell) for cell in line[3:]] for line in lines]
    assert all(several > single for several, single in smallest) and smallest == sorted(smallest, reverse=True)


def test_the_family_stands_beside_str_at_strs_regimes(make_runs: MakeRuns, tmp_path: Path) -> None:
    assert methods_report.family(tmp_path) == "Not run yet.\n"
    results.collect("resnet50", "smoke", make_runs(rows=["gmp-90", "str-90.23", "gmp-95"]), tmp_path)
    results.collect("family", "smoke", make_runs("family", rows=["set-90", "set-95"]), tmp_path)
    header, _, *lines = methods_report.family(tmp_path).splitlines()[2:]
    assert (
        header == "| Method | Points at equal sparsity, 90 % | MACs / STR's at equal sparsity |"
    )  # STR has no run at 95 %
    assert [line.split(" | ")[0] for line in lines] == ["| `gmp`", "| `set`"]


def test_at_tier_small_the_family_stands_at_equal_multiply_adds_too(make_runs: MakeRuns, tmp_path: Path) -> None:
    """Regimes are those at which something else than STR and GMP was trained."""
    shared = ["gmp-90", "str-90.23", "gmp-95", "str-95.03"]
    results.collect("resnet50", "small", make_runs(rows=shared, tier="small"), tmp_path)
    results.collect("family", "small", make_runs("family", rows=["gmp-erk-95"], tier="small"), tmp_path)
    heading, _, header, _, *lines = methods_report.family(tmp_path).splitlines()
    assert "tier `small`" in heading
    assert header == (
        "| Method | Points at equal sparsity, 95 % | Points at equal MACs, 95 % | MACs / STR's at equal sparsity |"
    )
    assert [line.split(" | ")[0] for line in lines] == ["| `gmp`", "| `gmp-erk`"]
