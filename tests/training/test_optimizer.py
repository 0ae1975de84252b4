"""The optimizers of a spec, step by step against their equations; every group has a weight decay of its own."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from paper_repro.spec import Spec
from paper_repro.training.optimizer import optimizer, values_each
from tests.training.tiny import SPEC

GRADIENTS = (0.3, -0.1, 0.02, 0.5)
DECAYS = (0.0, 0.4)


def by_hand(spec: Spec, w: float, decay: float) -> list[float]:
    values, first, second = [], 0.0, 0.0
    for t, gradient in enumerate(GRADIENTS, 1):
        coupled = gradient + (0.0 if spec.optimizer == "adamw" else decay * w)
        if spec.optimizer == "sgd":
            first = spec.momentum * first + coupled
            w -= spec.lr * first
        else:
            first = spec.momentum * first + (1 - spec.momentum) * coupled
            second = 0.999 * second + 0.001 * coupled**2
            kept = 1 - spec.lr * decay if spec.optimizer == "adamw" else 1.0
            normalised = first / (1 - spec.momentum**t) / (math.sqrt(second / (1 - 0.999**t)) + 1e-8)
            w = kept * w - spec.lr * normalised
        values.append(w)
    return values


@pytest.mark.parametrize("autocast", ["", "fp16"])  # with the fused step and without
@pytest.mark.parametrize("kind", ["sgd", "adam", "adamw"])
def test_steps_are_those_of_the_equations(kind: str, autocast: str) -> None:
    spec = replace(SPEC, optimizer=kind, lr=0.1, momentum=0.8, autocast=autocast)
    parameters = [torch.nn.Parameter(torch.tensor(2.0, dtype=torch.float64)) for _ in DECAYS]
    own = optimizer(spec, [{"params": [p], "weight_decay": decay} for p, decay in zip(parameters, DECAYS, strict=True)])
    found: list[list[float]] = [[] for _ in DECAYS]
    for gradient in GRADIENTS:
        for parameter in parameters:
            parameter.grad = torch.full_like(parameter, gradient)
        own.step()
        for parameter, values in zip(parameters, found, strict=True):
            values.append(parameter.item())
    for values, decay in zip(found, DECAYS, strict=True):
        assert values == pytest.approx(by_hand(spec, 2.0, decay), rel=1e-9)
    assert found[0] != found[1]


@pytest.mark.parametrize("kind", ["sgd", "adam", "adamw"])
def test_as_much_is_kept_of_a_parameter_as_room_is_asked_for(kind: str) -> None:
    spec = replace(SPEC, optimizer=kind, momentum=0.9)
    weight = torch.nn.Parameter(torch.ones(5, 7))
    own = optimizer(spec, [{"params": [weight], "weight_decay": 0.1}])
    weight.grad = torch.ones_like(weight)
    own.step()
    kept = [value for value in own.state[weight].values() if value.shape == weight.shape]
    assert values_each(spec) == 1 + len(kept)
