from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from paper_repro.errors import UserError
from paper_repro.evidence.statistics import paired_difference, summarise


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
