from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from paper_repro import tables
from paper_repro.evidence import accuracy_claims, claims, results, tolerances
from paper_repro.evidence import evidence as ev
from paper_repro.evidence.claims import ClaimResult
from paper_repro.evidence.evidence import Evidence
from paper_repro.verdict import Verdict
from tests.made_up import MakeRuns


def load(make_runs: MakeRuns, tmp_path: Path, table: str = "resnet50", **given: object) -> Evidence:
    results.collect(table, "smoke", make_runs(table, **given), tmp_path / "results")
    return ev.load(table, "smoke", tmp_path / "results")


def find(evidence: Evidence, id: str, tier: str = "smoke") -> ClaimResult:
    (found,) = [claim for claim in claims.check(evidence) if (claim.id, claim.tier) == (id, tier)]
    return found


CLAIMED = [name for name in tables.names() if tables.load(name).claims]


@pytest.mark.parametrize("table", CLAIMED)
def test_every_claim_has_tiers_of_its_table_a_check_for_each_and_says_what_others_lack(table: str) -> None:
    for claim in tables.load(table).claims:
        on_paper, on_runs = claims.CHECKS[claim.id]
        there = {"audit", *tables.load(table).tiers}
        assert set(claim.tiers) <= there
        assert on_runs is not None and (on_paper is not None or "audit" not in claim.tiers)
        assert claim.needs or set(claim.tiers) == there


@pytest.mark.parametrize("table", CLAIMED)
def test_without_runs_a_claim_is_missing_where_it_can_be_tested_and_untested_elsewhere(
    table: str, tmp_path: Path
) -> None:
    for found in claims.check(ev.load(table, "smoke", tmp_path)):
        if found.tier == "smoke":
            expected = Verdict.MISSING if "smoke" in found.claim.tiers else Verdict.UNTESTED
            assert (found.id, found.verdict) == (found.id, expected)


def test_an_untested_claim_says_what_it_needs_and_which_tiers_have_it(make_runs: MakeRuns, tmp_path: Path) -> None:
    found = find(load(make_runs, tmp_path, seeds=(0, 1, 2)), "up-to-10-points-ahead")
    assert found.verdict is Verdict.UNTESTED
    assert "it needs ImageNet-1K" in found.sentence
    assert found.sentence.endswith("Tiers that can: audit, paper.")


def test_a_finding_of_this_project_is_not_called_the_papers() -> None:
    whose = {claim.id: claim.whose for claim in tables.load("resnet50").claims}
    assert [id for id, of in whose.items() if of == "project"] == ["fewer-macs-than-uniform", "budget-shape"]


def test_the_papers_budgets_need_fewer_macs_than_uniform_up_to_98_percent(tmp_path: Path) -> None:
    """By Table 6: the three models of the 99 % regime need more, which contradicts nothing that the paper claims."""
    found = find(ev.load("resnet50", "audit", tmp_path), "fewer-macs-than-uniform", "audit")
    assert found.verdict is Verdict.PASS
    assert "13 of 13" in found.sentence
    assert "Above that regime: str-98.79 (108.5 %), str-98.98 (113.6 %), str-99.10 (118.6 %)" in found.sentence
    ratios = {line["row"]: line["ratio"] for line in found.numbers}
    assert ratios["str-90.23"] == pytest.approx(342.6 / (0.0977 * 4089.18), abs=2e-3)


def test_fewer_macs_on_runs_with_those_of_the_full_size_network_beside(make_runs: MakeRuns, tmp_path: Path) -> None:
    found = find(load(make_runs, tmp_path, seeds=(0, 1)), "fewer-macs-than-uniform")
    assert found.verdict is Verdict.PASS
    assert "8 of 8" in found.sentence
    line = found.numbers[0]
    assert line["full_size_ratio"] != pytest.approx(line["ratio"], abs=0.01)
    assert "on the full-size network" in found.sentence
    evidence = load(make_runs, tmp_path)
    evidence.budgets.loc[:, "sparsity_pct"] = 100.0 - evidence.budgets.loc[:, "sparsity_pct"]
    assert find(evidence, "fewer-macs-than-uniform").verdict is Verdict.FAIL


