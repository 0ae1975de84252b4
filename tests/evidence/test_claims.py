from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from paper_repro import tables
from paper_repro.evidence import claims, results
from paper_repro.evidence import evidence as ev
from paper_repro.evidence.layers import at_full_size, published_over_uniform, trained
from paper_repro.evidence.lines import SpeedLine
from paper_repro.verdict import Verdict
from tests.evidence.one_claim import find
from tests.made_up import load

CLAIMED = [name for name in tables.names() if tables.load(name).claims]


@pytest.mark.parametrize("table", CLAIMED)
def test_every_claim_has_tiers_of_its_table_a_check_and_says_what_others_lack(table: str) -> None:
    for claim in tables.load(table).claims:
        there = {"audit", *tables.load(table).tiers}
        assert claim.check in claims.CHECKS
        assert set(claim.tiers) <= there
        assert claim.needs or set(claim.tiers) == there
        for rows in filter(None, (claim.ours, claim.theirs)):
            assert set(rows.methods) <= {row.method for name in tables.names() for row in tables.load(name).rows}


@pytest.mark.parametrize("table", CLAIMED)
def test_without_runs_a_claim_is_missing_where_it_can_be_tested_and_untested_elsewhere(
    table: str, tmp_path: Path
) -> None:
    for found in claims.check(ev.load(table, "smoke", tmp_path)):
        if found.tier == "smoke":
            expected = Verdict.MISSING if "smoke" in found.claim.tiers else Verdict.UNTESTED
            assert (found.id, found.verdict) == (found.id, expected)


def test_an_untested_claim_says_what_it_needs_and_which_tiers_have_it(tmp_path: Path) -> None:
    found = find(load(tmp_path, seeds=(0, 1, 2)), "up-to-10-points-ahead")
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


def test_the_paper_saves_macs_in_the_classifier_alone(tmp_path: Path) -> None:
    """Table 6 again, without the classifier's 2,048,000 weights and MACs. In the 90.23 % model the other layers keep
    7.53 % of their weights (Table 6 prints 92.47 % for them), in 341.8 of 4,087.1 million MACs.
    """
    found = find(ev.load("resnet50", "audit", tmp_path), "fewer-macs-than-uniform", "audit")
    assert (
        "Without the classifier (8.0 % of the weights, 0.05 % of the MACs): 98.9 to 186.6 % of uniform's"
        in found.sentence
    )
    ratios = {line["row"]: line["backbone_ratio"] for line in found.numbers}
    assert ratios["str-90.23"] == pytest.approx(341.8 / (0.0753 * 4087.1), abs=5e-3)
    shape = find(ev.load("resnet50", "audit", tmp_path), "budget-shape", "audit")
    assert (
        "Without the classifier, the first third is sparser than uniform in 1, the last third denser in 16"
        in shape.sentence
    )


def test_fewer_macs_on_runs_with_what_the_papers_densities_need_there(tmp_path: Path) -> None:
    found = find(load(tmp_path, seeds=(0, 1)), "fewer-macs-than-uniform")
    assert found.verdict is Verdict.PASS
    assert "8 of 8" in found.sentence
    line = found.numbers[0]
    assert line["published_ratio"] != pytest.approx(line["ratio"], abs=0.01)
    assert "On this network the paper's densities need" in found.sentence
    evidence = load(tmp_path)
    evidence.budgets.loc[:, "sparsity_pct"] = 100.0 - evidence.budgets.loc[:, "sparsity_pct"]
    assert find(evidence, "fewer-macs-than-uniform").verdict is Verdict.FAIL


def test_a_budget_of_the_papers_needs_what_the_papers_does(tmp_path: Path) -> None:
    """The densities of the 90.23 % model on a smaller network: what it needs is read off at its own sparsity."""
    evidence = load(tmp_path, rows=["str-90.23"])
    published = tables.budgets("resnet50")["str-90.23"]
    evidence.budgets["sparsity_pct"] = [published[name] for name in evidence.budgets["layer"]]
    (line,) = find(evidence, "fewer-macs-than-uniform").numbers
    assert line["published_ratio"] == pytest.approx(line["ratio"], rel=1e-6)
    assert line["ratio"] != pytest.approx(342.6 / (0.0977 * 4089.18), abs=0.01)  # which is that of the paper's network
    full = find(ev.load("resnet50", "audit", tmp_path), "fewer-macs-than-uniform", "audit").numbers
    assert not any("published_ratio" in line for line in full)


