from __future__ import annotations

import dataclasses
from pathlib import Path
from types import MappingProxyType

import pandas as pd
import pytest

from paper_repro import tables
from paper_repro.errors import UserError
from paper_repro.evidence import claims, results, tolerances, verdicts
from paper_repro.evidence import evidence as ev
from paper_repro.evidence.evidence import Evidence
from paper_repro.evidence.layers import empty_layers
from paper_repro.evidence.lines import KINDS
from paper_repro.evidence.provenance import repository
from paper_repro.report import documents, summary
from paper_repro.report.console import comparison_grid
from paper_repro.report.report import Report
from paper_repro.verdict import Verdict
from tests.made_up import MakeRuns, write_audit


def load(make_runs: MakeRuns, tmp_path: Path, table: str = "resnet50", **given: object) -> Evidence:
    results.collect(table, "smoke", make_runs(table, **given), tmp_path / "results")
    return ev.load(table, "smoke", tmp_path / "results")


def by_row(evidence: Evidence) -> dict[str, verdicts.Comparison]:
    return {row.row: row for row in verdicts.comparisons(evidence)}


def full_scale(evidence: Evidence, tier: str = "paper") -> Evidence:
    """The same results as if they had been measured at full scale."""
    plan = dataclasses.replace(evidence.table.tiers["paper"], name=tier)
    tiers = MappingProxyType({**evidence.table.tiers, tier: plan})
    return dataclasses.replace(evidence, table=dataclasses.replace(evidence.table, tiers=tiers), tier=tier)


def test_smoke_accuracy_is_shown_and_never_compared(make_runs: MakeRuns, tmp_path: Path) -> None:
    top1 = by_row(load(make_runs, tmp_path, seeds=(0, 1, 2)))["str-90.23"].quantities["top1_pct"]
    assert (top1.reported, top1.verdict, top1.n) == ("74.31", Verdict.UNTESTED, 3)
    assert top1.reason == "Fashion-MNIST, width 16: another data set"
    assert top1.reproduced == pytest.approx(87.25, abs=0.2)


def test_trained_sparsity_is_held_to_the_recipes_target(make_runs: MakeRuns, tmp_path: Path) -> None:
    good = by_row(load(make_runs, tmp_path, seeds=(0, 1)))["str-98.05"].quantities[verdicts.TRAINED_SPARSITY]
    assert (good.verdict, good.n, good.reported) == (Verdict.PASS, 2, "98 ± 0.5 (target)")
    evidence = load(make_runs, tmp_path, rows=["str-98.05"], seeds=(0, 1))
    evidence.runs.loc[evidence.runs["row"] == "str-98.05", "sparsity_pct"] = [97.4, 97.5]
    bad = by_row(evidence)["str-98.05"]
    assert bad.quantities[verdicts.TRAINED_SPARSITY].verdict is Verdict.FAIL
    reason = "ended at 97.45 % instead of 98 %, 0.55 points denser (mean of 2 seeds, allowed 0.5)"
    assert bad.quantities[verdicts.TRAINED_SPARSITY].reason == reason
    assert bad.verdict is Verdict.FAIL


@pytest.mark.parametrize("status", ["not_sparse", "diverged"])
def test_a_run_that_went_wrong_fails(make_runs: MakeRuns, tmp_path: Path, status: str) -> None:
    row = by_row(load(make_runs, tmp_path, rows=["str-98.05"], status=status))["str-98.05"]
    assert row.quantities["top1_pct"].verdict is Verdict.FAIL
    assert row.quantities[verdicts.TRAINED_SPARSITY].verdict is Verdict.FAIL
    assert f"seed 0: {status}" in row.quantities["top1_pct"].reason


def test_missing_runs_and_recipes_are_told_apart(make_runs: MakeRuns, tmp_path: Path) -> None:
    rows = by_row(load(make_runs, tmp_path, rows=["dense"]))
    assert rows["gmp-80"].quantities["top1_pct"].reason == "not run yet"
    assert rows["str-81.27"].quantities["top1_pct"].reason == "tier smoke does not train this row"
    assert rows["gmp-80"].quantities["top1_pct"].verdict is Verdict.MISSING
    assert rows["str-81.27"].quantities["top1_pct"].verdict is Verdict.UNTESTED
    assert rows["gmp-80"].quantities["sparsity_pct"].reason == "no audit.csv: run the audit"


