"""Claims that are a contrast: what their data says is compared, and what the printed numbers and runs come to."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from paper_repro import tables
from paper_repro.evidence import evidence as ev
from paper_repro.evidence.claims import ClaimResult
from paper_repro.evidence.contrast import paired, trained
from paper_repro.evidence.contrast_claims import check
from paper_repro.evidence.evidence import Evidence
from paper_repro.evidence.outcome import Outcome
from paper_repro.experiments.claims import Claim, Rows
from paper_repro.verdict import Verdict
from tests.evidence.one_claim import find
from tests.made_up import load


def of_runs(evidence: Evidence, id: str, **changes: object) -> Outcome:
    """The claim of that name, with some of its data changed, on the runs, whichever tiers it is for."""
    (claim,) = [claim for claim in evidence.table.claims if claim.id == id]
    outcome = check(Claim.model_validate(claim.model_dump() | changes), evidence, printed=False)
    assert outcome is not None
    return outcome


def differences(outcome: Outcome | ClaimResult) -> dict[str, float]:
    return {line["row"]: line["difference"] for line in outcome.numbers}


# -- at equal accuracy -----------------------------------------------------------------------------------------------


def test_macs_at_the_same_accuracy_as_printed(tmp_path: Path) -> None:
    """GMP at 90 %: 73.91 % with 409M; STR has 74.01 % with 341M and 70.97 % with 182M."""
    found = find(ev.load("resnet50", "audit", tmp_path), "fewer-macs-same-accuracy", "audit")
    assert (found.verdict, found.figure) == (Verdict.PASS, "saves 17 to 35 % of the MACs")
    macs = 182 * (341 / 182) ** ((73.91 - 70.97) / (74.01 - 70.97))
    assert differences(found)["gmp-90"] == pytest.approx(100 * (1 - macs / 409))
    assert differences(found).keys() == {"gmp-80", "dnw-80", "gmp-90", "dnw-90", "gmp-95", "dnw-95"}
    assert "single runs" not in found.sentence  # the claim names an amount: arithmetic


GMP_90 = Rows(methods=("gmp",), regimes_pct=(90.0, 90.0))


def equally_accurate(tmp_path: Path, saved: float) -> Evidence:
    """GMP at 90 % as accurate as STR there, whose MACs are smaller by the share ``saved``."""
    evidence = load(tmp_path, seeds=(0, 1, 2), rows=["str-79.55", "str-90.23", "str-95.03", "gmp-90"])
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
def test_macs_at_the_same_accuracy_on_runs(tmp_path: Path, saved: float, verdict: Verdict) -> None:
    evidence = equally_accurate(tmp_path, saved)
    found = of_runs(evidence, "fewer-macs-same-accuracy", theirs=GMP_90)
    assert differences(found)["gmp-90"] == pytest.approx(100 * saved, abs=2.0)
    assert found.verdict is verdict
    assert "Weighed with the MACs of the full-size network" in found.sentence


@pytest.mark.parametrize("column", ["processor", "options", "threads"])
def test_runs_that_rounded_otherwise_are_no_pair(tmp_path: Path, column: str) -> None:
    evidence = equally_accurate(tmp_path, 0.3)
    other = "avx2" if column != "threads" else 2
    evidence.runs.loc[(evidence.runs["row"] == "gmp-90") & (evidence.runs["seed"] == 2), column] = other
    summary = paired(evidence, "str-90.23", "gmp-90")
    assert summary is not None and summary.n == 2


def test_a_run_that_pruned_nothing_is_no_part_of_strs_curve(tmp_path: Path) -> None:
    evidence = equally_accurate(tmp_path, 0.3)
    here = (evidence.runs["row"] == "str-79.55") & (evidence.runs["seed"] == 2)
    evidence.runs.loc[here, ["status", "sparsity_pct"]] = ["not_sparse", 0.0]
    assert [network.seed for network in trained(evidence, "str-79.55")] == [0, 1]


def test_a_run_that_another_one_beats_is_no_part_of_strs_curve(tmp_path: Path) -> None:
    evidence = equally_accurate(tmp_path, 0.3)
    beaten = evidence.runs["row"] == "str-79.55"  # no more accurate than the row at 90 %, at twice its MACs
    evidence.runs.loc[beaten, "top1_pct"] = 88.0
    found = of_runs(evidence, "fewer-macs-same-accuracy", theirs=GMP_90)
    assert differences(found)["gmp-90"] == pytest.approx(30.0, abs=2.0)


def test_an_accuracy_that_str_does_not_reach_leaves_the_saving_open(tmp_path: Path) -> None:
    evidence = equally_accurate(tmp_path, 0.3)
    evidence.runs.loc[(evidence.runs["row"] == "gmp-90") & (evidence.runs["seed"] == 2), "top1_pct"] = 95.0
    found = of_runs(evidence, "fewer-macs-same-accuracy", theirs=GMP_90)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "lies outside the range of the other networks: gmp-90" in found.sentence
    evidence = dataclasses.replace(evidence)  # evidence that has been asked remembers its answers
    evidence.runs.loc[evidence.runs["row"] == "gmp-90", "top1_pct"] = 95.0
    found = of_runs(evidence, "fewer-macs-same-accuracy", theirs=GMP_90)
    assert (found.verdict, found.figure) == (Verdict.INCONCLUSIVE, "nothing to compare")


def test_a_row_without_runs_is_missing(tmp_path: Path) -> None:
    """Tier smoke trains DNW at 90 % too."""
    found = of_runs(equally_accurate(tmp_path, 0.3), "fewer-macs-same-accuracy")
    assert found.verdict is Verdict.MISSING
    assert "Nothing to compare (not run, not reached, or other data) for: gmp-80" in found.sentence


# -- best beside best in a regime ------------------------------------------------------------------------------------


def test_ten_points_as_printed(tmp_path: Path) -> None:
    """54.79 % at 98.79 % sparsity against GMP's 44.78 % at 99 %: with 21 % more weights."""
    found = find(ev.load("resnet50", "audit", tmp_path), "up-to-10-points-ahead", "audit")
    assert (found.verdict, found.figure) == (Verdict.PASS, "10.01 points at most")
    assert "str-98.79 against gmp-99, with 121 % of its weights" in found.sentence
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
def test_ten_points_on_runs(tmp_path: Path, lead: float, spread: float | None, verdict: Verdict) -> None:
    seeds = (0,) if spread is None else (0, 1, 2)
    evidence = load(tmp_path, seeds=seeds, rows=["gmp-99", "str-98.98"])
    runs = evidence.runs
    runs["top1_pct"] = 40.0
    runs.loc[runs["row"] == "str-98.98", "top1_pct"] += lead + (spread or 0.0) * (runs["seed"] - 1)
    at_99 = Rows(methods=("str",), regimes_pct=(99.0, 99.0))
    assert of_runs(evidence, "up-to-10-points-ahead", ours=at_99).verdict is verdict