def test_densities_of_uniform_layers_cost_the_same_on_any_network(make_runs: MakeRuns, tmp_path: Path) -> None:
    evidence = load(make_runs, tmp_path, rows=["str-90.23"])
    evidence.budgets["sparsity_pct"] = 90.0
    (line,) = find(evidence, "fewer-macs-than-uniform").numbers
    assert (line["ratio"], line["full_size_ratio"]) == (pytest.approx(1.0), pytest.approx(1.0))


def test_macs_at_the_same_accuracy_as_printed(tmp_path: Path) -> None:
    """GMP at 90 %: 73.91 % with 409M; STR has 74.01 % with 341M and 70.97 % with 182M, so 336M on the line between."""
    found = find(ev.load("resnet50", "audit", tmp_path), "fewer-macs-same-accuracy", "audit")
    assert found.verdict is Verdict.PASS
    line = next(line for line in found.numbers if line["row"] == "gmp-90")
    assert line["str_macs_m"] == pytest.approx(182 + (341 - 182) * (73.91 - 70.97) / (74.01 - 70.97))
    assert line["saved_pct"] == pytest.approx(17.9, abs=0.1)
    assert {line["row"] for line in found.numbers} == {"gmp-80", "dnw-80", "gmp-90", "dnw-90", "gmp-95", "dnw-95"}


def equally_accurate(make_runs: MakeRuns, tmp_path: Path, saved: float) -> Evidence:
    """GMP at 90 % as accurate as STR there, whose MACs are smaller by the share ``saved``."""
    evidence = load(make_runs, tmp_path, seeds=(0, 1, 2), rows=["str-79.55", "str-90.23", "str-95.03", "gmp-90"])
    runs = evidence.runs
    for row, top1 in {"str-79.55": 90.0, "str-90.23": 88.0, "str-95.03": 86.0, "gmp-90": 88.0}.items():
        runs.loc[runs["row"] == row, "top1_pct"] = top1
    ours = float(runs.loc[runs["row"] == "str-90.23", "sparse_macs_m"].iloc[0])
    wobble = 1 + 0.01 * runs["seed"]
    runs.loc[runs["row"] == "gmp-90", "sparse_macs_m"] = ours / (1 - saved) * wobble
    return evidence


@pytest.mark.parametrize(
    ("saved", "verdict"),
    [(0.3, Verdict.PASS), (0.15, Verdict.INCONCLUSIVE), (0.02, Verdict.FAIL), (-0.5, Verdict.FAIL)],
)
def test_macs_at_the_same_accuracy_on_runs(make_runs: MakeRuns, tmp_path: Path, saved: float, verdict: Verdict) -> None:
    found = accuracy_claims.equal_accuracy_runs(equally_accurate(make_runs, tmp_path, saved), tolerances.load())
    assert found is not None
    (line,) = found.numbers
    assert line["difference"] == pytest.approx(100 * saved, abs=2.0)
    assert found.verdict is verdict
    assert "Weighed with the MACs of the full-size network" in found.sentence


def test_a_run_that_another_one_beats_is_no_part_of_strs_curve(make_runs: MakeRuns, tmp_path: Path) -> None:
    evidence = equally_accurate(make_runs, tmp_path, 0.3)
    beaten = evidence.runs["row"] == "str-79.55"  # no more accurate than the row at 90 %, at twice its MACs
    evidence.runs.loc[beaten, "top1_pct"] = 88.0
    found = accuracy_claims.equal_accuracy_runs(evidence, tolerances.load())
    assert found is not None and found.numbers[0]["difference"] == pytest.approx(30.0, abs=2.0)


