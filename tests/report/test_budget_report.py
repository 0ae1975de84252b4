"""What docs/ says of STR's budgets, on made-up runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from paper_repro import tables
from paper_repro.evidence import evidence, results
from paper_repro.evidence.layers import published_over_uniform, trained
from paper_repro.report import budget_report
from tests.made_up import MakeRuns, fake_run


def test_budgets_are_compared_where_all_of_them_were_trained(make_runs: MakeRuns, tmp_path: Path) -> None:
    ids = ["gmp-90", "gmp-erk-90", "gmp-global-90", "gmp-balance-90"]
    results.collect("family", "smoke", make_runs("family", rows=[*ids[1:], "gmp-erk-95"]), tmp_path)
    assert budget_report.balance_as_budget(tmp_path) == "Not run yet.\n"
    results.collect("resnet50", "smoke", make_runs(rows=["gmp-90", "str-90.23", "gmp-95"]), tmp_path)
    lines = budget_report.balance_as_budget(tmp_path).splitlines()[4:]
    assert [line.split(" | ")[:2] for line in lines] == [
        ["| 90 %", budget] for budget in budget_report.BUDGETS.values()
    ]
    assert lines[0].split(" | ")[4] == "1.00"  # a uniform budget against itself
    small = [f"{method}-95" for method in budget_report.BUDGETS if method != "str"]
    for table, rows in (("family", small), ("resnet50", [small[0], "str-95.03"])):
        pairs = tables.load(table).specs("small", (0,))
        runs = [fake_run(tmp_path / f"{table}_small", table, row, spec) for row, spec in pairs if row.id in rows]
        results.collect(table, "small", runs, tmp_path)
    parts = budget_report.balance_as_budget(tmp_path).split("Table `family`, tier ")
    assert [part.partition(" ")[0] for part in parts] == ["", "`smoke`", "`small`"]
    assert [line.split(" | ")[0] for line in parts[2].splitlines()[4:]] == ["| 95 %"] * len(budget_report.BUDGETS)


def test_granularities_stand_beside_str_where_it_has_runs(make_runs: MakeRuns, tmp_path: Path) -> None:
    """One threshold for the network at 95 %, two points ahead of STR; of 98 % there is STR alone, and no line."""
    assert budget_report.granularities(tmp_path) == "Not run yet.\n"
    rows = ["str-90.23", "str-95.03", "str-98.05"]
    results.collect("resnet50", "smoke", make_runs(rows=rows, top1_pct=80.0), tmp_path)
    assert budget_report.granularities(tmp_path) == "Not run yet.\n"
    runs = make_runs("extensions", rows=["str-gs-93.84", "str-bn-95"], top1_pct=82.0)
    results.collect("extensions", "smoke", runs, tmp_path)
    lines = [line.strip("| ").split(" | ") for line in budget_report.granularities(tmp_path).splitlines()[4:]]
    assert [line[:3] for line in lines] == [
        ["95 %", "the network", "`str-gs-93.84`"],
        ["95 %", "a layer", "`str-95.03`"],
        ["95 %", "a layer's batch-norm scales, which go with their filters", "`str-bn-95`"],
    ]
    assert [line[-1] for line in lines] == ["+2.00", "–", "+2.00"]


def test_a_choice_stands_beside_the_recipe_of_its_method(make_runs: MakeRuns, tmp_path: Path) -> None:
    """Paired by seed: a point above STR's 81 % of seed 1. What is learnt is said of STR alone."""
    assert budget_report.choices(tmp_path) == "Not run yet.\n"
    runs = make_runs(rows=["str-95.03", "gmp-98"], seeds=(0, 1), top1_pct=81.0)
    results.collect("resnet50", "smoke", runs, tmp_path)
    rows = ["str-slope-8", "gmp-98-decay-0.008"]
    made = make_runs("resnet50_choices", rows=rows, seeds=(1,), top1_pct=82.0, recorded=True)
    results.collect("resnet50_choices", "smoke", made, tmp_path)
    lines = [line.strip("| ").split(" | ") for line in budget_report.choices(tmp_path).splitlines()[4:]]
    assert [(line[0], line[2], line[3]) for line in lines] == [
        ("`str-95.03`", "81.00 [81.00, 81.00] (n = 2)", "–"),
        ("`str-slope-8`", "82.00 (n = 1)", "+1.00"),
        ("`gmp-98`", "81.00 [81.00, 81.00] (n = 2)", "–"),
        ("`gmp-98-decay-0.008`", "82.00 (n = 1)", "+1.00"),
    ]
    assert lines[0][4] == lines[1][4] == "95.00" and lines[1][6] == "0" and lines[3][4:] == ["–"] * 6
    assert lines[0][7] == lines[1][7] and -1.0 <= float(lines[0][7]) <= 1.0
    assert [lines[0][9], lines[1][9]] == ["–", "1.27"]  # made up as 1 to 1.53
    assert [lines[0][8], lines[1][8]] == ["0 of 2", "0 of 1"]  # made-up sparsities rise steadily
    results_file = results.path(tmp_path, "resnet50_choices", "smoke")
    runs = results.read(results_file, "runs")
    denser = runs.assign(sparsity_pct=20.0, nonzero_params_m=0.8 * runs["params_m"])
    results.write(denser, results_file, "runs")
    far = budget_report.choices(tmp_path).splitlines()[5].split(" | ")
    assert far[4] == "20.00" and far[7] == "–"  # no budget of the paper is near


