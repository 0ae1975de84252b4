"""The network that a spec names, as big as its data set asks for, without a method."""

from __future__ import annotations

import torch
from torch import nn

from paper_repro import models
from paper_repro.interchange import networks
from paper_repro.spec import Spec


def untrained(spec: Spec) -> nn.Module:
    """With the initial weights that torch's generator gives now."""
    return models.get(spec.model, **networks.network_args(spec))


def parameter_count(spec: Spec) -> int:
    """Its parameters, batch norm included; nothing is allocated."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in untrained(spec).parameters())
