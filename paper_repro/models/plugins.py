"""Networks that are not part of this project: a Python file, or a function of an installed package.

A file defines ``model``, a function (or class) that returns the network. It is given ``num_classes`` and
``in_channels``, as far as it takes them. A file may define ``data`` too, the data set that its network is for, and so
may the module of a package beside its function:

    def data():  # float32 (N, channels, height, width) or (N, steps, features); int64 (N,), or (N, height, width)
        return (train_inputs, train_labels), (val_inputs, val_labels)

``find`` runs no code of a network's file, ``load`` does. A network is then one of ``models.MODELS``, under the name of
its file. What goes wrong in its code ends in one sentence that names its own file and line.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from paper_repro import models
from paper_repro.errors import UserError
from paper_repro.methods.plugins import Plugin, explained, from_file, from_package, module_of

ADVICE = "MODEL is a Python file that defines model(), or package.module:function of an installed package"


@dataclass(frozen=True)
class OwnNetwork:
    """What builds a network of somebody else's, as ``models.get`` calls it. ``data``: its data set, if it has one."""

    plugin: Plugin
    build: Callable[..., Any]
    data: Callable[[], Any] | None = None

    def __call__(self, num_classes: int, in_channels: int) -> nn.Module:
        """A new one; UserError for what is no network."""
        taken = inspect.signature(self.build).parameters
        sizes = {"num_classes": num_classes, "in_channels": in_channels}
        with explained(self.plugin, "build the network"):
            network = self.build(**{name: size for name, size in sizes.items() if name in taken or _any(taken, name)})
        if not isinstance(network, nn.Module):
            raise UserError(f"{self.plugin}: model() returns {type(network).__name__}, and not a torch.nn.Module")
        return network


def _any(taken: Any, name: str) -> bool:
    """Whether a function passes on what it does not name itself: torchvision's take num_classes so."""
    return name == "num_classes" and any(item.kind is item.VAR_KEYWORD for item in taken.values())


def find(text: str) -> Plugin:
    """The network that ``text`` means; UserError where there is none."""
    module, colon, function = text.partition(":")
    if (
        not text.endswith(".py")
        and "/" not in text
        and colon
        and all(part.isidentifier() for part in module.split("."))
    ):
        return from_package(f"{module}.{function}".replace(".", "_"), text, module)
    plugin = from_file(Path(text).expanduser(), ADVICE)
    if plugin.name in models.MODELS and not isinstance(models.MODELS[plugin.name], OwnNetwork):
        raise UserError(f"{text}: a network of this project is called {plugin.name!r} already; name the file otherwise")
    return plugin


def load(plugin: Plugin) -> OwnNetwork:
    """What builds the network, which ``models.get`` knows from now on by the plug-in's name."""
    with explained(plugin, "import"):
        if plugin.source.endswith(".py"):
            module, name = module_of(plugin), "model"
        else:
            module, name = importlib.import_module(plugin.source.partition(":")[0]), plugin.source.partition(":")[2]
    build, data = getattr(module, name, None), getattr(module, "data", None)
    if not callable(build):
        raise UserError(f"{plugin} defines no function {name}(): it returns the network, a torch.nn.Module")
    own = OwnNetwork(plugin, build, data if callable(data) else None)
    models.MODELS[plugin.name] = own
    return own


def require(name: str, sha256: str) -> Plugin | None:
    """The loaded network that a spec names by its model and sha256; None when the spec names one of this project.

    UserError when it has not been loaded, or is not the code that the spec was made for.
    """
    if not sha256:
        return None
    own = models.MODELS.get(name)
    if not isinstance(own, OwnNetwork):
        raise UserError(f"{name} is no network of this project: call paper_repro.data.brought.bring(find(FILE)) first")
    if own.plugin.sha256 != sha256:
        raise UserError(f"{own.plugin} was changed since this run was planned: run the same command again")
    return own.plugin
