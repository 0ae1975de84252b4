"""The rates of all steps together are those of each step."""

from __future__ import annotations

from dataclasses import replace

import pytest

from paper_repro.training.schedule import learning_rate, learning_rates
from tests.training.tiny import SPEC


@pytest.mark.parametrize("schedule", ["epoch", "step", "drop"])
def test_the_rates_of_all_steps(schedule: str) -> None:
    spec = replace(SPEC, epochs=6, warmup_epochs=0 if schedule == "drop" else 2, schedule=schedule)
    assert list(learning_rates(spec, 5)) == [learning_rate(spec, step, 5) for step in range(30)]
    assert len(set(learning_rates(spec, 5))) > 1