# -- at equal sparsity -----------------------------------------------------------------------------------------------


def test_ahead_of_gmp_as_printed_decides_nothing(tmp_path: Path) -> None:
    """At 98 %, STR's 97.78 % has 62.84 % and its 98.05 % has 61.46 %."""
    found = find(ev.load("resnet50", "audit", tmp_path), "ahead-of-gmp-from-95", "audit")
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "read off between the printed rows" in found.sentence and "single runs without a spread" in found.sentence
    rows = {row.id: row.reported for row in tables.load("resnet50").rows}
    denser, sparser, gmp = rows["str-97.78"], rows["str-98.05"], rows["gmp-98"]
    between = sorted([denser.top1_pct - gmp.top1_pct, sparser.top1_pct - gmp.top1_pct])
    assert between[0] < differences(found)["gmp-98"] < between[1]


def test_ahead_of_gmp_with_three_seeds(tmp_path: Path) -> None:
    found = find(load(tmp_path, seeds=(0, 1, 2)), "ahead-of-gmp-from-95")
    assert found.verdict is Verdict.PASS
    line = next(line for line in found.numbers if line["row"] == "gmp-95")
    assert line["low"] < line["difference"] < line["high"]
    assert line["n"] == 3 and line["p"] < 0.05 and line["weights_ratio"] == pytest.approx(1.0)
    assert found.figure.startswith("95/98/99 %: +")


