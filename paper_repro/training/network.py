"""The network that a spec names, as big as its data set asks for, without a method."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import nn

from paper_repro import models
from paper_repro.data import brought
from paper_repro.interchange import networks
from paper_repro.methods.plugins import Plugin, explained
from paper_repro.models import plugins
from paper_repro.spec import Spec
from paper_repro.training import randomness


def bring(plugin: Plugin) -> str:
    """Load a user's network, and the data set that it brings along; that one's name, which is empty where it brings
    none. torch's generator is seeded for the data: every process is to have the same.
    """
    own = plugins.load(plugin)
    if own.data is None:
        return ""
    with torch.random.fork_rng(devices=[]), explained(plugin, "make its data"):
        randomness.seed(0)
        parts = own.data()
    return brought.register(f"{plugin.name}_data", plugin, parts).name


def untrained(spec: Spec) -> nn.Module:
    """With the initial weights that torch's generator gives now."""
    return models.get(spec.model, **networks.network_args(spec))


def parameter_count(spec: Spec) -> int:
    """Its parameters, batch norm included; nothing is allocated, but for a user's network, which may look at values."""
    with torch.random.fork_rng(devices=[]), nullcontext() if spec.model_sha256 else torch.device("meta"):
        return sum(parameter.numel() for parameter in untrained(spec).parameters())
