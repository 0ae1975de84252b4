"""The comparison with STR, on numbers small enough to do by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from paper_repro.evidence.contrast import Answer
from paper_repro.evidence.regression import Measured, compare, csv_text, exit_code, measured
from paper_repro.evidence.regression_words import cost_of_reuse, notes, plan
from paper_repro.evidence.statistics import seeds_needed, smallest_decided
from tests.training.tiny import SPEC


def run(
    top1: float | None,
    sparsity: float,
    seed: int = 0,
    macs: float = 1.0,
    regime: float = 90.0,
    status: str = "finished",
) -> Measured:
    name = f"{regime}-{sparsity}-{top1}-{seed}"
    return Measured(name, regime, seed, status, top1, sparsity, macs)


def test_a_regime_is_judged_by_its_contrast_with_str() -> None:
    """STR loses 2 points from 80 to 95 %; the method, at 90 %, is compared with what STR has there on the same seed."""
    theirs = [run(80.0 + 10 * seed + lost, s, seed) for seed in (0, 1) for s, lost in ((80.0, 1.0), (95.0, -1.0))]
    at_sparsity, _ = compare([90.0], [run(81.0 + 10 * seed, 90.0, seed) for seed in (0, 1)], theirs, margin=0.25)
    assert at_sparsity.difference is not None
    assert at_sparsity.difference.mean == pytest.approx(1.0)  # 90 % is halfway, in the logarithm of density
    assert at_sparsity.answer is Answer.BETTER and at_sparsity.seeds == (0, 1)
    assert at_sparsity.str_top1_pct == pytest.approx(85.0)


def both(seeds: int = 3) -> list[Measured]:
    """STR at 80 and 99 %, at the same accuracy."""
    return [run(90.0, s, seed, macs=10 * (1 - s / 100)) for seed in range(seeds) for s in (80.0, 99.0)]


def test_outside_the_range_there_is_no_verdict_but_what_would_decide() -> None:
    mine = [run(95.0, 99.5, seed, macs=0.01) for seed in range(3)]
    at_sparsity, at_macs = compare([90.0], mine, both(), 0.5)
    assert at_sparsity.answer is Answer.OUTSIDE and at_sparsity.difference is None
    assert at_sparsity.note == (
        "seeds 0, 1, 2 at 99.50 %, where STR's runs have 80.00 to 99.00; sparser STR runs would decide"
    )
    assert "0.01 million MACs, where STR's runs have 0.1 to 2; sparser" in at_macs.note
    assert exit_code([at_sparsity, at_macs], strict=True) == 4 and exit_code([at_sparsity, at_macs]) == 0


def test_a_seed_outside_is_left_out_and_named() -> None:
    mine = [run(92.0, 90.0, 0), run(92.0, 90.0, 1), run(92.0, 60.0, 2, macs=5.0)]
    at_sparsity, _ = compare([90.0], mine, both(), 0.5)
    assert at_sparsity.answer is Answer.BETTER and at_sparsity.seeds == (0, 1)
    assert "seed 2 at 60.00 %" in at_sparsity.note and "denser STR runs" in at_sparsity.note


def test_one_seed_is_not_enough_and_says_so() -> None:
    at_sparsity, _ = compare([90.0], [run(92.0, 90.0)], both(1), 0.5)
    assert at_sparsity.answer is Answer.TOO_FEW and at_sparsity.seeds_needed is None
    assert "one seed gives no interval" in at_sparsity.note
    assert at_sparsity.verdict == "not enough seeds"


def test_what_holds_in_several_regimes_is_said_once() -> None:
    regimes = compare([85.0, 90.0], [run(92.0, 85.0, regime=85.0), run(92.0, 90.0)], both(1), 0.5)
    assert [where for where, _ in notes(regimes)] == ["everywhere", "everywhere"]  # no interval, and no range
    regimes = compare([85.0, 90.0], [run(92.0, 85.0, regime=85.0)], both(1), 0.5)
    assert [(where, note[:12]) for where, note in notes(regimes)] == [
        ("85 % at equal sparsity, 85 % at equal MACs", "one seed of "),
        ("85 % at equal sparsity, 85 % at equal MACs", "one seed giv"),
        ("90 % at equal sparsity, 90 % at equal MACs", "no run"),
    ]


def test_a_run_without_accuracy_is_a_problem_that_names_its_seed() -> None:
    mine = [run(92.0, 90.0, 0), run(None, 90.0, 1, status="diverged"), run(50.0, 0.1, 2, status="not_sparse")]
    at_sparsity, at_macs = compare([90.0], mine, both(), 0.5)
    assert at_sparsity.notes[:2] == (
        "seed 1: the loss or the weights stopped being finite",
        "seed 2: pruned nothing (0.10 % sparse at the end)",
    )
    assert exit_code([at_sparsity, at_macs]) == 2
    failed = run(None, 90.0, 0, status="failed")
    at_sparsity, at_macs = compare([90.0], [failed], both(), 0.5, {failed.spec: "it died"})
    assert at_sparsity.answer is Answer.NO_RESULT and at_sparsity.note == "seed 0: it died"


def test_a_seed_that_str_has_not_finished_is_no_problem_of_the_method() -> None:
    theirs = [item for item in both() if item.seed < 2] + [run(None, 90.0, 2, status="diverged")]
    at_sparsity, at_macs = compare([90.0], [run(92.0, 90.0, seed) for seed in range(3)], theirs, 0.5)
    assert at_sparsity.seeds == (0, 1) and "seed 2: STR has no finished run" in at_sparsity.note
    assert exit_code([at_sparsity, at_macs]) == 0


@pytest.mark.parametrize(
    ("tops", "code"),
    [
        ([92.0, 92.0], 0),
        ([92.0, 90.1], 0),  # better, equivalent
        ([88.0, 92.0], 1),
        ([88.0, None], 1),  # worse in one is worse, whatever is undecided
        ([92.0, None], 4),
    ],
)
def test_exit_codes(tops: list[float | None], code: int) -> None:
    """None stands for a regime with seeds that contradict each other."""
    mine = []
    for regime, top1 in zip((85.0, 90.0), tops, strict=True):
        for seed in range(3):
            value = top1 + 0.01 * seed if top1 is not None else 90.0 + 4 * (seed - 1)
            mine.append(run(value, regime, seed, macs=10 * (1 - regime / 100), regime=regime))
    regimes = compare([85.0, 90.0], mine, both(), 0.5)
    assert exit_code(regimes, strict=True) == code
    assert exit_code(regimes) == (0 if code == 4 else code)


def test_equal_macs_decides_nothing_for_the_exit_code() -> None:
    mine = [run(88.0, 90.0, seed, macs=1.0) for seed in range(3)]
    theirs = [run(top1, s, seed, macs=m) for seed in range(3) for top1, s, m in ((88.0, 80.0, 2.0), (88.0, 99.0, 0.1))]
    theirs += [run(95.0, 70.0, seed, macs=0.5) for seed in range(3)]
    at_sparsity, at_macs = compare([90.0], mine, theirs, 0.5)
    assert at_macs.answer is Answer.WORSE and at_sparsity.answer is Answer.EQUIVALENT
    assert exit_code([at_sparsity, at_macs]) == 0


def test_runs_on_other_data_are_not_compared() -> None:
    theirs = [replace(item, dataset="cifar10") for item in both()]
    at_sparsity, _ = compare([90.0], [run(92.0, 90.0, seed) for seed in range(3)], theirs, 0.5)
    assert at_sparsity.answer is Answer.NO_RESULT
    assert at_sparsity.note == "seeds 0, 1, 2: STR has no finished run on the same data and machine"


def test_what_is_known_of_a_finished_run() -> None:
    known = {"status": "finished", "top1_pct": 90.0, "sparsity_pct": 80.0, "sparse_macs_m": None, "commit": "abc"}
    done, lost = measured([(80.0, SPEC), (90.0, replace(SPEC, seed=1))], {SPEC.name: known})
    assert (done.usable, done.top1_pct, done.macs_m, done.commit, done.torch) == (True, 90.0, None, "abc", "unknown")
    assert (lost.usable, lost.status, lost.seed, lost.regime_pct) == (False, "failed", 1, 90.0)


def test_numbers_as_csv() -> None:
    """A regime without a result has empty cells; a list of reasons is one cell."""
    text = csv_text(compare([90.0, 95.0], [run(92.0, 90.0, seed) for seed in range(2)], both(2), 0.5))
    header, first, *_, last = text.splitlines()
    assert header.split(",")[:3] == ["regime_pct", "at_equal", "seeds"] and len(text.splitlines()) == 5
    assert first == "90,sparsity,2,92.0000,90.0000,1.0000,90.0000,2.0000,2.0000,2.0000,0.0000,better,,"
    assert last == "95,MACs,0,,,,,,,,,no result,,no run"


def test_runs_of_another_machine_are_no_pair_unless_asked_for() -> None:
    mine = [replace(run(92.0, 90.0, seed), arithmetic="one", machine="one") for seed in range(3)]
    theirs = [replace(item, arithmetic="other", machine="other") for item in both()]
    at_sparsity, _ = compare([90.0], mine, theirs, 0.5)
    assert at_sparsity.answer is Answer.NO_RESULT and "same data and machine" in at_sparsity.notes[0]
    at_sparsity, _ = compare([90.0], mine, theirs, 0.5, across_machines=True)
    assert at_sparsity.answer is Answer.BETTER
    assert "of 2 machines, as far as results name them (one; other)" in cost_of_reuse([*mine, *theirs], [])
    assert "no run is there from both" in cost_of_reuse([*mine, *theirs], [])
    assert "2 runs trained here and committed differ by 1.00 points in the mean, and by up to 1.50" in cost_of_reuse(
        [*mine, *theirs], [0.5, 1.5]
    )
    here = [replace(item, origin="runs/") for item in mine]
    committed = [replace(item, origin="results/resnet50/smoke.csv (commit 1111111)") for item in mine]
    assert cost_of_reuse(here, [1.0]) == "" and "of one; whether of one machine" in cost_of_reuse(committed, [1.0])
    failed = run(None, 90.0, seed=3, status="failed")  # which is known from nowhere, and no part of a pair
    assert cost_of_reuse([*here, failed], [1.0]) == "" == cost_of_reuse([failed], [])
    of_lines = [replace(item, arithmetic="another name of one") for item in committed]
    assert "these runs are of one; whether of one machine" in cost_of_reuse([*here, *of_lines], [1.0])


def noisy(regime: float, differences: Sequence[float]) -> list[Measured]:
    macs = 10 * (1 - regime / 100)
    return [run(90.0 + d, regime, seed, macs, regime) for seed, d in enumerate(differences)]


def test_regimes_are_judged_together() -> None:
    """t = 1.1 / (0.3 / sqrt(3)) = 6.35, so that p = 0.0239 with 2 degrees of freedom; Holm multiplies the smallest of
    two by 2, and the smallest of three by 3. At equal MACs the same numbers are a family of their own.
    """
    clear = noisy(90.0, [0.8, 1.1, 1.4])
    open_ = [item for regime in (85.0, 95.0) for item in noisy(regime, [1.0, -1.0, 0.5])]
    for targets, p, answer in (
        ([90.0], 0.0239, Answer.BETTER),
        ([90.0, 85.0], 0.0478, Answer.BETTER),
        ([90.0, 85.0, 95.0], 0.0717, Answer.TOO_FEW),
    ):
        at_sparsity, at_macs, *_ = compare(targets, [*clear, *open_], both(), 0.0)
        assert at_sparsity.p == pytest.approx(p, abs=1e-4) == at_macs.p and at_sparsity.answer is answer
    assert at_sparsity.seeds_needed == seeds_needed(1.1, 0.3, 0.0, comparisons=3, above=3) == 4


def test_one_run_is_held_against_the_range_of_reseeding() -> None:
    """STR's three seeds have 90, 91 and 92 %: one more lies within 91 +- 4.30 * 1 * sqrt(4/3) = 86.03 to 95.97 %. Half
    way between two runs, in the logarithm of density, it may lie as far as 4.30 * 1 * sqrt(2 + 1/3) = 6.57 away.
    """
    theirs = [run(90.0 + seed, s, seed) for seed in range(3) for s in (80.0, 90.0, 99.0)]
    for top1, where in ((95.9, "within"), (96.1, "beyond"), (86.0, "beyond")):
        at_sparsity, _ = compare([90.0], [run(top1, 90.0)], theirs, 0.5)
        assert at_sparsity.answer is Answer.TOO_FEW
        expected = (
            f"{top1:.2f} % is {where} what reseeding STR gives, 86.03 to 95.97 % (95 % prediction interval from 3"
        )
        assert at_sparsity.notes[0].startswith(expected)
    half_way = 100.0 * (1.0 - (0.2 * 0.1) ** 0.5)
    at_sparsity, _ = compare([90.0], [run(97.0, half_way)], theirs, 0.5)
    assert at_sparsity.notes[0].startswith("97.00 % is within what reseeding STR gives, 84.43 to 97.57 %")


def test_one_run_of_str_gives_no_range_and_says_what_does() -> None:
    for at_one in compare([90.0], [run(92.0, 90.0)], both(1), 0.5):
        assert "one seed of STR gives no range of reseeding" in at_one.note and "SEEDS=3 (--seeds 3)" in at_one.note
    for at_one in compare([90.0], [run(92.0, 90.0)], both(2), 0.5):
        assert "no range" not in at_one.note and "prediction interval from 2 seeds" in at_one.note


def test_seeds_are_planned_from_the_spread_that_is_known() -> None:
    """Within each of two regimes a deviation of sqrt(2): that of a difference without anything in common is 2."""
    known = [run(80.0 + 2 * seed + regime, regime, seed, regime=regime) for regime in (80.0, 90.0) for seed in (0, 1)]
    text = plan(known, regimes=2, seeds=3, margin=1.0)
    assert f"spread by {2**0.5:.2f} points" in text
    assert f"3 seeds decide differences from {smallest_decided(2.0, 3, 2):.1f} points on" in text
    assert f"a difference of 1 takes {seeds_needed(1.0, 2.0, 0.0, 2)} seeds." in text
    assert "One seed decides nothing" in plan(known, 2, 1, 1.0)
    assert plan(known[:1], 2, 3, 1.0) == ""
