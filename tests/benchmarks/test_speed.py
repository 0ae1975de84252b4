"""What STR costs: the operator at full ResNet50 size, and a training step against the dense one. Run with ``make
bench``.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from paper_repro import methods, models
from paper_repro.methods.soft_threshold import soft_threshold
from tests.reference.soft_threshold import soft_threshold as plain

pytestmark = pytest.mark.benchmark
WEIGHTS = 25_502_912
METHODS = {"dense": {}, "str": {"s_init": -8.0}, "gmp": {"sparsity_pct": 90.0}}


def label(benchmark, group: str, name: str, reference: bool, goal: str = "") -> None:
    benchmark.group = group
    benchmark.extra_info.update(label=name, reference=reference, goal=goal)


@pytest.mark.parametrize("name, function", [("plain", plain), ("fused", soft_threshold)])
def test_operator(benchmark, name: str, function: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Forward and backward over as many weights as ResNet50 has, on one CPU thread."""
    label(benchmark, f"soft threshold, {WEIGHTS / 1e6:.1f} M weights", name, name == "plain", "(goal: at most 0.25)")
    generator = torch.Generator().manual_seed(0)
    weight = (torch.randn(WEIGHTS, generator=generator) * 0.02).requires_grad_()
    s = torch.tensor(-5.0, requires_grad=True)
    grad = torch.randn(WEIGHTS, generator=generator)

    def forward_and_backward() -> None:
        weight.grad = s.grad = None
        function(weight, torch.sigmoid(s)).backward(grad)

    benchmark.pedantic(forward_and_backward, rounds=7, warmup_rounds=1)


def step_of(model: nn.Module, name: str, images: Tensor) -> Callable[[], None]:
    """One training step of the method called ``name`` on ``model``."""
    method = methods.get(name, **METHODS[name])
    method.attach(model)
    optimizer = torch.optim.SGD(method.param_groups(model, weight_decay=1e-4), lr=0.01, momentum=0.875, fused=True)
    labels = torch.zeros(len(images), dtype=torch.long, device=images.device)
    count = iter(range(10**9))

    def step() -> None:
        method.before_step(model, next(count), 1000)
        loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if images.is_cuda:
            torch.cuda.synchronize()

    return step


@pytest.mark.parametrize("name", METHODS)
def test_step_at_smoke_size(benchmark, name: str) -> None:
    label(benchmark, "training step, ResNet50 width 16, 64 images of 28 px", name, name == "dense")
    torch.manual_seed(0)
    model = models.resnet50(num_classes=10, width=16, in_channels=1, last_stride=1)
    images = torch.randn(64, 1, 28, 28).contiguous(memory_format=torch.channels_last)
    benchmark.pedantic(step_of(model, name, images), rounds=15, warmup_rounds=3)


@pytest.mark.parametrize("name", METHODS)
def test_step_at_full_size(benchmark, name: str) -> None:
    label(benchmark, "training step, ResNet50, 8 images of 112 px", name, name == "dense")
    torch.manual_seed(0)
    benchmark.pedantic(step_of(models.resnet50(), name, torch.randn(8, 3, 112, 112)), rounds=5, warmup_rounds=1)
