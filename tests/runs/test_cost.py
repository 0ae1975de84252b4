"""What runs cost: measured where that is sensible, else from the reference; and the limit."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from torch import nn

from paper_repro import tables
from paper_repro.errors import UserError
from paper_repro.runs import cost as costs
from paper_repro.runs.cost import Cost, Rate, cost, faster_in_float32, hours_text, rate_of, require_affordable
from paper_repro.spec import Spec
from tests.training.tiny import RANKS, SPEC

FULL = tables.load("resnet50").specs("paper", [0])[0][1]


@pytest.fixture(autouse=True)
def without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def test_a_network_of_full_size_is_costed_by_the_reference() -> None:
    whole = cost(FULL)
    assert whole.images == 1_281_167 * 100 and whole.rate.unit == "GPU" and "A100" in whole.rate.source
    assert whole.hours == pytest.approx(100 * (1_281_167 + 50_000 / 3) / 938 / 3600)
    assert whole.checkpoints_mb == pytest.approx(3 * 8 * 25.556032)  # weights, momentum and batch norm's parameters
    assert cost(replace(FULL, optimizer="adam")).checkpoints_mb == pytest.approx(1.5 * whole.checkpoints_mb)
    narrow = cost(replace(FULL, model="mobilenet_v1"))
    assert narrow.hours / whole.hours == pytest.approx(568_740_352 / 4_089_184_256)


@pytest.mark.parametrize("spec", [SPEC, replace(RANKS, dataset="watch")], ids=["images", "sequences"])
def test_a_small_network_is_measured(spec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, "MEASURED_S", 0.01)
    costs._measured.cache_clear()
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    found = cost(spec)
    assert found.rate.unit == "core" and 0 < found.hours < 24 and found.rate.per_s > 1
    assert torch.get_num_threads() == threads and torch.equal(torch.get_rng_state(), state)
    monkeypatch.setattr(costs, "_seconds_per_step", None)  # is not asked again
    assert rate_of(replace(spec, seed=3)).per_s == found.rate.per_s
    costs._measured.cache_clear()


def test_it_is_measured_as_the_run_would_be_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    """In its precision and memory format, on one thread, by batches that are not too large for a core."""
    asked: list[tuple] = []

    def seconds(network: nn.Module, facts: object, autocast: str, batch: int, device: torch.device) -> float:
        weights = [weight for weight in network.parameters() if weight.ndim == 4 and min(weight.shape) > 1]
        ordered = all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)
        asked.append((autocast, ordered, batch, torch.get_num_threads()))
        return 0.5

    monkeypatch.setattr(costs, "_seconds_per_step", seconds)
    costs._measured.cache_clear()
    torch.set_num_threads(2)
    try:
        assert rate_of(replace(SPEC, batch_size=1000)).per_s == costs.CPU_BATCH / 0.5
        rate_of(replace(SPEC, autocast="bf16", channels_last=True))
    finally:
        torch.set_num_threads(1)
        costs._measured.cache_clear()
    assert asked == [("", False, costs.CPU_BATCH, 1), ("bf16", True, SPEC.batch_size, 1)]


def test_what_a_processor_without_fast_bf16_does_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sentence for a network, however many runs; none where bf16 is the faster, or nothing was measured."""
    low = replace(SPEC, autocast="bf16")
    seconds = {"": 0.2, "bf16": 1.2}
    monkeypatch.setattr(costs, "_seconds_per_step", lambda _network, _facts, autocast, *_: seconds[autocast])

    def advice(*specs: Spec) -> list[str]:
        costs._measured.cache_clear()
        try:
            return faster_in_float32(specs)
        finally:
            costs._measured.cache_clear()

    (sentence,) = advice(low, replace(low, seed=1), SPEC)
    assert "takes 6.0 times as long as in float32" in sentence and "--autocast float32" in sentence
    assert advice(SPEC) == advice(replace(FULL, autocast="bf16")) == []
    seconds["bf16"] = 0.25
    assert advice(low) == []
    seconds["bf16"] = 1.2
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert advice(low) == []


def test_steps_are_measured_in_the_precision_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    entered: list[str] = []
    monkeypatch.setattr("paper_repro.training.step.precision", lambda name, _: entered.append(name) or nullcontext())
    monkeypatch.setattr(costs, "MEASURED_S", 0.01)
    costs._measured.cache_clear()
    rate_of(replace(SPEC, autocast="bf16"))
    costs._measured.cache_clear()
    assert set(entered) == {"bf16"}


def test_a_batch_too_large_for_the_memory_is_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    def seconds(network: nn.Module, facts: object, autocast: str, batch: int, device: torch.device) -> float:
        if batch > fits:
            raise torch.cuda.OutOfMemoryError
        return 0.5

    monkeypatch.setattr(costs, "_seconds_per_step", seconds)
    costs._measured.cache_clear()
    fits = 20
    assert rate_of(replace(SPEC, batch_size=64)).per_s == 16 / 0.5
    costs._measured.cache_clear()
    fits = 0
    with pytest.raises(UserError, match="not even one example of resnet18"):
        rate_of(replace(SPEC, batch_size=64))


def test_what_is_done_is_not_to_do() -> None:
    assert cost(FULL, done=0.25).hours_to_do == pytest.approx(0.75 * cost(FULL).hours)


def test_hours_are_never_a_power_of_ten() -> None:
    hours = (0.0, 0.07616, 38.44, 99.94, 99.96, 1575.3)
    assert [hours_text(value) for value in hours] == ["0", "0.0762", "38.4", "99.9", "100", "1,575"]


def priced(hours: float, done: float = 0.0, unit: str = "GPU") -> Cost:
    return Cost(1, 1.0, hours, done, Rate(1.0, unit, "made up"))


def test_the_limit_counts_what_is_to_do() -> None:
    require_affordable([priced(100.0)], None)
    require_affordable([priced(3.0), priced(100.0, done=1.0), priced(4.0, done=0.5)], 5.0)
    with pytest.raises(UserError, match=r"the 2 runs to do take about 5 GPU-hours, more than the 4\.9"):
        require_affordable([priced(3.0), priced(100.0, done=1.0), priced(4.0, done=0.5)], 4.9)
    with pytest.raises(UserError, match="core-hours"):
        require_affordable([priced(3.0, unit="core")], 0.0)


@pytest.mark.gpu
def test_measured_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    found = cost(SPEC)
    assert found.rate.unit == "GPU" and torch.cuda.get_device_name() in found.rate.source