def test_an_accuracy_that_str_does_not_reach_leaves_the_saving_open(make_runs: MakeRuns, tmp_path: Path) -> None:
    evidence = equally_accurate(make_runs, tmp_path, 0.3)
    evidence.runs.loc[(evidence.runs["row"] == "gmp-90") & (evidence.runs["seed"] == 2), "top1_pct"] = 95.0
    found = accuracy_claims.equal_accuracy_runs(evidence, tolerances.load())
    assert found is not None
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "do not surround the accuracy of: gmp-90" in found.sentence


def test_ten_points_as_printed(tmp_path: Path) -> None:
    """54.79 % at 98.79 % sparsity against GMP's 44.78 % at 99 %: with 21 % more weights."""
    found = find(ev.load("resnet50", "audit", tmp_path), "up-to-10-points-ahead", "audit")
    assert (found.verdict, found.figure) == (Verdict.PASS, "10.01 points at most")
    assert "str-98.79 and gmp-99, 121 % of its weights" in found.sentence
    assert "10%" in found.claim.quote


@pytest.mark.parametrize(
    ("lead", "spread", "verdict"),
    [
        (10.0, 0.1, Verdict.PASS),
        (4.0, 0.1, Verdict.FAIL),
        (4.0, 5.0, Verdict.INCONCLUSIVE),
        (10.0, None, Verdict.INCONCLUSIVE),
    ],
)
def test_ten_points_on_runs(
    make_runs: MakeRuns, tmp_path: Path, lead: float, spread: float | None, verdict: Verdict
) -> None:
    seeds = (0,) if spread is None else (0, 1, 2)
    evidence = load(make_runs, tmp_path, seeds=seeds, rows=["gmp-99", "str-98.98"])
    runs = evidence.runs
    runs["top1_pct"] = 40.0
    runs.loc[runs["row"] == "str-98.98", "top1_pct"] += lead + (spread or 0.0) * (runs["seed"] - 1)
    found = accuracy_claims.gain_runs(evidence, tolerances.load())
    assert found is not None and found.verdict is verdict


def test_the_papers_budget_against_those_of_table_7(tmp_path: Path) -> None:
    found = find(ev.load("resnet50", "audit", tmp_path), "first-sparser-last-denser", "audit")
    assert (found.verdict, found.figure) == (Verdict.PASS, "first 4 of 4, last 5 of 5 baselines")
    assert [line["other"] for line in found.numbers if not line["non_uniform"]] == ["uniform-90"]
    assert "STR 8.3 %, erk-90 34.2 %" in found.sentence
    assert "18 of the first 18 are sparser than the baseline's, and 3 to 10 of the last 18" in found.sentence
    mobile = find(ev.load("mobilenetv1", "audit", tmp_path), "first-sparser-last-denser", "audit")
    assert (mobile.verdict, mobile.figure) == (Verdict.PASS, "first 1 of 1, last 1 of 1 baselines")


def test_budgets_of_runs_against_baselines_of_the_same_regime_and_seed(make_runs: MakeRuns, tmp_path: Path) -> None:
    rows = ["str-90.23", "gmp-90", "gmp-80", "rigl-erk-90"]
    evidence = load(make_runs, tmp_path, seeds=(0, 1), rows=rows)
    found = find(evidence, "first-sparser-last-denser")
    assert (found.verdict, found.figure) == (Verdict.PASS, "first 2 of 2, last 4 of 4 baselines")
    ours = evidence.budgets["row"] == "str-90.23"
    flipped = evidence.budgets[ours].groupby("seed")["sparsity_pct"].transform(lambda part: part.to_numpy()[::-1])
    evidence.budgets.loc[ours, "sparsity_pct"] = flipped
    found = find(evidence, "first-sparser-last-denser")
    assert found.verdict is Verdict.FAIL
    assert "It does not hold for: str-90.23 and rigl-erk-90, str-90.23 and gmp-90." in found.sentence


def test_uniform_baselines_alone_do_not_test_a_claim_about_others(make_runs: MakeRuns, tmp_path: Path) -> None:
    evidence = load(make_runs, tmp_path, rows=["str-90.23", "gmp-90"])
    assert find(evidence, "first-sparser-last-denser").verdict is Verdict.MISSING