def test_full_size_numbers_come_from_the_audit(make_runs: MakeRuns, tmp_path: Path) -> None:
    write_audit(
        tmp_path / "results",
        [
            ("str-90.23", "sparsity_pct", "90.23", 90.2283, Verdict.PASS, "rounds"),
            ("str-90.23", "params_m", "2.49", 2.4920, Verdict.ERRATUM, "because"),
            ("str-90.23", "macs_m", "343M", 400.0, Verdict.FAIL, "does not round"),
            ("dsr-80", "top1_pct", "71.60", 73.3, Verdict.ERRATUM, "misquoted"),
        ],
    )
    rows = by_row(load(make_runs, tmp_path, rows=["str-90.23"]))
    ours = rows["str-90.23"]
    assert [ours.quantities[name].verdict for name in ("sparsity_pct", "params_m", "macs_m")] == [
        "PASS",
        "ERRATUM",
        "FAIL",
    ]
    assert ours.quantities["params_m"].tier == "audit"
    assert ours.verdict is Verdict.FAIL
    assert rows["dsr-80"].quantities["top1_pct"].verdict is Verdict.ERRATUM
    assert rows["rigl-80"].quantities["macs_m"].verdict is Verdict.UNTESTED


def test_what_cannot_be_tested_says_nothing_about_what_was(make_runs: MakeRuns, tmp_path: Path) -> None:
    lines = [("str-90.23", name, "1", 1.0, Verdict.PASS, "") for name in ("sparsity_pct", "params_m", "macs_m")]
    write_audit(tmp_path / "results", lines)
    rows = by_row(load(make_runs, tmp_path, rows=["str-90.23"]))
    assert rows["str-90.23"].quantities["top1_pct"].verdict is Verdict.UNTESTED
    assert rows["str-90.23"].verdict is Verdict.PASS
    assert rows["str-81.27"].verdict is Verdict.UNTESTED  # neither trained here nor audited


def test_a_number_that_another_convention_gives_passes_and_says_which(make_runs: MakeRuns, tmp_path: Path) -> None:
    file = write_audit(tmp_path / "results", [("gmp-80", "params_m", "5.12", 5.12, Verdict.PASS, "rounds")])
    results.write(results.read(file, "audit").assign(convention="share of dense"), file, "audit")
    evidence = load(make_runs, tmp_path, rows=["gmp-80"])
    cell = by_row(evidence)["gmp-80"].quantities["params_m"]
    assert (cell.verdict, cell.convention) == (Verdict.PASS, "share of dense")
    columns = list(comparison_grid(verdicts.comparisons(evidence)).columns)
    cells = [text for column in columns for text in column.cells]
    assert "5.120 c" in cells


def test_layers_that_ended_empty_are_named_with_the_row(make_runs: MakeRuns, tmp_path: Path) -> None:
    evidence = load(make_runs, tmp_path, rows=["str-98.05"], seeds=(0, 1))
    gone = evidence.budgets["layer"].isin(["layer3.3.conv1", "layer3.3.conv2", "conv1"]) & evidence.budgets["seed"].eq(
        1
    )
    evidence.budgets.loc[gone, "sparsity_pct"] = 100.0
    assert empty_layers(evidence, "str-98.05") == {1: ["conv1", "layer3.3.conv1", "layer3.3.conv2"]}
    told = summary.numbers(evidence, verdicts.comparisons(evidence))
    assert "layers that ended empty, by seed (names in the notebook): str-98.05 0/3" in told
    assert "| `str-98.05` | 1 | conv1, layer3.3.conv1/conv2 |" in str(Report(evidence).comparison().data)


def summary_of(evidence: Evidence) -> list[str]:
    """As it reads where results lie in their usual place."""
    here = dataclasses.replace(evidence, results_dir=Path("results"))
    notebook = Path("results") / evidence.table.name / f"{evidence.tier}.ipynb"
    return summary.summary(here, verdicts.comparisons(evidence), claims.check(evidence), notebook)


