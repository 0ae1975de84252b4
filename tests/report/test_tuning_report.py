"""Methods beside STR after equal tuning, on trials files that are made up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from paper_repro.evidence import results
from paper_repro.evidence.lines import SEED_OF_TRIALS, TrialLine
from paper_repro.report import tuning_report

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
    text = tuning_report.tuned(tmp_path)
    assert "2 trials for each method and for STR" in text
    (row,) = [part for part in text.splitlines() if part.startswith("| `gmp`")]
    assert [cell.strip() for cell in row.strip("|").split("|")] == [
        "`gmp`", "95 %", "weight_decay=0.01 (trial 1)", "82.00", "80.00", "+2.00 [+2.00, +2.00]", "better",
    ]  # fmt: skip
    assert "`str`" not in text


def test_runs_of_two_machines_are_no_pairs(tmp_path: Path) -> None:
    write(tmp_path, *tuned_lines("gmp", 82.0, machine="another"), *tuned_lines("str", 80.0))
    assert "better" not in tuning_report.tuned(tmp_path)


def test_without_trials_nothing_is_said(tmp_path: Path) -> None:
    assert tuning_report.tuned(tmp_path) == "No method of the family has been tuned yet.\n"
    write(tmp_path, *tuned_lines("str", 80.0))
    assert tuning_report.tuned(tmp_path) == "No method of the family has been tuned yet.\n"