def test_figure_2_rises_as_a_cubic_schedule_does(tmp_path: Path) -> None:
    found = find(ev.load("resnet50", "audit", tmp_path), "gradual-pruning-learned", "audit")
    assert found.verdict is Verdict.PASS
    (line,) = found.numbers
    assert line["cubic_r2"] == pytest.approx(0.965, abs=0.003) and line["cubic_r2"] > line["ramp_r2"]
    assert line["gap_over_the_whole_rest"] == pytest.approx(39, abs=1)  # it prunes faster than until epoch 100


def after(epochs: pd.Series, start: float = 0.2, end: float = 0.9) -> pd.Series:
    return ((epochs - start) / (end - start)).clip(0, 1)


@pytest.mark.parametrize(
    ("shape", "verdict"),
    [
        (lambda epochs: 90 * (1 - (1 - after(epochs)) ** 3), Verdict.PASS),
        (lambda epochs: 90 * after(epochs), Verdict.FAIL),  # a ramp
        (lambda epochs: 90 * (1 - (1 - after(epochs)) ** 1.7), Verdict.FAIL),  # nearer to a ramp than to a cubic
        (lambda epochs: 90 * after(epochs) ** 3, Verdict.FAIL),  # slow first
        (lambda epochs: 90 * (1 - (1 - after(epochs)) ** 3) - 5 * (epochs.round(3) == 0.75), Verdict.FAIL),  # falls
    ],
)
def test_runs_that_rise_as_a_cubic_schedule_does(
    make_runs: MakeRuns, tmp_path: Path, shape: Callable[[pd.Series], pd.Series], verdict: Verdict
) -> None:
    evidence = load(make_runs, tmp_path, rows=["str-90.23"])
    evidence.history["sparsity_pct"] = shape(evidence.history["epoch"])
    assert find(evidence, "gradual-pruning-learned").verdict is verdict


def test_the_time_of_whole_runs_is_told_and_decides_nothing(make_runs: MakeRuns, tmp_path: Path) -> None:
    evidence = load(make_runs, tmp_path, rows=["dense", "str-90.23", "gmp-90"], seeds=(0, 1, 2))
    runs = evidence.runs
    for row, seconds in {"dense": 50.0, "str-90.23": 55.0, "gmp-90": 51.0}.items():
        runs.loc[runs["row"] == row, "seconds"] = seconds
    found = find(evidence, "no-training-cost")
    assert (found.verdict, found.figure) == (Verdict.INCONCLUSIVE, "1.10 times a dense run's time")
    assert "(GMP's 1.02 times)" in found.sentence
    runs.loc[runs["row"] == "dense", "device"] = "another one"
    assert find(evidence, "no-training-cost").verdict is Verdict.MISSING


def test_ahead_of_gmp_with_three_seeds(make_runs: MakeRuns, tmp_path: Path) -> None:
    found = find(load(make_runs, tmp_path, seeds=(0, 1, 2)), "ahead-of-gmp-from-95")
    assert found.verdict is Verdict.PASS
    line = next(line for line in found.numbers if line["regime_pct"] == 95)
    assert (line["row"], line["gmp"], line["n"]) == ("str-95.03", "gmp-95", 3)
    assert line["low"] < line["difference"] < line["high"]
    assert line["p"] < 0.05


def test_one_seed_decides_no_accuracy(make_runs: MakeRuns, tmp_path: Path) -> None:
    found = find(load(make_runs, tmp_path), "ahead-of-gmp-from-95")
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "One seed gives no interval" in found.sentence
    assert all(line["low"] is None and line["p"] is None for line in found.numbers)


def test_behind_gmp_fails(make_runs: MakeRuns, tmp_path: Path) -> None:
    evidence = load(make_runs, tmp_path, seeds=(0, 1, 2))
    evidence.runs.loc[evidence.runs["row"] == "str-98.05", "top1_pct"] = [60.0, 61.0, 60.5]
    assert find(evidence, "ahead-of-gmp-from-95").verdict is Verdict.FAIL