@pytest.mark.parametrize(
    ("table", "tier"), [(name, tier) for name in tables.names() for tier in tables.load(name).tiers]
)
def test_the_summary_is_at_most_25_lines_of_100_columns(table: str, tier: str, tmp_path: Path) -> None:
    lines = summary_of(ev.load(table, tier, tmp_path))
    assert len(lines) <= summary.MOST_LINES == 25
    assert max(map(len, lines)) <= summary.WIDTH == 100
    assert {line.split()[0] for line in lines if line} >= {claim.id for claim in tables.load(table).claims}


def test_so_is_that_of_runs_of_which_many_ended_with_empty_layers(make_runs: MakeRuns, tmp_path: Path) -> None:
    evidence = load(make_runs, tmp_path, seeds=(0, 1))
    evidence.budgets.loc[evidence.budgets["layer"].str.startswith("layer3"), "sparsity_pct"] = 100.0
    lines = summary_of(evidence)
    assert len(lines) <= summary.MOST_LINES
    assert max(map(len, lines)) <= summary.WIDTH
    assert any("dense 19/19" in line and "26 more" in "".join(lines) for line in lines)


def test_the_summary_says_what_is_untested_and_which_tiers_test_it(make_runs: MakeRuns, tmp_path: Path) -> None:
    evidence = load(make_runs, tmp_path, rows=["dense", "str-90.23"])
    told = summary.untested(evidence, verdicts.comparisons(evidence), claims.check(evidence))
    assert told.startswith("untested at this tier (tested at): accuracies 13 (checkpoint, paper); ")
    assert "up-to-10-points-ahead (audit, paper)" in told


def test_the_audit_tier_is_not_judged_by_accuracy(tmp_path: Path) -> None:
    lines = [("str-90.23", name, "1", 1.0, Verdict.PASS, "") for name in ("sparsity_pct", "params_m", "macs_m")]
    write_audit(tmp_path / "results", lines)
    row = by_row(ev.load("resnet50", "audit", tmp_path / "results"))["str-90.23"]
    assert row.quantities["top1_pct"].verdict is Verdict.UNTESTED
    assert row.verdict is Verdict.PASS


@pytest.mark.parametrize(("top1_pct", "verdict"), [(74.31, "PASS"), (74.81, "PASS"), (74.82, "FAIL"), (73.80, "FAIL")])
def test_full_scale_accuracy_is_compared_for_real(
    make_runs: MakeRuns, tmp_path: Path, top1_pct: float, verdict: str
) -> None:
    evidence = full_scale(load(make_runs, tmp_path, rows=["str-90.23"], top1_pct=top1_pct))
    cells = by_row(evidence)["str-90.23"].quantities
    assert cells["top1_pct"].verdict == verdict
    assert cells["sparsity_pct"].tier == "paper"
    assert cells["sparsity_pct"].verdict is Verdict.PASS  # 90.0 against 90.23, tolerance 0.5
    assert cells["params_m"].verdict is Verdict.FAIL  # the made-up network is no ResNet50
    assert verdicts.TRAINED_SPARSITY not in cells


def test_unknown_names_are_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Did you mean 'resnet50'"):
        ev.load("resnet5", "smoke", tmp_path)
    with pytest.raises(UserError, match="Did you mean 'smoke'"):
        ev.load("resnet50", "smokey", tmp_path)
    with pytest.raises(UserError, match="no recipe for tier 'small'"):
        ev.load("mobilenetv1", "small", tmp_path)


def test_status_table(make_runs: MakeRuns, tmp_path: Path) -> None:
    write_audit(tmp_path / "results", [("str-90.23", "params_m", "2.49", 2.492, Verdict.PASS, "")])
    load(make_runs, tmp_path)
    frame = verdicts.counts(tmp_path / "results")
    accuracy = frame[(frame["numbers"] == "accuracy") & (frame["paper"] == "Table 1")].iloc[0]
    printed = sum("top1_pct" in row.reported.printed for row in tables.load("resnet50").rows)
    assert accuracy["UNTESTED"] == printed
    assert accuracy["MISSING"] == 0
    smoke = next(line for line in documents.status(tmp_path / "results").splitlines() if "| accuracy |" in line)
    assert smoke.startswith("| accuracy | smoke |") and smoke.endswith(f" {frame['UNTESTED'].sum()} |")


