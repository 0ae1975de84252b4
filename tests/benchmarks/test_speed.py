"""What the methods cost: STR's operator at full ResNet50 size, each method's training step against the dense one, and
FastGRNN's recurrence; and what reads images. Run with ``make bench``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from paper_repro import methods, models
from paper_repro.data.readers.optional import missing
from paper_repro.methods import METHODS
from paper_repro.methods.soft_threshold import soft_threshold
from tests.benchmarks.reading import reader, written
from tests.benchmarks.timing import label, taking_turns
from tests.method_arguments import arguments
from tests.reference import fastgrnn as one_step_at_a_time
from tests.reference.soft_threshold import soft_threshold as plain

pytestmark = pytest.mark.benchmark
WEIGHTS = 25_502_912
# thresholds that prune about a third, so that what is timed is a network in the middle of its training
LEARNT = {"s_init": -4.0}
SPARSE = [name for name, entry in METHODS.items() if name != "dense" and entry.drops == "weights"]
ARGUMENTS: dict[str, dict[str, Any]] = {
    name: LEARNT if name.startswith("str") else arguments(name) for name in ("dense", *SPARSE)
}
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here"))]


@pytest.mark.parametrize("name, function", [("plain", plain), ("fused", soft_threshold)])
def test_operator(benchmark, name: str, function: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Forward and backward over as many weights as ResNet50 has, on one CPU thread."""
    label(benchmark, f"soft threshold, {WEIGHTS / 1e6:.1f} M weights", name, name == "plain", at_most=0.25)
    generator = torch.Generator().manual_seed(0)
    weight = (torch.randn(WEIGHTS, generator=generator) * 0.02).requires_grad_()
    s = torch.tensor(-5.0, requires_grad=True)
    grad = torch.randn(WEIGHTS, generator=generator)

    def forward_and_backward() -> None:
        weight.grad = s.grad = None
        function(weight, torch.sigmoid(s)).backward(grad)

    benchmark.pedantic(forward_and_backward, rounds=7, warmup_rounds=1)


def step_of(name: str, model: nn.Module, images: Tensor, first: int, total: int) -> Callable[[], None]:
    """A function that makes the next training step of the method called ``name``, from step ``first`` of ``total``."""
    method = methods.get(name, **ARGUMENTS[name])
    method.attach(model)
    optimizer = torch.optim.SGD(method.param_groups(model, weight_decay=1e-4), lr=0.001, momentum=0.875, fused=True)
    labels = torch.zeros(len(images), dtype=torch.long, device=images.device)
    steps = iter(range(first, total))

    def step() -> None:
        number = next(steps)
        method.before_step(model, number, total)
        loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        method.after_backward(model, number, total)
        method.before_update(model, optimizer, number, total)
        optimizer.step()
        if images.is_cuda:
            torch.cuda.synchronize()

    return step


@pytest.mark.parametrize(("name", "count"), [*((name, 64) for name in SPARSE), ("str", 256)])
def test_step_at_smoke_size(benchmark, name: str, count: int) -> None:
    """Steps 376 on of 938, as the smoke tier makes them, with all that is ranked on the way. What STR adds depends on
    the weights and not on the images, so more images a step make it a smaller share.
    """
    label(benchmark, f"training step, ResNet50 width 16, {count} images of 28 px, channels_last", name)
    images = torch.randn(4 if benchmark.disabled else count, 1, 28, 28).to(memory_format=torch.channels_last)

    def network() -> nn.Module:
        torch.manual_seed(0)
        model = models.resnet50(num_classes=10, width=16, in_channels=1, last_stride=1)
        return model.to(memory_format=torch.channels_last)

    steps = {method: step_of(method, network(), images, 376, 938) for method in ("dense", name)}
    taking_turns(benchmark, steps[name], steps["dense"], rounds=14)


@pytest.mark.parametrize("name", SPARSE)
def test_step_at_full_size(benchmark, name: str) -> None:
    """Steps at 60 % of the paper's 500,500. The first ranks the weights, and warms up; the next ranking would be
    thousands of steps later.
    """
    label(benchmark, "training step, ResNet50, 32 images of 224 px", name, at_most=1.10)
    total = 500_500
    width, count, size = (16, 2, 32) if benchmark.disabled else (64, 32, 224)  # `make test` only tries the code
    images = torch.randn(count, 3, size, size)

    def network() -> nn.Module:
        torch.manual_seed(0)
        return models.resnet50(width=width)

    steps = {method: step_of(method, network(), images, 3 * total // 5, total) for method in ("dense", name)}
    taking_turns(benchmark, steps[name], steps["dense"], rounds=9 if name == "str" else 2)


@pytest.mark.parametrize("loader", ["folder", "ffcv", "dali"])
def test_reading(benchmark, loader: str, tmp_path: Path) -> None:
    """An epoch of training images, cropped and flipped, by one worker."""
    if missing(loader):
        pytest.skip(f"{missing(loader)} is not installed (`make {loader}`)")
    label(benchmark, "reading 256 images of 500 x 375 px, one worker", loader, loader == "folder")
    count, batch_size = (4, 2) if benchmark.disabled else (256, 32)
    batches = reader(loader, written(tmp_path, count), batch_size, workers=1)

    def epoch() -> None:
        for _ in batches.epoch(0, 0):
            pass

    benchmark.pedantic(epoch, rounds=5, warmup_rounds=1)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("matrices", ["full rank", "rank 9/8", "rank 9/80, STR"])
def test_fastgrnn(benchmark, matrices: str, device: str) -> None:
    """Training steps of HAR-2's rows: 100 windows of 128 x 9, hidden size 80, gate tanh. An epoch is 74 of them."""
    label(benchmark, f"FastGRNN training steps, {matrices}, {device}", "fused", at_most=0.33)
    steps, batch = (4, 2) if benchmark.disabled else (128, 100)
    ranks = {"full rank": {}, "rank 9/8": {"rank_w": 9, "rank_u": 8}, "rank 9/80, STR": {"rank_w": 9, "rank_u": 80}}
    inputs, labels = torch.randn(batch, steps, 9, device=device), torch.zeros(batch, dtype=torch.long, device=device)

    def step_with(forward: Callable[[nn.Module, Tensor], Tensor]) -> Callable[[], None]:
        torch.manual_seed(0)
        model = models.fastgrnn(gate="tanh", **ranks[matrices]).to(device)
        method = methods.get("str-rank" if matrices.endswith("STR") else "dense")
        method.attach(model)
        optimizer = torch.optim.SGD(method.param_groups(model, weight_decay=1e-3), lr=0.001, momentum=0.9, fused=True)

        def step() -> None:
            outputs = forward(model, inputs)
            optimizer.zero_grad()
            nn.functional.cross_entropy(outputs, labels).backward()
            optimizer.step()
            if device == "cuda":
                torch.cuda.synchronize()

        return step

    def loop(model: nn.Module, inputs: Tensor) -> Tensor:
        with parametrize.cached():  # a loop, too, needs its weights once and not at every step
            return one_step_at_a_time.logits(model, inputs)

    fused = step_with(lambda model, inputs: model(inputs))
    taking_turns(benchmark, fused, step_with(loop), rounds=15, beside="loop")