def test_a_lead_with_more_weights_decides_nothing(make_runs: MakeRuns, tmp_path: Path) -> None:
    evidence = load(make_runs, tmp_path, seeds=(0, 1, 2))
    rows = evidence.runs["row"]
    evidence.runs.loc[rows.isin(["str-98.98", "gmp-99"]), "nonzero_params_m"] = 0.01
    assert "98.98" not in find(evidence, "ahead-of-gmp-from-95").sentence
    evidence.runs.loc[rows == "str-98.98", "nonzero_params_m"] *= 1.2
    found = find(evidence, "ahead-of-gmp-from-95")
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "Not at equal sparsity" in found.sentence and "str-98.98 (120 %)" in found.sentence
    evidence.runs.loc[rows == "str-98.98", "nonzero_params_m"] = 0.002
    assert "str-98.98 (20 %)" in find(evidence, "ahead-of-gmp-from-95").sentence


def test_a_lead_that_does_not_grow_is_inconclusive(make_runs: MakeRuns, tmp_path: Path) -> None:
    evidence = load(make_runs, tmp_path, seeds=(0, 1, 2))
    evidence.runs.loc[evidence.runs["row"] == "str-98.98", "top1_pct"] -= 3.0
    found = find(evidence, "ahead-of-gmp-from-95")
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "does not grow" in found.sentence


def test_missing_regime_is_missing(make_runs: MakeRuns, tmp_path: Path) -> None:
    rows = ["gmp-98", "str-98.05", "gmp-99"]
    evidence = load(make_runs, tmp_path, seeds=(0, 1, 2), rows=rows)
    assert find(evidence, "ahead-of-gmp-from-95").verdict is Verdict.MISSING


def test_printed_accuracies_decide_nothing(tmp_path: Path) -> None:
    found = find(ev.load("resnet50", "audit", tmp_path), "ahead-of-gmp-from-95", "audit")
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "95 %: -0.19 points (str-95.03)" in found.sentence
    assert "99 %: +7.04 points (str-98.98)" in found.sentence


def test_onset(make_runs: MakeRuns, tmp_path: Path) -> None:
    evidence = load(make_runs, tmp_path, seeds=(0, 1))
    found = find(evidence, "sparsity-after-onset")
    assert found.verdict is Verdict.PASS
    assert "+0.05 to +0.05 epochs" in found.sentence
    early = load(make_runs, tmp_path, rows=["str-90.23"], forecast_onset_epoch=0.6)
    found = find(early, "sparsity-after-onset")
    assert found.verdict is Verdict.FAIL
    assert "str-90.23 seed 0" in found.sentence
    never = load(make_runs, tmp_path, rows=["str-90.23"], onset_epoch=None)
    assert find(never, "sparsity-after-onset").verdict is Verdict.FAIL


def test_a_forecast_of_zero_tests_nothing(make_runs: MakeRuns, tmp_path: Path) -> None:
    found = find(load(make_runs, tmp_path, rows=["str-90.23"], forecast_onset_epoch=0.0), "sparsity-after-onset")
    assert found.verdict is Verdict.INCONCLUSIVE


def test_onset_of_figure_2_needs_a_forecast(tmp_path: Path) -> None:
    evidence = ev.load("resnet50", "audit", tmp_path)
    found = find(evidence, "sparsity-after-onset", "audit")
    assert (found.verdict, "epoch 28" in found.sentence) == (Verdict.INCONCLUSIVE, True)


def test_shape_of_the_papers_budgets(tmp_path: Path) -> None:
    found = find(ev.load("resnet50", "audit", tmp_path), "budget-shape", "audit")
    assert found.verdict is Verdict.PASS
    assert "sparser than uniform in 16 of 16" in found.sentence
    assert "first convolution is sparser in 0, the classifier denser in 16" in found.sentence