def test_one_seed_decides_no_accuracy(tmp_path: Path) -> None:
    found = find(load(tmp_path), "ahead-of-gmp-from-95")
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "One seed gives no interval" in found.sentence
    assert all(line["low"] is None and line["p"] is None for line in found.numbers)


def test_behind_gmp_fails(tmp_path: Path) -> None:
    evidence = load(tmp_path, seeds=(0, 1, 2))
    evidence.runs.loc[evidence.runs["row"] == "str-98.05", "top1_pct"] = [60.0, 61.0, 60.5]
    assert find(evidence, "ahead-of-gmp-from-95").verdict is Verdict.FAIL


def test_regimes_that_the_claim_is_not_about_are_told_and_do_not_count(tmp_path: Path) -> None:
    evidence = load(tmp_path, seeds=(0, 1, 2))
    evidence.runs.loc[evidence.runs["row"] == "gmp-80", "top1_pct"] = 99.0
    found = find(evidence, "ahead-of-gmp-from-95")
    assert found.verdict is Verdict.PASS
    assert {line["row"]: line["verdict"] for line in found.numbers}["gmp-80"] == "FAIL"
    assert "The claim is about 95 % and more." in found.sentence


def test_networks_that_are_not_equally_sparse_are_not_compared(tmp_path: Path) -> None:
    """Half a point of sparsity at 99 % is twice the weights: ahead or behind, it decides nothing."""
    evidence = load(tmp_path, seeds=(0, 1, 2))
    evidence.runs.loc[evidence.runs["row"] == "gmp-99", "sparsity_pct"] = 99.5
    for top1_pct in (10.0, 99.0):
        evidence.runs.loc[evidence.runs["row"] == "gmp-99", "top1_pct"] = top1_pct
        found = find(evidence, "ahead-of-gmp-from-95")
        assert found.verdict is Verdict.INCONCLUSIVE
        assert "lies outside the range of the other networks: gmp-99." in found.sentence


def test_a_lead_that_does_not_grow_is_inconclusive(tmp_path: Path) -> None:
    evidence = load(tmp_path, seeds=(0, 1, 2))
    evidence.runs.loc[evidence.runs["row"] == "str-98.98", "top1_pct"] -= 3.0
    found = find(evidence, "ahead-of-gmp-from-95")
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "does not grow" in found.sentence


def test_a_missing_regime_is_missing(tmp_path: Path) -> None:
    evidence = load(tmp_path, seeds=(0, 1, 2), rows=["gmp-98", "str-98.05", "gmp-99"])
    assert find(evidence, "ahead-of-gmp-from-95").verdict is Verdict.MISSING


def test_runs_on_other_data_are_not_compared(tmp_path: Path) -> None:
    """As ranks always were: a lead on another data set is no lead."""
    evidence = load(tmp_path, seeds=(0, 1, 2))
    evidence.runs.loc[evidence.runs["row"] == "gmp-99", "dataset"] = "cifar10"
    found = find(evidence, "ahead-of-gmp-from-95")
    assert found.verdict is Verdict.MISSING
    assert "Nothing to compare (not run, not reached, or other data) for: gmp-99." in found.sentence