def test_tier_small_holds_str_against_gmp_and_the_paper(tmp_path: Path) -> None:
    """GMP at 60 %; STR at 64, then 66: 5 points ahead, [-7.7, 17.7] of two seeds."""
    runs = [
        fake_run(
            tmp_path / "runs", "resnet50", row, spec, top1_pct=60.0 if row.method == "gmp" else 64.0 + 2 * spec.seed
        )
        for row, spec in tables.load("resnet50").specs("small", (0, 1))
        if row.id in ("gmp-98", "str-98.05")
    ]
    assert budget_report.tier_small(tmp_path) == "Not run yet.\n"
    results.collect("resnet50", "small", runs, tmp_path)
    file = results.path(tmp_path, "resnet50", "small", "budgets")
    budgets = results.read(file, "budgets")
    budgets.loc[budgets["layer"] == "conv1", "sparsity_pct"] = 0.0
    results.write(budgets, file, "budgets")
    lines, of_claims = (part.splitlines() for part in budget_report.tier_small(tmp_path).split("\n\n")[1:])
    gmp, ours = (line.split(" | ") for line in lines[2:])
    assert gmp[0] == "| `gmp-98`" and gmp[7] == "–"
    assert gmp[3:5] == ["+5.00 [-7.71, +17.71]", "+3.83"]
    assert ours[:2] == ["| `str-98.05`", "65.00 [52.29, 77.71] (n = 2)"] and ours[3] == "–"
    assert -1.0 <= float(ours[7].split()[0]) <= 1.0 and ours[8].count("/") == 1
    verdicts = {line.split("`")[1]: line.split(" | ")[1] for line in of_claims[2:]}
    assert verdicts["budget-shape"] in ("PASS", "FAIL") and "no-training-cost" not in verdicts


def test_multiply_adds_with_and_without_the_classifier(tmp_path: Path) -> None:
    assert budget_report.multiply_adds(tmp_path) == "Not run yet.\n"
    pairs = tables.load("resnet50").specs("small", (0, 1))
    runs = [fake_run(tmp_path / "runs", "resnet50", row, spec) for row, spec in pairs if row.id == "str-98.05"]
    results.collect("resnet50", "small", runs, tmp_path)
    file = results.path(tmp_path, "resnet50", "small", "budgets")
    budgets = results.read(file, "budgets")
    budgets["sparsity_pct"] = 98.0
    budgets.loc[budgets["layer"] == "fc", "sparsity_pct"] = 0.0
    results.write(budgets, file, "budgets")
    (_, _, cells, _, shares) = budget_report.multiply_adds(tmp_path).splitlines()
    row, *paper, smoke, of_paper_at_smoke, small, of_paper = cells.strip("| ").split(" | ")
    assert (row, paper, smoke, of_paper_at_smoke) == ("`str-98.05`", ["0.91", "1.76"], "–", "–")
    assert 0.8 < float(small) < 0.95
    e = evidence.load("resnet50", "small", tmp_path)
    expected = [published_over_uniform(e, layers) for layers in trained(e, "str-98.05").values()]
    assert float(of_paper) == pytest.approx(sum(expected) / 2, abs=0.005) and expected[0] > 0.95
    assert (
        shares == "The classifier's share of a network's weights: paper 8.0 %, small 3.2 %."
    )  # of a made-up run's layers


def test_stages_add_up(tmp_path: Path) -> None:
    assert budget_report.stages(tmp_path) == "Not run yet.\n"
    pairs = tables.load("resnet50").specs("small", (0, 1))
    runs = [
        fake_run(tmp_path / "runs", "resnet50", row, spec) for row, spec in pairs if row.id == budget_report.STAGES_OF
    ]
    results.collect("resnet50", "small", runs, tmp_path)
    file = results.path(tmp_path, "resnet50", "small", "budgets")
    budgets = results.read(file, "budgets")
    budgets["sparsity_pct"] = 95.0
    results.write(budgets, file, "budgets")
    _, _, *lines = (line.strip("| ").split(" | ") for line in budget_report.stages(tmp_path).splitlines())
    assert [line[0].strip("`") for line in lines] == [
        "conv1", "layer1", "layer2", "layer3", "layer4", "fc", "in total"
    ]  # fmt: skip
    assert [line[3] for line in lines] == ["5.0"] * 6 + ["–"] and lines[5][4:] == ["–"] * 3
    # a uniform budget costs what its stages have of the multiply-adds, together 1; Table 6's costs 1.18
    assert sum(float(line[6]) for line in lines[:5]) == pytest.approx(1.0, abs=0.03)
    assert lines[6][4:] == ["1.18", "–", "1.00"]
