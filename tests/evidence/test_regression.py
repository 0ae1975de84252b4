"""The comparison with STR, on numbers small enough to do by hand."""

from __future__ import annotations

import math

import pytest

from paper_repro.evidence.regression import (
    Answer,
    Measured,
    at_cost,
    at_density,
    compare,
    exit_code,
    judge,
    pareto_front,
    seeds_needed,
)
from paper_repro.evidence.statistics import summarise
from paper_repro.workflows.regress import notes

# density, accuracy: half of the weights cost nothing, a tenth 2 points, a hundredth 6
DENSITIES = [(0.1, 88.0), (0.01, 84.0), (0.5, 90.0)]


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


def test_accuracy_is_linear_in_the_logarithm_of_density() -> None:
    assert at_density(DENSITIES, 0.1) == 88.0
    assert at_density(DENSITIES, math.sqrt(0.1 * 0.01)) == pytest.approx(86.0)  # halfway, in the logarithm
    assert at_density(DENSITIES, 0.2) == pytest.approx(88.0 + 2.0 * math.log(2) / math.log(5))


def test_nothing_is_extrapolated_but_the_last_run_holds_for_a_tenth_more() -> None:
    assert at_density(DENSITIES, 0.01 / 1.09) == 84.0
    assert at_density(DENSITIES, 0.01 / 1.11) is None
    assert at_density(DENSITIES, 0.5 * 1.09) == 90.0
    assert at_density(DENSITIES, 0.5 * 1.11) is None


def test_the_front_leaves_out_what_a_cheaper_run_reaches() -> None:
    points = [(4.0, 85.0), (1.0, 80.0), (2.0, 86.0), (2.0, 84.0), (8.0, 86.0)]
    assert pareto_front(points) == [(1.0, 80.0), (2.0, 86.0)]
    assert at_cost(points, math.sqrt(2.0)) == pytest.approx(83.0)
    assert at_cost(points, 5.0) == 86.0  # more than STR needs for it
    assert at_cost(points, 8.0 * 1.09) == 86.0
    assert at_cost(points, 8.0 * 1.11) is None
    assert at_cost(points, 1.0 / 1.11) is None


@pytest.mark.parametrize(
    ("differences", "answer"),
    [
        ([1.0, 1.2, 1.1], Answer.BETTER),
        ([-1.0, -1.2, -1.1], Answer.WORSE),
        ([0.1, -0.1, 0.0], Answer.EQUIVALENT),
        ([0.3, 0.31, 0.29], Answer.EQUIVALENT),  # above zero for sure, and within what does not matter
        ([2.0, -2.0, 0.5], Answer.TOO_FEW),
        ([3.0], Answer.TOO_FEW),
        ([0.5, 0.5], Answer.EQUIVALENT),  # the margin belongs to it
        ([0.6, 0.6], Answer.BETTER),
    ],
)
def test_verdicts(differences: list[float], answer: Answer) -> None:
    assert judge(summarise(differences), 0.5)[0] is answer


def test_without_a_margin_nothing_is_equivalent() -> None:
    assert judge(summarise([0.3, 0.31, 0.29]), 0.0)[0] is Answer.BETTER
    assert judge(summarise([0.1, -0.1, 0.0]), 0.0) == (Answer.TOO_FEW, None)  # a mean of zero never leaves out zero


def test_seeds_needed_by_hand() -> None:
    # half the width is t(n - 1) * sd / sqrt(n): at sd = 1, 1.2415 with 5 seeds (t = 2.7764), 1.0494 with 6 (t = 2.5706)
    assert seeds_needed(mean=1.1, sd=1.0, n=3, margin=0.0) == 6
    assert seeds_needed(mean=1.3, sd=1.0, n=3, margin=0.0) == 5
    assert seeds_needed(mean=0.0, sd=1.0, n=3, margin=1.25) == 5  # it would lie within the margin
    assert seeds_needed(mean=0.0, sd=1.0, n=3, margin=0.1) is None  # not with a hundred: 0.198
    assert judge(summarise([0.0, 1.0, 2.0]), 0.0) == (Answer.TOO_FEW, 7)  # sd = 1, t(6) = 2.4469: 0.9248 < 1


