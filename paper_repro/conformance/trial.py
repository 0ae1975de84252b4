"""What the checks train: a small network of convolutions, batch norms and a fully connected layer, with a method built
afresh, for a few steps. Activations are smooth and the loss reaches every layer, so that a weight without gradient is
the method's doing.
"""

from __future__ import annotations

import copy
import math
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import parametrize

from paper_repro import methods
from paper_repro.accounting import counted_layers
from paper_repro.methods import plugins
from paper_repro.methods.base import Method
from paper_repro.training.schedule import scaled

STEPS = 12
LR = 0.05
INPUT_SIZE = (1, 8, 8)
CLASSES = 10


class Breach(Exception):
    """What a method does wrong, as the rest of a sentence that begins with its name."""


@dataclass(frozen=True)
class Subject:
    """A method to check: what ``plugins.find`` takes, and its arguments."""

    source: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def build(self) -> Method:
        """A new one, which knows nothing of those before it."""
        plugin = plugins.find(self.source)
        if plugin.sha256 and plugins.loaded(plugin.name) != plugin:
            plugins.load(plugin)
        return methods.get(plugin.name, **self.arguments)

    @property
    def sparsity_pct(self) -> float | None:
        """The sparsity that it is asked for and must reach; None for methods that are steered by other means."""
        return self.arguments.get("sparsity_pct")


def block(convolution: nn.Conv2d) -> nn.Module:
    """A convolution, batch norm, and an activation whose slope is zero nowhere."""
    return nn.Sequential(OrderedDict(conv=convolution, bn=nn.BatchNorm2d(convolution.out_channels), act=nn.SiLU()))


def network(seed: int = 0, dtype: torch.dtype = torch.float32) -> nn.Module:
    """Some 20,000 weights in five layers, a depthwise one among them."""
    torch.manual_seed(seed)
    layers = nn.Sequential(
        OrderedDict(
            stem=block(nn.Conv2d(1, 16, 3, padding=1, bias=False)),
            wide=block(nn.Conv2d(16, 48, 3, stride=2, padding=1, bias=False)),
            depthwise=block(nn.Conv2d(48, 48, 3, padding=1, groups=48, bias=False)),
            pointwise=block(nn.Conv2d(48, 224, 1, bias=False)),
            pool=nn.AdaptiveAvgPool2d(1),
            flat=nn.Flatten(),
            fc=nn.Linear(224, CLASSES),
        )
    )
    return layers.to(dtype)


def small_network(seed: int = 0) -> nn.Module:
    """One of two layers, for what takes long."""
    torch.manual_seed(seed)
    stem = block(nn.Conv2d(1, 16, 3, padding=1, bias=False))
    return nn.Sequential(OrderedDict(stem=stem, flat=nn.Flatten(), fc=nn.Linear(1024, CLASSES)))


def batch(step: int = 0) -> tuple[Tensor, Tensor]:
    """Images (16, 1, 8, 8) and labels, a function of the step alone."""
    generator = torch.Generator().manual_seed(step)
    labels = torch.randint(0, CLASSES, (16,), generator=generator)
    return torch.randn(len(labels), *INPUT_SIZE, generator=generator) + labels.view(-1, 1, 1, 1) / CLASSES, labels


class Training:
    """A network with a freshly built method, and SGD with a cosine schedule on it."""

    def __init__(self, subject: Subject, seed: int = 0, make: Callable[[int], nn.Module] = network) -> None:
        self.method, self.model, self.step = subject.build(), make(seed), 0
        self.dtype = next(self.model.parameters()).dtype
        with _same_shape():
            attached = self.method.attach(self.model)
        if attached is not self.model:
            raise Breach("returns something else than the model from attach(); it parametrizes in place")
        self.optimizer = torch.optim.SGD(self.method.param_groups(self.model, 1e-3), lr=LR, momentum=0.9)
        self.rates = [group["lr"] for group in self.optimizer.param_groups]

    def advance(self, steps: int, forward: nn.Module | None = None, part: slice = slice(None)) -> Tensor:
        """Train for ``steps`` steps, as the training loop does; the loss of the last. ``forward`` wraps the model,
        ``part`` is the share of each batch that this process has.
        """
        loss = torch.tensor(0.0)
        for _ in range(steps):
            rate = LR * 0.5 * (1.0 + math.cos(math.pi * min(self.step / STEPS, 1.0)))
            for group, own in zip(self.optimizer.param_groups, self.rates, strict=True):
                group["lr"] = scaled(rate, own, LR)
            self.method.before_step(self.model, self.step, STEPS)
            images, labels = batch(self.step)
            loss = cross_entropy((forward or self.model)(images[part].to(self.dtype)).float(), labels[part])
            self.optimizer.zero_grad()
            loss.backward()
            self.method.after_backward(self.model, self.step, STEPS)
            self.method.before_update(self.model, self.optimizer, self.step, STEPS)
            self.optimizer.step()
            self.step += 1
        return loss.detach()

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return copy.deepcopy(
            {
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "step": self.step,
                "rng": torch.get_rng_state(),
            }
        )

    def load(self, state: Mapping[str, Any]) -> None:
        state = copy.deepcopy(dict(state))
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
        torch.set_rng_state(state["rng"])

    @torch.no_grad()
    def predictions(self, model: nn.Module | None = None) -> Tensor:
        """Outputs in eval mode; the mode is put back."""
        model = self.model if model is None else model
        was_training = model.training
        outputs: Tensor = model.eval()(batch()[0].to(self.dtype))
        model.train(was_training)
        return outputs

    def raw_weights(self, layer: str) -> list[nn.Parameter]:
        """What the optimizer sees of a layer's weight: one parameter as a rule."""
        module = counted_layers(self.model)[layer]
        if not parametrize.is_parametrized(module, "weight"):
            return [cast(nn.Parameter, module.weight)]
        held = cast(Any, module.parametrizations).weight
        return [parameter for name, parameter in held.named_parameters() if name.startswith("original")]

    def parameters_without_gradient(self) -> set[str]:
        """The trained ones that got none in the last step; ``Breach`` for a gradient that is NaN or infinite."""
        without = set()
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad and parameter.grad is None:
                without.add(name)
            if parameter.grad is not None and not torch.isfinite(parameter.grad).all():
                raise Breach(f"gives {name} a gradient that is NaN or infinite")
        return without


@contextmanager
def _same_shape() -> Iterator[None]:
    """torch's own refusal of a weight of another shape or dtype, in the words of the checks."""
    try:
        yield
    except (ValueError, RuntimeError) as error:
        text = str(error)
        for what in ("dtype", "shape"):
            if f"may not change the {what}" in text:
                sizes = "; ".join(line.strip() for line in text.splitlines()[1:] if ":" in line)
                raise Breach(f"returns a weight of another {what} from its parametrization ({sizes})") from error
        raise