def test_shape_of_runs(make_runs: MakeRuns, tmp_path: Path) -> None:
    evidence = load(make_runs, tmp_path)
    found = find(evidence, "budget-shape")
    assert found.verdict is Verdict.PASS
    assert "6.3 times its smallest, in the paper's Figure 3 191 times" in found.sentence
    flipped = evidence.budgets.groupby(["row", "seed"])["sparsity_pct"].transform(lambda part: part.to_numpy()[::-1])
    evidence.budgets["sparsity_pct"] = flipped
    assert find(evidence, "budget-shape").verdict is Verdict.FAIL


def test_up_to_half_of_gmps_macs(make_runs: MakeRuns, tmp_path: Path) -> None:
    evidence = load(make_runs, tmp_path, "mobilenetv1", seeds=(0, 1))
    found = find(evidence, "up-to-half-the-macs", "audit")
    assert (found.verdict, found.figure) == (Verdict.PASS, "51 to 62 % of GMP's MACs")
    runs = evidence.runs
    runs["nonzero_params_m"], runs["sparse_macs_m"] = 0.1, 9.0
    ours = runs["method"] == "str"
    for macs, verdict in ((4.8, Verdict.PASS), (6.0, Verdict.FAIL), (9.5, Verdict.FAIL)):
        runs.loc[ours, "sparse_macs_m"] = macs
        assert find(evidence, "up-to-half-the-macs").verdict is verdict
    runs.loc[ours, ["sparse_macs_m", "nonzero_params_m"]] = [4.8, 0.05]
    found = find(evidence, "up-to-half-the-macs")
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "Not at equal sparsity" in found.sentence


def test_a_claim_without_a_check_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "CHECKS", {})
    found = claims.check(ev.load("resnet50", "smoke", tmp_path))
    able = [claim for claim in found if claim.tier in claim.claim.tiers]
    assert {(claim.sentence, claim.verdict) for claim in able} == {
        ("There is no check for this claim.", Verdict.UNTESTED)
    }


def test_nothing_is_nan(make_runs: MakeRuns, tmp_path: Path) -> None:
    for claim in claims.check(load(make_runs, tmp_path, seeds=(0, 1, 2))):
        assert "nan" not in claim.sentence
        assert not pd.DataFrame(claim.numbers).select_dtypes("number").isna().any().any()


# -- one method beside another ----------------------------------------------------------------------------------------


def test_transferred_budgets_as_printed(tmp_path: Path) -> None:
    """Table 4: +0.01, +1.42 and -0.29 points; Table 5: +0.22 and +1.57. Single runs decide nothing."""
    evidence = ev.load("transfer", "audit", tmp_path)
    dnw = find(evidence, "dnw-as-accurate-under-str-budget", "audit")
    assert dnw.verdict is Verdict.INCONCLUSIVE
    assert "dnw-str-94.80: +1.42 points at 89 % of the FLOPs" in dnw.sentence
    assert "dnw-str-95.15: -0.29 points" in dnw.sentence
    gmp = find(evidence, "gmp-ahead-under-str-budget", "audit")
    assert [round(line["difference"], 2) for line in gmp.numbers] == [0.22, 1.57]


def transferred(make_runs: MakeRuns, tmp_path: Path, difference: float) -> Evidence:
    """Uniform rows at 80 %, rows with STR's budgets so many points from them, equally sparse and cheaper."""
    evidence = load(make_runs, tmp_path, "transfer", seeds=(0, 1, 2))
    runs = evidence.runs
    noise = runs["seed"] * 0.1
    runs["top1_pct"] = 80.0 + noise
    ours = runs["row"].str.contains("-str-")
    runs.loc[ours, "top1_pct"] += difference + 0.01 * runs["seed"]
    runs["nonzero_params_m"], runs["sparse_macs_m"] = 0.1, 1.0
    runs.loc[ours, "sparse_macs_m"] = 0.8
    return evidence