def test_pairs_are_compared_within_their_seed() -> None:
    """Seeds differ by 10 points, and the method is 1 point better on each: pairing is what shows it."""
    theirs = [run(80.0 + 10 * seed + lost, s, seed) for seed in (0, 1) for s, lost in ((80.0, 1.0), (95.0, -1.0))]
    mine = [run(81.0 + 10 * seed, 90.0, seed) for seed in (0, 1)]
    (regime,) = compare([90.0], mine, theirs, margin=0.25)
    between = math.log(0.10 / 0.05) / math.log(0.20 / 0.05) * 2.0 - 1.0  # of STR, relative to its mean
    assert regime.at_sparsity.difference is not None
    assert regime.at_sparsity.difference.mean == pytest.approx(1.0 - between)
    assert regime.at_sparsity.difference.sd == pytest.approx(0.0, abs=1e-9)
    assert regime.at_sparsity.answer is Answer.BETTER and regime.at_sparsity.seeds == (0, 1)
    assert regime.at_sparsity.str_top1_pct == pytest.approx(85.0 + between)


def both(seeds: int = 3) -> list[Measured]:
    """STR at 80 and 99 %, at the same accuracy."""
    return [run(90.0, s, seed, macs=10 * (1 - s / 100)) for seed in range(seeds) for s in (80.0, 99.0)]


def test_outside_the_range_there_is_no_verdict_but_what_would_decide() -> None:
    mine = [run(95.0, 99.5, seed, macs=0.01) for seed in range(3)]
    (regime,) = compare([90.0], mine, both(), 0.5)
    assert regime.at_sparsity.answer is Answer.OUTSIDE and regime.at_sparsity.difference is None
    assert regime.at_sparsity.note == (
        "seeds 0, 1, 2 at 99.50 %, where STR's runs have 80.00 to 99.00; sparser STR runs would decide"
    )
    assert "0.01 million MACs, where STR's runs have 0.1 to 2; sparser" in regime.at_macs.note
    assert exit_code([regime], strict=True) == 4 and exit_code([regime]) == 0


def test_a_seed_outside_is_left_out_and_named() -> None:
    mine = [run(92.0, 90.0, 0), run(92.0, 90.0, 1), run(92.0, 60.0, 2, macs=5.0)]
    (regime,) = compare([90.0], mine, both(), 0.5)
    assert regime.at_sparsity.answer is Answer.BETTER and regime.at_sparsity.seeds == (0, 1)
    assert "seed 2 at 60.00 %" in regime.at_sparsity.note and "denser STR runs" in regime.at_sparsity.note


def test_one_seed_is_not_enough_and_says_so() -> None:
    (regime,) = compare([90.0], [run(92.0, 90.0)], both(1), 0.5)
    assert regime.at_sparsity.answer is Answer.TOO_FEW and regime.at_sparsity.seeds_needed is None
    assert "one seed gives no interval" in regime.at_sparsity.note
    assert regime.at_sparsity.verdict == "not enough seeds"


def test_what_holds_in_several_regimes_is_said_once() -> None:
    regimes = compare([85.0, 90.0], [run(92.0, 85.0, regime=85.0), run(92.0, 90.0)], both(1), 0.5)
    assert [where for where, _ in notes(regimes)] == ["everywhere"]
    regimes = compare([85.0, 90.0], [run(92.0, 85.0, regime=85.0)], both(1), 0.5)
    assert [(where, note[:8]) for where, note in notes(regimes)] == [
        ("85 % at equal sparsity, 85 % at equal MACs", "one seed"),
        ("90 % at equal sparsity, 90 % at equal MACs", "no run"),
    ]


def test_a_run_without_accuracy_is_a_problem_that_names_its_seed() -> None:
    mine = [run(92.0, 90.0, 0), run(None, 90.0, 1, status="diverged"), run(50.0, 0.1, 2, status="not_sparse")]
    (regime,) = compare([90.0], mine, both(), 0.5)
    assert regime.problems == (
        "seed 1: the loss or the weights stopped being finite",
        "seed 2: pruned nothing (0.10 % sparse at the end)",
    )
    assert exit_code([regime]) == 2
    failed = run(None, 90.0, 0, status="failed")
    (regime,) = compare([90.0], [failed], both(), 0.5, {failed.spec: "it died"})
    assert regime.at_sparsity.answer is Answer.NO_RESULT and regime.at_sparsity.note == "seed 0: it died"


def test_a_seed_that_str_has_not_finished_is_no_problem_of_the_method() -> None:
    theirs = [item for item in both() if item.seed < 2] + [run(None, 90.0, 2, status="diverged")]
    (regime,) = compare([90.0], [run(92.0, 90.0, seed) for seed in range(3)], theirs, 0.5)
    assert regime.at_sparsity.seeds == (0, 1) and "seed 2: STR has no finished run" in regime.at_sparsity.note
    assert exit_code([regime]) == 0


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
    (regime,) = compare([90.0], mine, theirs, 0.5)
    assert regime.at_macs.answer is Answer.WORSE and regime.at_sparsity.answer is Answer.EQUIVALENT
    assert exit_code([regime]) == 0
