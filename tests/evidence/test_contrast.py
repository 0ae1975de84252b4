"""The one comparison, on numbers small enough to do by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from paper_repro.evidence.contrast import (
    MEASURES,
    Answer,
    At,
    Network,
    contrast,
    counterpart,
    judge,
    pareto_front,
)
from paper_repro.evidence.statistics import summarise


def network(top1_pct: float, density: float = 0.1, macs_m: float = 1.0, seed: int = 0, data: str = "a") -> Network:
    return Network(seed, data, top1_pct, density, macs_m)


# half of the weights cost nothing, a tenth 2 points, a hundredth 6
BY_DENSITY = [network(88.0, 0.1, 10.0), network(84.0, 0.01, 1.0), network(90.0, 0.5, 50.0)]


def accuracy_at(density: float) -> float | None:
    there = counterpart(network(0.0, density), BY_DENSITY, At.SPARSITY)
    return None if there is None else there.top1_pct


def test_at_equal_sparsity_accuracy_is_linear_in_the_logarithm_of_density() -> None:
    assert accuracy_at(0.1) == 88.0
    assert accuracy_at(math.sqrt(0.1 * 0.01)) == pytest.approx(86.0)  # halfway, in the logarithm
    assert accuracy_at(0.2) == pytest.approx(88.0 + 2.0 * math.log(2) / math.log(5))


def test_at_equal_sparsity_macs_are_a_power_of_density() -> None:
    """Here 100 times the density, as under a uniform budget, also between two networks."""
    there = counterpart(network(0.0, 0.03, 7.0), BY_DENSITY, At.SPARSITY)
    assert there is not None and there.macs_m == pytest.approx(3.0)


def test_nothing_is_extrapolated_but_the_last_network_holds_for_a_tenth_more() -> None:
    assert accuracy_at(0.01 / 1.09) == 84.0
    assert accuracy_at(0.01 / 1.11) is None
    assert accuracy_at(0.5 * 1.09) == 90.0
    assert accuracy_at(0.5 * 1.11) is None
    assert accuracy_at(0.0) is None


def test_what_is_read_off_between_two_runs_varies_less_than_one() -> None:
    """Independent runs, weighted by a half each, or by 1/4 and 3/4; at a run and beyond the outermost, one."""

    def variance(at: At, density: float = 0.1, macs_m: float = 1.0) -> float:
        others = BY_DENSITY if at is At.SPARSITY else BY_MACS
        there = counterpart(network(0.0, density, macs_m), others, at)
        assert there is not None
        return there.relative_variance

    assert variance(At.SPARSITY, math.sqrt(0.1 * 0.01)) == pytest.approx(0.5)
    assert variance(At.SPARSITY, 0.1 * 10**-0.25) == pytest.approx((1 + 9) / 16)
    assert [variance(At.SPARSITY, density) for density in (0.1, 0.01 / 1.09, 0.5 * 1.09)] == pytest.approx([1.0] * 3)
    assert variance(At.MACS, macs_m=math.sqrt(2.0)) == pytest.approx(0.5)
    assert [variance(At.MACS, macs_m=macs_m) for macs_m in (2.0, 5.0, 8.0 * 1.09)] == pytest.approx([1.0] * 3)


def test_a_network_without_a_weight_is_none_to_read_off_at() -> None:
    there = counterpart(network(0.0, 0.1), [*BY_DENSITY, network(10.0, 0.0, 0.0)], At.SPARSITY)
    assert there is not None and there.top1_pct == 88.0


BY_MACS = [network(y, macs_m=x) for x, y in ((4.0, 85.0), (1.0, 80.0), (2.0, 86.0), (2.0, 84.0), (8.0, 86.0))]


def test_at_equal_macs_the_front_leaves_out_what_a_cheaper_network_reaches() -> None:
    def at(macs_m: float) -> float | None:
        there = counterpart(network(0.0, macs_m=macs_m), BY_MACS, At.MACS)
        return None if there is None else there.top1_pct

    assert pareto_front((n.macs_m, n.top1_pct) for n in BY_MACS) == [(1.0, 80.0), (2.0, 86.0)]
    assert at(math.sqrt(2.0)) == pytest.approx(83.0)
    assert at(5.0) == 86.0  # more than is needed for it
    assert at(8.0 * 1.09) == 86.0
    assert at(8.0 * 1.11) is None
    assert at(1.0 / 1.11) is None


@pytest.mark.parametrize("at", [0, 1, 5])
def test_a_network_whose_macs_are_not_known_changes_nothing_wherever_it_stands(at: int) -> None:
    others = [*BY_MACS[:at], network(90.0, macs_m=math.nan), *BY_MACS[at:]]
    for macs_m in (1.0, 3.0, 8.0):
        there = counterpart(network(0.0, macs_m=macs_m), others, At.MACS)
        assert there == counterpart(network(0.0, macs_m=macs_m), BY_MACS, At.MACS) is not None


def test_equal_accuracy_is_equal_macs_read_the_other_way_round() -> None:
    there = counterpart(network(83.0, macs_m=2.0), BY_MACS, At.ACCURACY)
    assert there is not None and there.macs_m == pytest.approx(math.sqrt(2.0))
    assert MEASURES["macs_saved_pct"](there, network(83.0, macs_m=2.0)) == pytest.approx(100 * (1 - math.sqrt(0.5)))
    assert counterpart(network(79.9), BY_MACS, At.ACCURACY) is None
    assert counterpart(network(86.1), BY_MACS, At.ACCURACY) is None


def test_the_front_is_told_by_the_other_seeds() -> None:
    """Seed 0 was lucky with its cheap network. In the other seeds the dear row is the better one. So it counts in seed
    0 too, with its own accuracy there. Of a single seed there is nothing else to go by.
    """
    accuracies = {0: (90.0, 88.0), 1: (86.0, 88.0), 2: (87.0, 89.0)}
    every = [
        replace(network(top1_pct, macs_m=macs, seed=seed), row=row)
        for seed, pair in accuracies.items()
        for top1_pct, (row, macs) in zip(pair, (("cheap", 1.0), ("dear", 4.0)), strict=True)
    ]
    of_seed = [other for other in every if other.seed == 0]
    # at twice the MACs: halfway between the two, or the cheap one alone
    for others, expected in ((every, 89.0), (of_seed, 90.0)):
        (pair,) = contrast([network(0.0, macs_m=2.0)], others, At.MACS).pairs
        assert pair[1].top1_pct == pytest.approx(expected)
    elsewhere = [replace(other, arithmetic="another machine") for other in every if other.seed != 0]
    (pair,) = contrast([network(0.0, macs_m=2.0)], [*of_seed, *elsewhere], At.MACS).pairs
    assert pair[1].top1_pct == 90.0


def test_networks_are_compared_within_their_seed() -> None:
    """Seeds differ by 10 points, and ours is 1 point ahead on each: pairing is what shows it."""
    theirs = [network(80.0 + 10 * seed, density, seed=seed) for seed in (0, 1, 5) for density in (0.2, 0.05)]
    compared = contrast([network(81.0 + 10 * seed, seed=seed) for seed in (1, 0, 2)], theirs, At.SPARSITY)
    difference = compared.difference()
    assert difference is not None and (difference.mean, difference.sd, difference.n) == (1.0, 0.0, 2)
    assert [ours.seed for ours, _ in compared.pairs] == [0, 1]
    assert [alone.seed for alone in compared.alone] == [2]
    back = compared.swapped().difference()
    assert back is not None and back.mean == -1.0


def test_unlike_data_are_never_compared() -> None:
    """Neither row against row nor read off; where half of the other side is of other data, only the rest counts."""
    for at in At:
        assert contrast([network(81.0)], [network(80.0, data="b")], at).difference() is None
    compared = contrast([network(81.0)], [network(80.0), network(10.0, data="b")], At.SPARSITY)
    assert compared.difference() == summarise([1.0])


def test_a_network_outside_of_the_range_is_named_and_not_compared() -> None:
    compared = contrast([network(99.0, 0.9), network(89.0)], BY_DENSITY, At.SPARSITY)
    assert [outside.density for outside in compared.outside] == [0.9]
    assert compared.difference() == summarise([1.0])


def test_a_ratio_that_is_not_known_is_not_a_number() -> None:
    compared = contrast([network(81.0, macs_m=math.nan)], [network(80.0)], At.ROW)
    assert math.isnan(compared.ratio("macs_m")) and compared.ratio("density") == 1.0
    assert math.isnan(replace(compared, pairs=()).ratio("density"))


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
def test_what_an_interval_says(differences: list[float], answer: Answer) -> None:
    assert judge(summarise(differences), 0.5) is answer


def test_without_a_margin_nothing_is_equivalent() -> None:
    assert judge(summarise([0.3, 0.31, 0.29])) is Answer.BETTER
    assert judge(summarise([0.1, -0.1, 0.0])) is Answer.TOO_FEW