def test_a_row_without_printed_numbers(make_runs: MakeRuns, tmp_path: Path) -> None:
    """Measured and shown, and judged by its sparsity alone; MISSING before it is run."""
    evidence = load(make_runs, tmp_path, "family", rows=["gmp-global-90", "set-90"])
    rows = by_row(evidence)
    top1 = rows["gmp-global-90"].quantities["top1_pct"]
    assert (top1.reported, top1.unprinted, top1.judged) == ("–", True, False)
    assert rows["gmp-global-90"].verdict is Verdict.PASS
    assert set(rows["gmp-global-90"].quantities) == {"top1_pct", verdicts.TRAINED_SPARSITY}
    assert rows["set-90"].quantities["top1_pct"].reported == "69.6"
    assert (rows["gmp-global-95"].verdict, rows["gmp-global-95"].quantities["top1_pct"].reason) == (
        Verdict.MISSING,
        "not run yet",
    )
    evidence = dataclasses.replace(evidence)  # evidence that has been asked remembers its answers
    evidence.runs.loc[evidence.runs["row"] == "gmp-global-90", ["status", "top1_pct"]] = ["diverged", None]
    assert by_row(evidence)["gmp-global-90"].quantities["top1_pct"].verdict is Verdict.FAIL
    grid = comparison_grid(verdicts.comparisons(evidence))
    assert len(grid.rows) == len(evidence.table.rows)


def test_a_row_that_another_table_holds_is_judged_by_that_tables_audit(make_runs: MakeRuns, tmp_path: Path) -> None:
    write_audit(tmp_path / "results", [("str-90.23", "macs_m", "343M", 342.6, Verdict.PASS, "rounds")])
    evidence = load(make_runs, tmp_path, "family", rows=["str-90.23"])
    macs = by_row(evidence)["str-90.23"].quantities["macs_m"]
    assert (macs.tier, macs.verdict, macs.reproduced) == ("audit", Verdict.PASS, 342.6)
    # and it counts in the other table, not twice
    frame = verdicts.counts(tmp_path / "results")
    accuracy = frame[(frame["paper"] == "this project: Family") & (frame["numbers"] == "accuracy")].iloc[0]
    own = [row for row in evidence.table.rows if row.same_as is None]
    assert sum(accuracy[str(verdict)] for verdict in Verdict) == len(own)


def test_status_table_without_results(tmp_path: Path) -> None:
    assert documents.status(tmp_path) == "No results yet.\n"


def test_the_committed_tolerances_load() -> None:
    assert tolerances.load().seeds == 3
    assert set(tolerances.load().full_scale) == {"checkpoint", "paper"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seeds = 3", "seed = 3", "Did you mean 'seeds'"),
        ("top1_pct = 0.5", "top1_pct = -0.5", "'full_scale.paper.top1_pct': -0.5 must be greater than or equal to 0"),
        ("top1_pct = 0.5", "top1_pct = nan", "'full_scale.paper.top1_pct': nan is not a finite number"),
        ("macs_rel = 0.10", "", "'full_scale.paper.macs_rel': is missing"),
        ("seeds = 3", "seeds = ", "not valid TOML"),
    ],
)
def test_bad_tolerances_are_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = (repository() / "ci" / "tolerances.toml").read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "t.toml").write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(UserError, match=message):
        tolerances.load(tmp_path / "t.toml")


def test_no_tolerances(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        tolerances.load(tmp_path / "none.toml")


def test_frames_of_nothing_have_the_right_types(tmp_path: Path) -> None:
    for kind, line in KINDS.items():
        frame = results.empty(kind)
        assert list(frame.columns) == list(line.model_fields)
        pd.testing.assert_frame_equal(results.read(results.write(frame, tmp_path / "x.csv", kind), kind), frame)