def test_up_to_half_of_gmps_macs(tmp_path: Path) -> None:
    """Printed are 101M and 42.2M of STR for 163M and 82.5M of GMP. On runs: so many MACs of GMP's 9."""
    evidence = load(tmp_path, "mobilenetv1", seeds=(0, 1))
    found = find(evidence, "up-to-half-the-macs", "audit")
    assert (found.verdict, found.figure) == (Verdict.PASS, "saves 38 to 49 % of the MACs")
    runs = evidence.runs
    runs["sparsity_pct"], runs["sparse_macs_m"] = 80.0, 9.0
    ours = runs["method"] == "str"
    for macs, verdict in ((4.8, Verdict.PASS), (6.0, Verdict.FAIL), (9.5, Verdict.FAIL)):
        runs.loc[ours, "sparse_macs_m"] = macs + 0.01 * runs["seed"]
        assert find(evidence, "up-to-half-the-macs").verdict is verdict
    runs.loc[ours, ["sparse_macs_m", "sparsity_pct"]] = [4.8, 90.0]
    assert find(evidence, "up-to-half-the-macs").verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("spread", "verdict"), [(0.01, Verdict.FAIL), (0.6, Verdict.INCONCLUSIVE), (3.0, Verdict.INCONCLUSIVE)]
)
def test_a_wide_interval_does_not_bring_a_saving_up_to_half(tmp_path: Path, spread: float, verdict: Verdict) -> None:
    """A third is saved on average. Noise leaves open whether it is half, and does not make it so."""
    evidence = load(tmp_path, "mobilenetv1", seeds=(0, 1, 2))
    runs = evidence.runs
    runs["sparsity_pct"], runs["sparse_macs_m"] = 80.0, 9.0
    runs.loc[runs["method"] == "str", "sparse_macs_m"] = 6.0 + spread * (runs["seed"] - 1)
    found = find(evidence, "up-to-half-the-macs")
    assert found.verdict is verdict and "The largest mean is to come to 45." in found.sentence


def test_transferred_budgets_as_printed(tmp_path: Path) -> None:
    """DNW under STR's budget of 95.15 % has 68.01 %; the uniform row nearest to it, of 95 %, has 68.30 %."""
    evidence = ev.load("transfer", "audit", tmp_path)
    dnw = find(evidence, "dnw-as-accurate-under-str-budget", "audit")
    assert dnw.verdict is Verdict.INCONCLUSIVE
    assert "dnw-str-95.15: -0.29" in dnw.sentence and "MACs, as a share of the other's: 79 to 86 %." in dnw.sentence
    assert differences(dnw).keys() == {"dnw-str-90.23", "dnw-str-94.80", "dnw-str-95.15"}  # and not the row of ERK
    gmp = find(evidence, "gmp-ahead-under-str-budget", "audit")
    assert differences(gmp)["gmp-str-98.05"] == pytest.approx(1.57)


def transferred(tmp_path: Path, difference: float) -> Evidence:
    """Uniform rows at 80 %, rows with STR's budgets so many points from them, equally sparse and cheaper."""
    evidence = load(tmp_path, "transfer", seeds=(0, 1, 2))
    runs = evidence.runs
    runs["top1_pct"] = 80.0 + runs["seed"] * 0.1
    ours = runs["row"].str.contains("-str-")
    runs.loc[ours, "top1_pct"] += difference + 0.01 * runs["seed"]
    runs["sparsity_pct"], runs["sparse_macs_m"] = 90.0, 1.0
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
def test_transferred_budgets_on_runs(tmp_path: Path, difference: float, dnw: Verdict, gmp: Verdict) -> None:
    evidence = transferred(tmp_path, difference)
    assert find(evidence, "dnw-as-accurate-under-str-budget").verdict is dnw
    assert find(evidence, "gmp-ahead-under-str-budget").verdict is gmp
    assert "The claim allows a deficit of 0.5 points." in find(evidence, "dnw-as-accurate-under-str-budget").sentence


def test_a_transferred_budget_that_costs_more_fails(tmp_path: Path) -> None:
    evidence = transferred(tmp_path, 1.0)
    evidence.runs.loc[evidence.runs["row"] == "gmp-str-98.05", "sparse_macs_m"] = 1.2
    found = find(evidence, "gmp-ahead-under-str-budget")
    assert found.verdict is Verdict.FAIL
    assert (
        "It needs more in: gmp-str-98.05" in found.sentence
        and "than the paper's, which tier audit has" in found.sentence
    )
    assert found.figure == "+1.01 points, 80 to 120 % of the MACs"


@pytest.mark.parametrize("difference", [-2.0, 2.0])
def test_fewer_weights_decide_nothing_in_either_direction(tmp_path: Path, difference: float) -> None:
    """A published budget leaves the narrow network fewer weights than any uniform row: behind says nothing of equal
    sparsity, and ahead does only where accuracy falls with sparsity, which on small networks it need not.
    """
    evidence = transferred(tmp_path, difference)
    ours = evidence.runs["row"].str.contains("-str-")
    evidence.runs.loc[ours, "sparsity_pct"] = 93.0
    found = find(evidence, "dnw-as-accurate-under-str-budget")
    assert (found.verdict, found.figure) == (Verdict.INCONCLUSIVE, "nothing to compare")
    evidence.runs.loc[evidence.runs["row"].isin(["dnw-uniform-95"]), "sparsity_pct"] = 95.0  # now it lies between
    expected = Verdict.PASS if difference > 0 else Verdict.FAIL
    assert find(evidence, "dnw-as-accurate-under-str-budget").verdict is expected


