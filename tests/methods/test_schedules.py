"""Schedules, by hand."""

from __future__ import annotations

import pytest

from paper_repro.errors import UserError
from paper_repro.methods.schedules import CosineDecay, Cubic, CubicThenHold, Hold, Schedule


def begun(schedule: Schedule, steps: int) -> dict[int, float]:
    """Step -> value of the stage that begins there."""
    values = {step: schedule.starting(step, steps) for step in range(steps)}
    return {step: value for step, value in values.items() if value is not None}


def test_cubic_by_hand() -> None:
    schedule = Cubic(0.2, 0.8, 60)
    assert schedule.stage(0.1) == 0 and schedule.stage(0.5) == 30 and schedule.stage(0.8) == schedule.stage(0.95) == 60
    assert schedule.value(30) == pytest.approx(0.875) and schedule.value(60) == 1.0
    assert begun(schedule, 10) == {
        step: pytest.approx(1 - (1 - k) ** 3)
        for step, k in {3: 1 / 6, 4: 1 / 3, 5: 1 / 2, 6: 2 / 3, 7: 5 / 6, 8: 1}.items()
    }


@pytest.mark.parametrize("kind", [Cubic, CubicThenHold])
def test_the_target_is_reached_by_the_last_step_at_the_latest(kind: type[Cubic]) -> None:
    assert begun(kind(0.0, 1.0, 2), 10) == {5: pytest.approx(0.875), 9: 1.0}
    assert begun(kind(0.2, 1.0, 1), 10) == {9: 1.0}
    assert begun(kind(0.2, 0.8, 60), 1) == {0: 1.0}


def test_hold_goes_on_after_the_cubic_has_ended() -> None:
    assert max(begun(Cubic(0.0, 0.5, 10), 100)) == 50
    ten_more = begun(CubicThenHold(0.0, 0.5, 10), 100)
    assert list(ten_more) == list(range(5, 100, 5))
    assert ten_more[50] == ten_more[95] == 1.0 and ten_more[25] == pytest.approx(0.875)


def test_hold_begins_with_the_first_step() -> None:
    assert begun(Hold(0.0, 1.0, 4, 0.3), 8) == {0: 0.3, 2: 0.3, 4: 0.3, 6: 0.3}


def test_cosine_decays_to_nothing() -> None:
    values = begun(CosineDecay(0.0, 1.0, 4, 0.4), 100)
    assert list(values) == [25, 50, 75]
    assert list(values.values()) == pytest.approx([0.2 * (1 + 0.5**0.5), 0.2, 0.2 * (1 - 0.5**0.5)])


def test_more_updates_than_steps_is_one_at_every_step() -> None:
    assert len(begun(Hold(0.0, 1.0, 1000), 50)) == 50


@pytest.mark.parametrize("start, end, updates", [(0.5, 0.5, 3), (-0.1, 1.0, 3), (0.0, 1.1, 3), (0.0, 1.0, 0)])
def test_a_schedule_out_of_range_says_so(start: float, end: float, updates: int) -> None:
    with pytest.raises(UserError, match="runs from start to end"):
        Cubic(start, end, updates)
