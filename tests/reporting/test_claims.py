from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from paper_repro import tables
from paper_repro.reporting import claims, results
from paper_repro.reporting import evidence as ev
from paper_repro.reporting.claims import ClaimResult
from paper_repro.reporting.evidence import Evidence
from paper_repro.verdict import Verdict
from tests.reporting.conftest import MakeRuns


def load(make_runs: MakeRuns, tmp_path: Path, table: str = "resnet50", **given: object) -> Evidence:
    results.collect(table, "smoke", make_runs(table, **given), tmp_path / "results")
    return ev.load(table, "smoke", tmp_path / "results")


def find(evidence: Evidence, id: str, tier: str = "smoke") -> ClaimResult:
    (found,) = [claim for claim in claims.check(evidence) if (claim.id, claim.tier) == (id, tier)]
    return found


@pytest.mark.parametrize("table", [name for name in tables.names() if tables.load(name).claims])
def test_every_claim_of_every_table_has_a_check(table: str, tmp_path: Path) -> None:
    assert {claim.id for claim in tables.load(table).claims} <= set(claims.CHECKS)
    nothing = claims.check(ev.load(table, "smoke", tmp_path))
    assert {claim.verdict for claim in nothing if claim.tier == "smoke"} == {Verdict.MISSING}


def test_fewer_macs_on_the_papers_budgets(tmp_path: Path) -> None:
    """By the paper's own Table 6 the claim ends at 98.5 %: the three sparsest models need more MACs than uniform."""
    found = find(ev.load("resnet50", "audit", tmp_path), "fewer-macs-than-uniform", "audit")
    assert found.verdict is Verdict.FAIL
    assert "13 of 16" in found.sentence
    against = [line["row"] for line in found.numbers if line["ratio"] >= 1]
    assert against == ["str-98.79", "str-98.98", "str-99.10"]
    ratios = {line["row"]: line["ratio"] for line in found.numbers}
    assert ratios["str-90.23"] == pytest.approx(342.6 / (0.0977 * 4089.18), abs=2e-3)


def test_fewer_macs_on_runs(make_runs: MakeRuns, tmp_path: Path) -> None:
    found = find(load(make_runs, tmp_path, seeds=(0, 1)), "fewer-macs-than-uniform")
    assert found.verdict is Verdict.PASS
    assert "10 of 10" in found.sentence
    evidence = load(make_runs, tmp_path)
    evidence.budgets.loc[:, "sparsity_pct"] = 100.0 - evidence.budgets.loc[:, "sparsity_pct"]
    assert find(evidence, "fewer-macs-than-uniform").verdict is Verdict.FAIL


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


def test_shape_of_the_papers_budgets_depends_on_the_reading(tmp_path: Path) -> None:
    found = find(ev.load("resnet50", "audit", tmp_path), "budget-shape", "audit")
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "sparser than uniform in 16 of 16" in found.sentence
    assert "first convolution is sparser in 0, the classifier denser in 16" in found.sentence


def test_shape_of_runs(make_runs: MakeRuns, tmp_path: Path) -> None:
    evidence = load(make_runs, tmp_path)
    found = find(evidence, "budget-shape")
    assert found.verdict is Verdict.PASS
    assert "6.3 to 6.3 times its smallest, in the paper's Figure 3 191 times" in found.sentence
    flipped = evidence.budgets.groupby(["row", "seed"])["sparsity_pct"].transform(lambda part: part.to_numpy()[::-1])
    evidence.budgets["sparsity_pct"] = flipped
    assert find(evidence, "budget-shape").verdict is Verdict.FAIL


def test_mobilenet_against_gmp(make_runs: MakeRuns, tmp_path: Path) -> None:
    evidence = load(make_runs, tmp_path, "mobilenetv1", seeds=(0, 1))
    assert find(evidence, "fewer-macs-than-gmp", "audit").verdict is Verdict.PASS
    found = find(evidence, "fewer-macs-than-gmp")
    assert found.verdict is Verdict.INCONCLUSIVE  # the recipes' targets differ by more than a tenth of the weights
    assert "Not at equal sparsity" in found.sentence
    evidence.runs["sparse_macs_m"] = evidence.runs["sparse_macs_m"].where(evidence.runs["method"] != "str", 9.0)
    assert find(evidence, "fewer-macs-than-gmp").verdict is Verdict.FAIL


def test_a_claim_without_a_check_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "CHECKS", {})
    found = claims.check(ev.load("resnet50", "smoke", tmp_path))
    assert {claim.sentence for claim in found} == {"There is no check for this claim."}
    assert {claim.verdict for claim in found} == {Verdict.INCONCLUSIVE}


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