@pytest.mark.parametrize(
    ("difference", "dnw", "gmp"),
    [
        (1.0, Verdict.PASS, Verdict.PASS),
        (-0.3, Verdict.PASS, Verdict.FAIL),  # within the margin of "at least as accurate"
        (-2.0, Verdict.FAIL, Verdict.FAIL),
    ],
)
def test_transferred_budgets_on_runs(
    make_runs: MakeRuns, tmp_path: Path, difference: float, dnw: Verdict, gmp: Verdict
) -> None:
    evidence = transferred(make_runs, tmp_path, difference)
    assert find(evidence, "dnw-as-accurate-under-str-budget").verdict is dnw
    assert find(evidence, "gmp-ahead-under-str-budget").verdict is gmp


def test_a_transferred_budget_that_costs_more_fails(make_runs: MakeRuns, tmp_path: Path) -> None:
    evidence = transferred(make_runs, tmp_path, 1.0)
    evidence.runs.loc[evidence.runs["row"] == "gmp-str-98.05", "sparse_macs_m"] = 1.2
    found = find(evidence, "gmp-ahead-under-str-budget")
    assert found.verdict is Verdict.FAIL
    assert "It needs more in: gmp-str-98.05" in found.sentence


def test_falling_behind_with_fewer_weights_decides_nothing(make_runs: MakeRuns, tmp_path: Path) -> None:
    """A published budget leaves the narrow network fewer weights than the uniform one: no test of the claim."""
    evidence = transferred(make_runs, tmp_path, -2.0)
    ours = evidence.runs["row"].str.contains("-str-")
    evidence.runs.loc[ours, "nonzero_params_m"] = 0.07
    found = find(evidence, "dnw-as-accurate-under-str-budget")
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "Not at equal sparsity" in found.sentence
    evidence.runs.loc[ours, "top1_pct"] += 4.0  # ahead although it has fewer
    assert find(evidence, "dnw-as-accurate-under-str-budget").verdict is Verdict.PASS


def test_st3_as_printed(tmp_path: Path) -> None:
    """Ahead at equal sparsity everywhere; at equal FLOPs ST-3-sigma is ahead, which ST-3 itself would not be."""
    evidence = ev.load("st3", "audit", tmp_path)
    sparsity = find(evidence, "st3-ahead-at-equal-sparsity", "audit")
    assert sparsity.verdict is Verdict.INCONCLUSIVE
    differences = {line["row"]: line["difference"] for line in sparsity.numbers}
    assert len(differences) == 6
    assert differences["st3-90"] == pytest.approx(76.03 - 74.31)
    assert min(differences.values()) > 0
    macs = {
        line["row"]: line["difference"] for line in find(evidence, "st3-sigma-ahead-at-equal-macs", "audit").numbers
    }
    # 739 M lies between STR's 343 M (74.31 %) and 766 M (76.19 %)
    assert macs["st3-sigma-80"] == pytest.approx(76.44 - (74.31 + (76.19 - 74.31) * (739 - 343) / (766 - 343)))


def test_st3_on_runs(make_runs: MakeRuns, tmp_path: Path) -> None:
    evidence = load(make_runs, tmp_path, "st3", seeds=(0, 1, 2))
    runs = evidence.runs
    runs["top1_pct"] = 80.0 + 0.1 * runs["seed"]
    runs["nonzero_params_m"] = 0.1
    ours = runs["method"].isin(["st3", "st3-sigma"])
    runs.loc[ours, "top1_pct"] += 1.0 + 0.01 * runs["seed"]
    assert find(evidence, "st3-ahead-at-equal-sparsity").verdict is Verdict.PASS
    runs.loc[(runs["method"] == "str"), "nonzero_params_m"] = 0.08
    assert find(evidence, "st3-ahead-at-equal-sparsity").verdict is Verdict.INCONCLUSIVE
    found = find(evidence, "st3-sigma-ahead-at-equal-macs")
    assert found.verdict is Verdict.PASS
    runs.loc[runs["row"] == "st3-sigma-80", "sparse_macs_m"] = 99.0
    assert (
        "Outside of the range of STR's MACs: st3-sigma-80" in find(evidence, "st3-sigma-ahead-at-equal-macs").sentence
    )
