"""The paper's networks as plain torch modules.

Takes sizes; gives modules. Knows nothing of sparsity.

``get(name, **arguments)`` builds by name; the functions build directly. Layer names follow torchvision's ResNet and the
authors' MobileNetV1, so that published budgets and checkpoints map by name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from paper_repro.errors import UserError, called, require_known
from paper_repro.models.cifar import resnet32_cifar, resnet50_cifar, vgg19_cifar
from paper_repro.models.fastgrnn import fastgrnn
from paper_repro.models.mobilenetv1 import mobilenet_v1
from paper_repro.models.resnet import resnet18, resnet50

MODELS: dict[str, Callable[..., nn.Module]] = {
    "resnet18": resnet18,
    "resnet50": resnet50,
    "mobilenet_v1": mobilenet_v1,
    "fastgrnn": fastgrnn,
    "resnet32_cifar": resnet32_cifar,
    "resnet50_cifar": resnet50_cifar,
    "vgg19_cifar": vgg19_cifar,
}


def get(name: str, **arguments: Any) -> nn.Module:
    """The model called ``name``; a misspelt name or argument is an error that names the nearest known one."""
    require_known("model", name, MODELS)
    try:
        return called(f"model {name}", MODELS[name], arguments)
    except ValueError as error:
        raise UserError(f"model {name}: {error}") from error


def outline(name: str, **arguments: Any) -> nn.Module:
    """The same without values: its tensors have shapes, lie on device "meta", and take neither memory nor time."""
    with torch.device("meta"), _NoNormals():
        return get(name, **arguments)


class _NoNormals(TorchFunctionMode):
    """Leaves out filling with normal numbers: on device "meta", torch imports its compiler for it, which takes 4 s."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return args[0] if func is torch.Tensor.normal_ else func(*args, **(kwargs or {}))


__all__ = ["MODELS", "fastgrnn", "get", "mobilenet_v1", "outline", "resnet18", "resnet50"]
