"""What only a GPU can tell: the cost of STR and of this code's dense step at full size, and how long the GPU waits for
images. ``make gpu-check`` keeps what they measure. Without a GPU nothing is timed, and ``make test`` tries the
code on a CPU.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from paper_repro import methods
from paper_repro.data.loaders import Batch
from paper_repro.data.readers.optional import missing
from paper_repro.interchange.networks import untrained
from paper_repro.machine import cores
from paper_repro.spec import Spec
from paper_repro.training.distributed import Processes
from paper_repro.training.step import Step, memory_format
from tests.benchmarks.reading import reader, written
from tests.benchmarks.timing import label, taking_turns

pytestmark = pytest.mark.benchmark
SETTINGS = {"bf16, channels_last": {"autocast": "bf16", "channels_last": True}, "float32": {}}
ON_CPU = "GPU_CHECK_ON_CPU"  # in the environment: tiny benchmarks are timed on a CPU, to try the code of gpu-check
ROUNDS = {"cuda": 5, "cpu": 1}
STEPS = 20  # in a row between two looks at the clock, as training makes them: a GPU is behind its program
TOTAL = 500_500  # the paper's steps; timed are those at 60 %, in a network in the middle of its training


@pytest.fixture
def device(benchmark) -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda")
    if not benchmark.disabled and ON_CPU not in os.environ:
        pytest.skip("no GPU here")
    return torch.device("cpu")


def made(method: str, batch_size: int, device: torch.device, **settings: Any) -> Step:
    """The training step of a run at the paper's size; on a CPU, of a small network."""
    arguments = {"s_init": -4.0} if method == "str" else {}
    width = {} if device.type == "cuda" else {"width": 8}
    spec = Spec(
        model="resnet50", model_args=width, dataset="imagenet1k", method=method, method_args=arguments, epochs=100,
        batch_size=batch_size, lr=0.256, weight_decay=2.25e-5, **settings,
    )  # fmt: skip
    torch.manual_seed(0)
    model = untrained(spec).to(device, memory_format=memory_format(spec))
    sparse = methods.get(method, **arguments)
    sparse.attach(model)
    optimizer = torch.optim.SGD(
        sparse.param_groups(model, weight_decay=spec.weight_decay), lr=spec.lr, momentum=spec.momentum, fused=True
    )
    return Step(spec, model, sparse, optimizer, Processes())


def images_of(count: int, device: torch.device) -> Batch:
    """A batch that stays on the device; on a CPU a small one."""
    count, size = (count, 224) if device.type == "cuda" else (2, 32)
    images = torch.zeros(count, 3, size, size, device=device).normal_(generator=torch.Generator(device).manual_seed(0))
    return images, torch.arange(count, device=device) % 1000


def in_a_row(step: Callable[[Tensor, Tensor, int], object], images: Tensor, labels: Tensor) -> Callable[[], None]:
    """A function that makes ``STEPS`` steps and waits for the last; on a CPU, one step."""
    numbers = iter(range(3 * TOTAL // 5, TOTAL))

    def steps() -> None:
        for _ in range(STEPS if images.is_cuda else 1):
            step(images, labels, next(numbers))
        if images.is_cuda:
            torch.cuda.synchronize()

    return steps


def ours(step: Step) -> Callable[[Tensor, Tensor, int], object]:
    return lambda images, labels, number: step(images, labels, number, TOTAL // 100)


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("count, goal", [(256, 1.02), (32, 1.05)])
def test_gpu_step_of_str(benchmark, device: torch.device, count: int, goal: float, settings: str) -> None:
    """STR's training steps, in turn with dense ones."""
    group = f"training step on a GPU, ResNet50, {count} images of 224 px, {settings}"
    label(benchmark, group, "str", at_most=goal)
    batch = images_of(count, device)
    sparse, dense = (
        in_a_row(ours(made(name, count, device, **SETTINGS[settings])), *batch) for name in ("str", "dense")
    )
    taking_turns(benchmark, sparse, dense, rounds=ROUNDS[device.type])


@pytest.mark.parametrize("settings", SETTINGS)
def test_gpu_dense_step_beside_torchvision(benchmark, device: torch.device, settings: str) -> None:
    """This code's dense step against a plain loop over torchvision's ResNet50, with the same settings: it is to reach
    98 % of that rate.
    """
    chosen, count = SETTINGS[settings], 256
    group = f"dense step on a GPU, ResNet50, {count} images of 224 px, {settings}"
    label(benchmark, group, "this code", at_most=1 / 0.98)
    images, labels = images_of(count, device)
    order = torch.channels_last if chosen else torch.contiguous_format
    torch.manual_seed(0)
    model = torchvision.models.resnet50() if device.type == "cuda" else torchvision.models.resnet18()
    model.to(device, memory_format=order)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.256, momentum=0.875, weight_decay=2.25e-5, fused=True)
    criterion = nn.CrossEntropyLoss(label_smoothing=0.1)

    def plain(images: Tensor, labels: Tensor, _number: int) -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=bool(chosen)):
            loss = criterion(model(images.to(memory_format=order)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    mine = in_a_row(ours(made("dense", count, device, **chosen)), images, labels)
    taking_turns(benchmark, mine, in_a_row(plain, images, labels), rounds=ROUNDS[device.type], beside="torchvision")


@pytest.mark.parametrize("loader", ["folder", "ffcv", "dali"])
def test_gpu_waiting_for_images(benchmark, device: torch.device, loader: str, tmp_path: Path) -> None:
    """Steps on images that are read from disk against as many on a batch that stays on the GPU: what is over is time in
    which the GPU waits for data, 2 % of all of it at most.
    """
    if missing(loader):
        pytest.skip(f"{missing(loader)} is not installed (`make {loader}`)")
    on_gpu = device.type == "cuda"
    if loader == "ffcv" and not on_gpu:
        pytest.skip("FFCV compiles its reader anew for every loader: `test_reading` tries it once")
    count, batch_size, rounds, per_round = (2560, 256, 2, 32) if on_gpu else (8, 2, 1, 1)
    group = f"training step on a GPU, ResNet50, {batch_size} images of 224 px read by {loader}"
    label(benchmark, group, "read from disk", at_most=1 / 0.98)
    step = made("dense", batch_size, device, **SETTINGS["bf16, channels_last"])
    read_ahead = 2 * cores() if on_gpu else 1  # at most: by the folder loader's workers
    needed = 1 + (1 + rounds) * (read_ahead + per_round)
    chosen = torch.randint(count, (needed, batch_size), generator=torch.Generator().manual_seed(0))
    batches = reader(loader, written(tmp_path, count), batch_size).serve(chosen, (0, 0))
    held = tuple(part.to(device) for part in next(batches))

    def run(source: Iterator[Batch] | None, steps: int = per_round) -> None:
        for number in range(steps):
            images, labels = held if source is None else next(source)
            step(images, labels, 3 * TOTAL // 5 + number, TOTAL // 100)
        if on_gpu:
            torch.cuda.synchronize()

    taking_turns(
        benchmark,
        lambda: run(batches),
        lambda: run(None),
        rounds,
        beside="held on the GPU",
        between=lambda: run(batches, read_ahead),  # what was read during the other's turn does not count
    )
    batches.close()
