"""The network that a spec names, as big as its data set asks for, without a method."""

from __future__ import annotations

import torch
from torch import nn

from paper_repro import models
from paper_repro.data.catalog import dataset
from paper_repro.spec import Spec


def untrained(spec: Spec) -> nn.Module:
    """With the initial weights that torch's generator gives now."""
    facts = dataset(spec.dataset)
    fitting = {"num_classes": facts.num_classes, "in_channels": facts.in_channels, **spec.model_args}
    return models.get(spec.model, **fitting)


def parameter_count(spec: Spec) -> int:
    """Its parameters, batch norm included; nothing is allocated."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in untrained(spec).parameters())
