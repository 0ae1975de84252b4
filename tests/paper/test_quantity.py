from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paper_repro.paper.quantity import parse
from paper_repro.verdict import PRECEDENCE, Verdict, worst


@pytest.mark.parametrize(
    ("text", "value", "half_unit"),
    [
        ("1.23G", 1230.0, 5.0),
        ("766M", 766.0, 0.5),
        ("41K", 0.041, 0.0005),
        ("5.12", 5.12, 0.005),
        ("0.00", 0.0, 0.005),
        ("82", 82.0, 0.5),
        ("~600M", 600.0, 50.0),
        ("~50", 50.0, 5.0),
        ("-3200", -3200.0, 0.5),
    ],
)
def test_value_and_half_unit(text: str, value: float, half_unit: float) -> None:
    quantity = parse(text)
    assert (quantity.value, quantity.text) == (pytest.approx(value), text)
    assert quantity.half_unit == pytest.approx(half_unit)


@pytest.mark.parametrize(
    "text", ["", "nan", "NaN", "inf", "1,014.45", "5.12M FLOPs", "1e3", "--1", "5.", ".5", " 5", "∼600M"]
)
def test_not_a_printed_number(text: str) -> None:
    with pytest.raises(ValueError, match="is not a number as printed"):
        parse(text)


def test_matches_is_rounding() -> None:
    printed = parse("766M")
    assert printed.matches(766.4999)
    assert printed.matches(765.5)
    assert not printed.matches(766.536)
    assert printed.excess(766.536) == pytest.approx(0.036, abs=1e-5)
    assert printed.excess(766.2) == 0.0


@given(st.floats(0.0, 100.0), st.integers(0, 4))
def test_every_number_matches_its_own_rounding(x: float, decimals: int) -> None:
    assert parse(f"{x:.{decimals}f}").matches(x)


def test_worst_verdict() -> None:
    assert sorted(Verdict) == sorted(PRECEDENCE)
    assert worst([]) is Verdict.MISSING
    assert worst([Verdict.PASS]) is Verdict.PASS
    assert worst([Verdict.PASS, Verdict.INCONCLUSIVE]) is Verdict.INCONCLUSIVE
    assert worst([Verdict.INCONCLUSIVE, Verdict.ERRATUM]) is Verdict.INCONCLUSIVE
    assert worst([Verdict.ERRATUM, Verdict.MISSING]) is Verdict.MISSING
    assert worst(Verdict) is Verdict.FAIL