def test_between_two_of_the_papers_budgets_and_beyond_the_last(tmp_path: Path) -> None:
    """On the paper's layers: 0.863 at 90.23 % and 0.876 at 90.55 % make 0.869 half way; above 99.10 % it is 1.186."""
    evidence = load(tmp_path, rows=["str-90.23"])
    full = at_full_size("resnet50", trained(evidence, "str-90.23")[0])
    for pct, ratio in ((90.39, 0.869), (99.99, 1.186)):
        assert published_over_uniform(evidence, full.assign(sparsity_pct=pct)) == pytest.approx(ratio, abs=2e-3)
    other = full.assign(layer=[f"{name}.other" for name in full["layer"]])
    assert math.isnan(published_over_uniform(evidence, other))


def test_without_the_classifier_a_uniform_budget_is_uniform(tmp_path: Path) -> None:
    evidence = load(tmp_path, rows=["str-90.23"])
    evidence.budgets["sparsity_pct"] = 90.0
    (line,) = find(evidence, "fewer-macs-than-uniform").numbers
    assert [line[name] for name in ("ratio", "backbone_ratio")] == pytest.approx([1.0] * 2)
    evidence.budgets.loc[evidence.budgets["layer"] == "fc", "sparsity_pct"] = 0.0
    (line,) = find(evidence, "fewer-macs-than-uniform").numbers
    assert line["ratio"] < 0.999 and line["backbone_ratio"] == pytest.approx(1.0)


def test_the_papers_budget_against_those_of_table_7(tmp_path: Path) -> None:
    found = find(ev.load("resnet50", "audit", tmp_path), "first-sparser-last-denser", "audit")
    assert (found.verdict, found.figure) == (Verdict.PASS, "first 4 of 4, last 5 of 5 baselines")
    assert [line["other"] for line in found.numbers if not line["non_uniform"]] == ["uniform-90"]
    assert "STR 8.3 %, erk-90 34.2 %" in found.sentence
    assert "18 of the first 18 are sparser than the baseline's, and 3 to 10 of the last 18" in found.sentence
    mobile = find(ev.load("mobilenetv1", "audit", tmp_path), "first-sparser-last-denser", "audit")
    assert (mobile.verdict, mobile.figure) == (Verdict.PASS, "first 1 of 1, last 1 of 1 baselines")


def test_budgets_of_runs_against_baselines_of_the_same_regime_and_seed(tmp_path: Path) -> None:
    rows = ["str-90.23", "gmp-90", "gmp-80", "rigl-erk-90"]
    evidence = load(tmp_path, seeds=(0, 1), rows=rows)
    erk = evidence.budgets["row"] == "rigl-erk-90"
    evidence.budgets.loc[erk, "sparsity_pct"] += evidence.budgets.groupby(["row", "seed"]).cumcount() / 25 - 1
    found = find(evidence, "first-sparser-last-denser")
    assert (found.verdict, found.figure) == (Verdict.PASS, "first 2 of 2, last 4 of 4 baselines")
    ours = evidence.budgets["row"] == "str-90.23"
    flipped = evidence.budgets[ours].groupby("seed")["sparsity_pct"].transform(lambda part: part.to_numpy()[::-1])
    evidence.budgets.loc[ours, "sparsity_pct"] = flipped
    found = find(evidence, "first-sparser-last-denser")
    assert found.verdict is Verdict.FAIL
    assert "It does not hold for: str-90.23 and rigl-erk-90, str-90.23 and gmp-90." in found.sentence


def test_uniform_baselines_alone_do_not_test_a_claim_about_others(tmp_path: Path) -> None:
    evidence = load(tmp_path, rows=["str-90.23", "gmp-90"])
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
    tmp_path: Path, shape: Callable[[pd.Series], pd.Series], verdict: Verdict
) -> None:
    evidence = load(tmp_path, rows=["str-90.23"])
    evidence.history["sparsity_pct"] = shape(evidence.history["epoch"])
    assert find(evidence, "gradual-pruning-learned").verdict is verdict


def test_the_time_of_a_step_decides_about_the_cost_of_training(tmp_path: Path) -> None:
    evidence = load(tmp_path)
    assert find(evidence, "no-training-cost", "audit").verdict is Verdict.MISSING
    assert find(evidence, "no-training-cost").verdict is Verdict.UNTESTED

    def timed(
        low: float, high: float | None, what: str = "training step, ResNet50, 32 images", of: str = "str / dense"
    ) -> Verdict:
        line = SpeedLine(
            device="made up", what=what, compared=of, ratio=(low + (high or low)) / 2, low=low, high=high, at_most=1.1,
            rounds=9, seconds=1.5, commit="abc", dirty="false", torch="2", cpu="made up",
        )  # fmt: skip
        results.write_lines([line], evidence.results_dir / SpeedLine.FILE, "speed")
        return find(evidence, "no-training-cost", "audit").verdict

    assert [timed(1.01, 1.04), timed(1.01, 1.06), timed(1.06, 1.08)] == [
        Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.FAIL,
    ]  # fmt: skip
    assert timed(1.01, None) is Verdict.INCONCLUSIVE  # too few rounds for an interval
    assert "1.030 [1.020, 1.040]" in (timed(1.02, 1.04), find(evidence, "no-training-cost", "audit").sentence)[1]
    assert timed(1.01, 1.02, what="training step, ResNet50 width 16, 64 images") is Verdict.MISSING
    assert timed(1.01, 1.02, of="gmp / dense") is Verdict.MISSING


