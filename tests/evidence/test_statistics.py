from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from paper_repro.errors import UserError
from paper_repro.evidence.statistics import (
    PERCENT,
    POWER,
    apart_by_reseeding,
    chance_to_decide,
    holm,
    paired_difference,
    pooled_sd,
    seeds_needed,
    smallest_decided,
    summarise,
)


def test_interval_is_students() -> None:
    values = [88.9, 89.3, 89.1, 88.7]
    summary = summarise(values)
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert (summary.low, summary.high) == pytest.approx((low, high))
    assert summary.sd == pytest.approx(np.std(values, ddof=1))
    assert summary.text() == f"89.00 [{low:.2f}, {high:.2f}] (n = 4)"


def test_one_value_has_no_interval() -> None:
    summary = summarise([89.0])
    assert (summary.sd, summary.low, summary.high) == (None, None, None)
    assert summary.text() == "89.00 (n = 1)"
    assert summarise([72.65, 94.57]).text(within=PERCENT) == "83.61 [0.00, 100.00] (n = 2)"


@pytest.mark.parametrize("values", [[], [float("nan")], [1.0, float("inf")]])
def test_nothing_and_infinity_have_no_mean(values: list[float]) -> None:
    with pytest.raises(UserError, match="finite"):
        summarise(values)


def test_paired_difference_is_the_paired_t_test() -> None:
    a, b = {0: 88.1, 1: 88.9, 2: 88.4}, {0: 87.5, 1: 88.0, 2: 88.1, 7: 12.0}
    difference = paired_difference(a, b)
    assert difference is not None and difference.n == 3
    expected = stats.ttest_rel([a[0], a[1], a[2]], [b[0], b[1], b[2]])
    low, high = expected.confidence_interval(0.95)
    assert difference.p == pytest.approx(expected.pvalue)
    assert (difference.low, difference.high) == pytest.approx((low, high))
    assert difference.signed() == f"+0.60 [{low:+.2f}, {high:+.2f}]"


def test_paired_difference_without_spread_or_common_seed_has_no_p() -> None:
    assert paired_difference({0: 1.0}, {1: 1.0}) is None
    one = paired_difference({0: 2.0}, {0: 1.0})
    same = paired_difference({0: 2.1, 1: 3.1}, {0: 1.0, 1: 2.0})
    assert one is not None
    assert same is not None
    assert (one.p, one.low, one.signed()) == (None, None, "+1.00")
    assert same.p is None


def test_a_constant_shifts_mean_and_interval() -> None:
    values = [88.9, 89.3, 89.1]
    assert summarise(values).plus(-80.0).text() == summarise(value - 80.0 for value in values).text()
    assert summarise([1.0]).plus(0.5).text() == "1.50 (n = 1)"


def test_p_values_are_those_of_the_t_test_and_of_two_one_sided_tests() -> None:
    values, margin = [0.1, 0.4, -0.2, 0.3], 0.8
    differs, equivalent = summarise(values).p_values(margin)
    one_sided = (
        stats.ttest_1samp(values, -margin, alternative="greater").pvalue,
        stats.ttest_1samp(values, margin, alternative="less").pvalue,
    )
    assert differs == pytest.approx(stats.ttest_1samp(values, 0.0).pvalue)
    assert equivalent == pytest.approx(2 * max(one_sided))
    assert summarise([2.0, 2.0]).p_values(0.5) == (0.0, 1.0) and summarise([0.0, 0.0]).p_values(0.5) == (1.0, 0.0)


def test_holm_by_hand() -> None:
    """Holm's own steps: 0.01 by 4, 0.015 by 3, 0.03 by 2, 0.04 by 1, and none smaller than the one before it."""
    assert holm([0.03, 0.01, 0.04, 0.015]) == pytest.approx([0.06, 0.04, 0.06, 0.045])
    assert holm([0.6, 0.7]) == [1.0, 1.0] and holm([0.02]) == [0.02] and holm([]) == []


def test_one_more_run_of_the_same_kind() -> None:
    """90, 91, 92: t(2) = 4.3027 at 97.5 %, and 1 * sqrt(1 + 1/3); of means of two runs each, 1 * sqrt(2 + 1/3)."""
    three = summarise([90.0, 91.0, 92.0])
    assert three.of_one_more() == pytest.approx((91 - 4.96833, 91 + 4.96833), abs=1e-4)
    assert three.of_one_more(0.5) == pytest.approx((91 - 6.57245, 91 + 6.57245), abs=1e-4)
    assert summarise([90.0]).of_one_more() is None


def test_spread_within_groups_alone() -> None:
    assert pooled_sd([[1.0, 3.0], [100.0, 102.0, 104.0], [7.0]]) == pytest.approx(np.sqrt((2 + 8) / 3))
    assert pooled_sd([[1.0], []]) is None


def test_two_runs_lie_apart_by_as_much_as_their_spread_explains() -> None:
    """Drawn: as many pairs lie within it as it says, though the spread is estimated from four runs."""
    drawn = np.random.default_rng(0).normal(size=(4000, 6))
    apart = [apart_by_reseeding([run[:2], run[2:4]]) for run in drawn]
    assert np.mean(np.abs(drawn[:, 4] - drawn[:, 5]) <= np.array(apart)) == pytest.approx(0.95, abs=0.015)
    assert apart_by_reseeding([[1.0]]) is None


@pytest.mark.parametrize(("difference", "n"), [(1.0, 4), (2.5, 3), (0.3, 20)])
def test_the_chance_to_decide_is_the_power_of_the_t_test(difference: float, n: int) -> None:
    """By the noncentral t distribution: the mean of n at a deviation of 1, beyond its critical value on either side."""
    critical = stats.t.ppf(1 - 0.05 / 4 / 2, n - 1)
    power = stats.nct.sf(critical, n - 1, difference * np.sqrt(n)) + stats.nct.cdf(
        -critical, n - 1, difference * np.sqrt(n)
    )
    assert chance_to_decide(difference, 1.0, n, margin=0.0, comparisons=4) == pytest.approx(power, abs=2e-3)


def test_numbers_of_seeds_that_decide() -> None:
    """Textbook: 34 pairs show half a standard deviation with 80 %, 10 a whole one (two-sided, 5 %)."""
    assert seeds_needed(0.5, 1.0, 0.0) == 34 and seeds_needed(1.0, 1.0, 0.0) == 10
    assert seeds_needed(1.0, 1.0, 0.0, above=20) == 21
    assert seeds_needed(0.05, 1.0, 0.0) is None
    assert seeds_needed(0.0, 1.0, 0.0) is None and seeds_needed(0.0, 1.0, 1.0) == 12
    assert chance_to_decide(smallest_decided(2.0, 3, 5), 2.0, 3, 0.0, 5) == pytest.approx(POWER, abs=0.01)