# -- ST-3 ------------------------------------------------------------------------------------------------------------


def test_st3_as_printed(tmp_path: Path) -> None:
    """Ahead at equal sparsity everywhere; at equal FLOPs ST-3-sigma is ahead, which ST-3 itself would not be."""
    evidence = ev.load("st3", "audit", tmp_path)
    sparsity = find(evidence, "st3-ahead-at-equal-sparsity", "audit")
    assert sparsity.verdict is Verdict.INCONCLUSIVE
    assert len(sparsity.numbers) == 6 and min(differences(sparsity).values()) > 0
    assert sparsity.sentence.endswith("The two were trained by different recipes.")
    macs = find(evidence, "st3-sigma-ahead-at-equal-macs", "audit")
    # 739 M lies between STR's 343 M (74.31 %) and 766 M (76.19 %)
    rows = {row.id: row.reported for row in evidence.table.rows}
    assert rows["str-79.55"].top1_pct - 0.2 < 76.44 - differences(macs)["st3-sigma-80"] < rows["str-79.55"].top1_pct


def test_st3_on_runs(tmp_path: Path) -> None:
    evidence = load(tmp_path, "st3", seeds=(0, 1, 2))
    runs = evidence.runs
    runs["top1_pct"] = 80.0 + 0.1 * runs["seed"]
    ours = runs["method"].isin(["st3", "st3-sigma"])
    runs.loc[ours, "top1_pct"] += 1.0 + 0.01 * runs["seed"]
    assert find(evidence, "st3-ahead-at-equal-sparsity").verdict is Verdict.PASS
    at_macs = find(evidence, "st3-sigma-ahead-at-equal-macs")
    runs.loc[runs["row"] == "st3-sigma-80", "sparse_macs_m"] = 99.0
    found = find(evidence, "st3-sigma-ahead-at-equal-macs")
    assert (at_macs.verdict, found.verdict) == (Verdict.PASS, Verdict.INCONCLUSIVE)
    assert "lies outside the range of the other networks: st3-sigma-80." in found.sentence


# -- the data --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"theirs": None}, "a contrast needs theirs, at_equal and difference"),
        ({"at_equal": "accuracy", "measure": "points"}, "at equal accuracy there are no points to be ahead"),
        ({"at_equal": "weight"}, "Input should be 'sparsity'"),
        ({"ours": {"method": "str"}}, "Extra inputs"),
    ],
)
def test_a_claim_that_says_nothing_to_test_is_refused(changes: dict[str, object], problem: str) -> None:
    claim = next(claim for claim in tables.load("resnet50").claims if claim.id == "ahead-of-gmp-from-95")
    with pytest.raises(ValueError, match=problem):
        Claim.model_validate(claim.model_dump() | changes)


def test_a_new_claim_is_data_alone(tmp_path: Path) -> None:
    claim = Claim(
        id="dnw-ahead-of-gmp",
        text="DNW is more accurate than GMP with the same MACs.",
        source="a test",
        tiers=("smoke",),
        difference="DNW minus GMP",
        ours=Rows(methods=("dnw",)),
        theirs=Rows(methods=("gmp",)),
        at_equal="macs",
    )
    evidence = load(tmp_path, seeds=(0, 1), rows=["gmp-80", "gmp-90", "gmp-95", "dnw-90"])
    evidence.runs.loc[evidence.runs["method"] == "dnw", "top1_pct"] += 1.0
    outcome = check(claim, evidence, printed=False)
    assert outcome is not None
    assert outcome.sentence.startswith("DNW minus GMP at equal MACs, top-1 points on Fashion-MNIST, width 16")
    assert differences(outcome)["dnw-90"] == pytest.approx(1.0)
