"""The rates of all steps together are those of each step."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from paper_repro.training.schedule import learning_rate, learning_rates
from tests.training.tiny import SPEC


@pytest.mark.parametrize("schedule", ["epoch", "step", "drop", "drops"])
def test_the_rates_of_all_steps(schedule: str) -> None:
    spec = replace(SPEC, epochs=6, warmup_epochs=0 if schedule.startswith("drop") else 2, schedule=schedule)
    assert list(learning_rates(spec, 5)) == [learning_rate(spec, step, 5) for step in range(30)]
    assert len(set(learning_rates(spec, 5))) > 1


@pytest.mark.parametrize(("epochs", "drops_at"), [(160, (80, 120)), (9, (4, 6))])
def test_two_drops_are_those_of_torch(epochs: int, drops_at: tuple[int, int]) -> None:
    """As GraNet's code has them for CIFAR: torch's MultiStepLR at int(E / 2) and int(3 E / 4), a step each epoch."""
    spec = replace(SPEC, epochs=epochs, warmup_epochs=0, lr=0.1, schedule="drops")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=list(drops_at), gamma=0.1)
    expected = []
    for _ in range(epochs):
        expected += 3 * scheduler.get_last_lr()
        optimizer.step()
        scheduler.step()
    assert list(learning_rates(spec, 3)) == pytest.approx(expected, rel=1e-12)
