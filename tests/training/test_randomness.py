"""Random states: everything that a model, a method or a data set may draw from is seeded, saved and brought back."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from paper_repro.training import randomness, saved_state


def drawn() -> list[float]:
    return [torch.rand(1).item(), random.random(), np.random.rand()]  # noqa: NPY002


def test_a_checkpoint_has_every_state(tmp_path: Path) -> None:
    drawn()
    saved_state.save(tmp_path, 1, randomness.state())
    expected = drawn()
    drawn()
    states = saved_state.load(tmp_path)
    assert states is not None
    randomness.restore(states)
    assert drawn() == pytest.approx(expected, abs=0.0)


def test_a_seed_is_for_all_generators_and_may_be_large() -> None:
    found = []
    for seed in (7, 8, 7, 7 + 2**32):
        randomness.seed(seed)
        found.append(drawn())
    assert found[0] == found[2]
    assert all(one != other for one, other in zip(found[0], found[1], strict=True))


def test_states_of_earlier_versions_are_of_torch_alone() -> None:
    states = {"torch": torch.get_rng_state()}
    expected = torch.rand(1)
    randomness.restore(states)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.gpu
def test_the_gpu_has_a_state_too() -> None:
    states = randomness.state()
    expected = torch.rand(1, device="cuda")
    randomness.restore(states)
    assert torch.equal(torch.rand(1, device="cuda"), expected)
