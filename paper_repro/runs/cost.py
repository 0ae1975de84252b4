"""What runs cost before they start: images, disk, and hours of the device that they would be trained on.

The rate is that of the dense step, forward, backward and SGD, at the spec's own batch, input size and precision,
measured here on made-up images; evaluating an image counts as a third of training on it. Methods add to it: STR 8 % at
224 px and 29 % at 64 px on a CPU, those that sort weights at every step more. A machine without a GPU is not asked how
long it would train a network of full size: there the rate is a published one.

Each run is costed as if it had the device to itself. A GPU that several small networks share is used better, so that
the hours of all are then an upper bound; runs on a CPU have a core each, and their hours are core-hours.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from paper_repro.data.catalog import dataset
from paper_repro.errors import UserError
from paper_repro.spec import Spec

if TYPE_CHECKING:
    import torch
    from torch import nn

    from paper_repro.data.facts import Dataset

MEASURED_S = 1.0  # how long the steps of a measurement take, after its first ones
CPU_BATCH = 64  # on a CPU the rate hardly depends on the batch, and a large one takes too long to ask
CPU_MACS = 2e8  # of one example: no larger network is trained on a CPU
NOTICEABLE = 1.5  # times as slow: less may be noise
EVALUATION = 1 / 3  # of the cost of training on the same image: the forward pass alone

# ResNet50 v1.5 on ImageNet, one A100 80GB, TF32, in which convolutions run here too; mixed precision is given as 2,470.
REFERENCE_IMAGES_PER_S, REFERENCE_MACS = 938.0, 4_089_184_256
REFERENCE = (
    "one A100 80GB in TF32 trains ResNet50 at 938 images/s (NVIDIA DeepLearningExamples, ResNet50 v1.5 for PyTorch, "
    "21.03); other networks in proportion to their multiply-adds"
)


@dataclass(frozen=True)
class Rate:
    """Training examples per second of one ``unit``, "GPU" or "core", and where that is known from."""

    per_s: float
    unit: str
    source: str


@dataclass(frozen=True)
class Cost:
    """Of one run as a whole: ``images`` counts every training example as often as it is shown; ``hours`` of a GPU or
    core, as ``rate.unit`` says; ``done``: the share that is trained already.
    """

    images: int
    checkpoints_mb: float
    hours: float
    done: float
    rate: Rate

    @property
    def hours_to_do(self) -> float:
        return self.hours * (1.0 - self.done)


def cost(spec: Spec, done: float = 0.0, rate: Rate | None = None) -> Cost:
    """What the run of ``spec`` takes, of which the share ``done`` is behind it; at ``rate``, or else at ``rate_of`` the
    spec, which measures where nothing is known yet.
    """
    from paper_repro.training.optimizer import values_each
    from paper_repro.training.saved_state import room_bytes

    facts = dataset(spec.dataset)
    rate = rate or rate_of(spec)
    images = facts.train_examples * spec.epochs
    seconds = (images + EVALUATION * facts.val_examples * spec.epochs) / rate.per_s
    parameters, _ = _size(spec.model, _text(spec.model_args), spec.dataset)
    return Cost(images, room_bytes(parameters, values_each(spec)) / 1e6, seconds / 3600, done, rate)


def hours_text(hours: float) -> str:
    """Hours for people: three digits, and never a power of ten."""
    return f"{hours:,.0f}" if hours >= 99.95 else f"{hours:.3g}"


def require_affordable(costs: Sequence[Cost], limit: float | None) -> None:
    """UserError when what is to do takes more hours than ``limit`` (None: no limit)."""
    if limit is None:
        return
    hours = sum(item.hours_to_do for item in costs)
    if hours > limit:
        units = " and ".join(sorted({item.rate.unit for item in costs if item.hours_to_do}))
        todo = sum(item.done < 1.0 for item in costs)
        raise UserError(
            f"the {todo} runs to do take about {hours_text(hours)} {units}-hours, more than the {limit:g} that "
            "--max-gpu-hours (MAX_GPU_HOURS=) allows; nothing was started. Name fewer rows or seeds, or allow more"
        )


def rate_of(spec: Spec) -> Rate:
    """Measured on this machine's GPU, or on one core where the network is small enough to be trained there; else the
    reference.
    """
    import torch

    name = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    text, macs = _text(spec.model_args), macs_of(spec)
    kind = (spec.model, text, spec.dataset, spec.autocast, spec.channels_last)
    if name is not None:
        return Rate(_measured(*kind, spec.batch_size, "cuda"), "GPU", f"measured on {name}")
    if macs <= CPU_MACS:
        batch = min(spec.batch_size, CPU_BATCH)
        return Rate(_measured(*kind, batch, "cpu"), "core", "measured on one core, just now")
    return reference_rate(spec)


def faster_in_float32(specs: Iterable[Spec]) -> list[str]:
    """What to do about runs whose low precision takes this processor longer than float32 would; a sentence for each
    network of which that was measured. GPUs are not asked.
    """
    import torch

    sentences: dict[str, None] = {}
    for spec in specs:
        if not spec.autocast or torch.cuda.is_available():
            continue
        times = rate_of(replace(spec, autocast="")).per_s / rate_of(spec).per_s
        if times > NOTICEABLE:
            sentences[
                f"{spec.autocast} is slow here: a step of {spec.model} takes {times:.1f} times as long as in float32. "
                "--autocast float32 (AUTOCAST=float32) trains in that; its results say so, and no row mixes the two"
            ] = None
    return list(sentences)


def reference_rate(spec: Spec) -> Rate:
    """The published one, the same on every machine."""
    return Rate(REFERENCE_IMAGES_PER_S * REFERENCE_MACS / macs_of(spec), "GPU", REFERENCE)


def macs_of(spec: Spec) -> int:
    """Multiply-adds of the forward pass of one example in the dense network."""
    return _size(spec.model, _text(spec.model_args), spec.dataset)[1]


def _text(arguments: Mapping[str, object]) -> str:
    return json.dumps(dict(arguments), sort_keys=True)


def _network(model: str, model_args: str, facts: Dataset) -> nn.Module:
    import torch

    from paper_repro import models

    with torch.random.fork_rng(devices=[]):  # whoever asks for a cost goes on with the numbers that were to come
        return models.get(model, **{**facts.fitting, **json.loads(model_args)})


@lru_cache
def _size(model: str, model_args: str, data: str) -> tuple[int, int]:
    """Parameters, and multiply-adds of one example, of the dense network."""
    from paper_repro.accounting import account

    network = _network(model, model_args, dataset(data))
    return sum(p.numel() for p in network.parameters()), account(network, dataset(data).input_size).macs


@lru_cache
def _measured(
    model: str, model_args: str, data: str, autocast: str, channels_last: bool, batch: int, device: str
) -> float:
    """Examples per second of dense training steps; on a CPU, per second that one thread computes. A batch that does not
    fit into a GPU's memory is halved until it does.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        network = _network(model, model_args, dataset(data)).to(device)
        if channels_last:
            network = network.to(memory_format=torch.channels_last)
        while True:
            try:
                return batch / _seconds_per_step(network, dataset(data), autocast, batch, torch.device(device))
            except torch.cuda.OutOfMemoryError:
                if batch == 1:
                    raise UserError(f"not even one example of {model} fits into this GPU's memory") from None
                batch //= 2
    finally:
        torch.set_num_threads(threads)
        if device == "cuda":
            torch.cuda.empty_cache()  # this process lives on while its workers train


def _seconds_per_step(network: nn.Module, facts: Dataset, autocast: str, batch: int, device: torch.device) -> float:
    import torch
    from torch.nn.functional import cross_entropy

    from paper_repro.training.step import precision

    inputs = torch.zeros(batch, *facts.input_size, device=device).normal_(
        generator=torch.Generator(device).manual_seed(0)
    )
    if inputs.dim() == 4:
        inputs = inputs.to(memory_format=torch.channels_last)
    labels = torch.arange(batch, device=device) % facts.num_classes
    labels = labels.view(-1, *[1] * len(facts.label_shape)).expand(-1, *facts.label_shape)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9, fused=True)

    def step() -> float:
        optimizer.zero_grad()
        with precision(autocast, device):
            loss = cross_entropy(network(inputs), labels)
        loss.backward()
        optimizer.step()
        if device.type == "cpu":
            return time.process_time()  # core-hours are time that is computed in, however busy the machine is
        torch.cuda.synchronize()
        return time.perf_counter()

    for _ in range(10 if device.type == "cuda" else 2):  # first steps choose algorithms and take memory
        began = now = step()
    steps = 0
    while now - began < MEASURED_S:
        now = step()
        steps += 1
    return (now - began) / steps