def test_onset(tmp_path: Path) -> None:
    evidence = load(tmp_path, seeds=(0, 1))
    found = find(evidence, "sparsity-after-onset")
    assert found.verdict is Verdict.PASS
    assert "+0.05 epochs" in found.sentence
    early = load(tmp_path, rows=["str-90.23"], forecast_onset_epoch=0.6)
    found = find(early, "sparsity-after-onset")
    assert found.verdict is Verdict.FAIL
    assert "str-90.23 seed 0" in found.sentence
    never = load(tmp_path, rows=["str-90.23"], onset_epoch=None)
    assert find(never, "sparsity-after-onset").verdict is Verdict.FAIL


def test_a_forecast_of_zero_tests_nothing(tmp_path: Path) -> None:
    found = find(load(tmp_path, rows=["str-90.23"], forecast_onset_epoch=0.0), "sparsity-after-onset")
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


def test_shape_of_runs(tmp_path: Path) -> None:
    evidence = load(tmp_path)
    found = find(evidence, "budget-shape")
    assert found.verdict is Verdict.PASS
    assert "6.3 times its smallest, in the paper's Figure 3 191 times" in found.sentence
    flipped = evidence.budgets.groupby(["row", "seed"])["sparsity_pct"].transform(lambda part: part.to_numpy()[::-1])
    evidence.budgets["sparsity_pct"] = flipped
    assert find(evidence, "budget-shape").verdict is Verdict.FAIL


def test_the_papers_densities_have_the_papers_shape_where_the_classifier_has_its_share(tmp_path: Path) -> None:
    """With the weights of the paper's layers they begin sparser in all models; without the classifier's in one."""
    evidence = load(tmp_path, rows=["str-90.23"])
    counts = tables.layer_rows("resnet50")
    evidence.budgets["params"] = [counts[name].params for name in evidence.budgets["layer"]]
    with_it = find(evidence, "budget-shape").sentence
    evidence.budgets.loc[evidence.budgets["layer"] == "fc", "params"] = 1
    without = find(evidence, "budget-shape").sentence
    said = "the paper's densities on this network, the first third is sparser in {} of 16, the last third denser in 16"
    assert said.format(16) in with_it and said.format(1) in without


def test_thresholds_are_compared_among_layers_that_keep_weights(tmp_path: Path) -> None:
    """Decay alone takes the threshold of an empty layer far up: it says nothing of what was learned."""
    evidence = load(tmp_path, rows=["str-90.23", "str-95.03"])
    before = find(evidence, "budget-shape")
    assert "The largest threshold of a network is 6.3 times" in before.sentence
    assert "Here the thresholds hardly differ: weight decay has set s" in before.sentence
    first = evidence.budgets["row"].eq("str-90.23") & evidence.budgets["layer"].eq("conv1")
    evidence.budgets.loc[first, ["sparsity_pct", "threshold"]] = 100.0, 0.49
    found = find(evidence, "budget-shape")
    assert (
        "Among the layers that keep weights, the largest threshold of a network is 5.7 to 6.3 times" in found.sentence
    )
    assert [line["empty_layers"] for line in found.numbers] == [1, 0]


def test_thresholds_that_differ_are_not_said_to_be_alike(tmp_path: Path) -> None:
    evidence = load(tmp_path, rows=["str-90.23"])
    evidence.budgets.loc[evidence.budgets["layer"].eq("fc"), "threshold"] = 1.0
    sentence = find(evidence, "budget-shape").sentence
    assert "100.0 times its smallest, in the paper's Figure 3 191 times." in sentence
    assert "hardly differ" not in sentence


def test_a_claim_without_a_check_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "CHECKS", {})
    found = claims.check(ev.load("resnet50", "smoke", tmp_path))
    able = [claim for claim in found if claim.tier in claim.claim.tiers]
    assert {(claim.sentence, claim.verdict) for claim in able} == {
        ("There is no check for this claim.", Verdict.UNTESTED)
    }


def test_nothing_is_nan(tmp_path: Path) -> None:
    for claim in claims.check(load(tmp_path, seeds=(0, 1, 2))):
        assert "nan" not in claim.sentence
        assert not pd.DataFrame(claim.numbers).select_dtypes("number").isna().any().any()
