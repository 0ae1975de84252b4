"""The checkpoints of the STR authors, as their code (github.com/RAIVNLab/STR) writes them and as they were released.

A file is a dict with ``state_dict``, ``epoch``, ``arch``, accuracies and the optimizer's state, saved by PyTorch 1.3.
Names start with ``module.`` where the network was trained on several GPUs (or ``_orig_mod.``, where it was compiled).
There are three forms of it:

- native: the raw weight W of each layer, and ``<layer>.sparseThreshold``, its s, of shape (1, 1); the network that was
  evaluated has the weights sign(W) * relu(|W| - sigmoid(s));
- doubled: native, and ``<layer>.sparseWeight`` with those weights once more, which old code stored;
- dense: thresholds are gone, and the weights are those that were evaluated, zeros included.

The classifier is a 1x1 convolution without bias. Layers have the names that ``paper_repro.models`` gives them. Files of
torchvision's form, whose classifier is a matrix with a bias of zeros, and safetensors are read as well: both are what
``export`` writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from paper_repro import models
from paper_repro.data.sources import sha256
from paper_repro.errors import UserError
from paper_repro.interchange.weight_files import load
from paper_repro.methods.balance import Balance, balances
from paper_repro.methods.precision import wide
from paper_repro.methods.soft_threshold import SoftThreshold

PREFIXES, THRESHOLD, COPY = ("module.", "_orig_mod."), ".sparseThreshold", ".sparseWeight"
HOLDERS = ("state_dict", "model", "model_state_dict")  # where a checkpoint has its state dict
STATED = ("epoch", "arch", "best_acc1", "best_acc5", "best_train_acc1", "best_train_acc5", "curr_acc1", "curr_acc5")
SHOWN = 8  # names of a foreign network, in a message
# a key that only this network has -> the network, and the convolution whose output channels are its width
KNOWN = {
    "layer1.0.conv3.weight": ("resnet50", "conv1.weight"),
    "layer1.0.conv2.weight": ("resnet18", "conv1.weight"),
    "model.0.0.weight": ("mobilenet_v1", "model.0.0.weight"),
}


@dataclass(frozen=True)
class Weights:
    """What a state dict says: the weights that the network computes with (and batch norm), by the names of
    ``paper_repro.models``; g(s) of each layer, and its balance, measured on the raw weights; in which form that stood
    there, and what all names began with.
    """

    tensors: Mapping[str, Tensor]
    thresholds: Mapping[str, float]
    balances: Mapping[str, Balance]
    form: str  # "native", "doubled" or "dense"
    prefix: str


@dataclass(frozen=True)
class Released:
    """A checkpoint that was read: ``network`` is plain, with exact zeros. ``stated``: epoch, arch and accuracies in
    percent, as far as the file has them.
    """

    network: nn.Module
    model: str
    model_args: Mapping[str, int]
    weights: Weights
    stated: Mapping[str, Any]
    sha256: str


def read(path: Path) -> Released:
    """Read a checkpoint of the authors, whole or not at all; nothing in the file is executed.

    Raises UserError for a file that cannot be read safely, a network that is not known, and for every key that is
    missing, is not expected, has another shape than the network's, or does not fit the rest of the file.
    """
    content = load(path)
    weights = effective(content, path)
    network, model, model_args = recognised(weights.tensors, path)
    stated = {key: content[key] for key in STATED if isinstance(content.get(key), int | float | str)}
    return Released(network, model, model_args, weights, stated, sha256(path))


def effective(content: Mapping[str, Any], path: Path) -> Weights:
    """The weights that a checkpoint, or a bare state dict, computes with; ``path`` is for messages."""
    state = next((content[key] for key in HOLDERS if isinstance(content.get(key), Mapping)), content)
    if not isinstance(state, Mapping) or not state or not all(isinstance(key, str) for key in state):
        raise UserError(f"{path} has no state dict: neither under {' or '.join(map(repr, HOLDERS))} nor as a whole")
    foreign = [key for key, value in state.items() if not isinstance(value, Tensor)]
    prefix = ""
    while more := next((item for item in PREFIXES if any(key.startswith(prefix + item) for key in state)), ""):
        prefix += more
    without = [key for key in state if not key.startswith(prefix)]
    _refuse(path, {"no tensor": foreign, f"without {prefix!r} unlike others": without})
    tensors = {key.removeprefix(prefix): value for key, value in state.items()}
    s = {key.removesuffix(THRESHOLD): tensors.pop(key) for key in list(tensors) if key.endswith(THRESHOLD)}
    copies = {key.removesuffix(COPY): tensors.pop(key) for key in list(tensors) if key.endswith(COPY)}
    layers = [key.removesuffix(".weight") for key in tensors if key.endswith(".weight") and tensors[key].ndim == 4]
    _refuse(
        path,
        {
            "missing": [f"{layer}{THRESHOLD}" for layer in layers if s and layer not in s],
            "not expected": [f"{layer}{THRESHOLD}" for layer in s if layer not in layers]
            + [f"{layer}{COPY}" for layer in copies if layer not in s],
            "of another shape than (1, 1)": [f"{layer}{THRESHOLD}" for layer in s if s[layer].shape != (1, 1)],
        },
    )
    raws = {layer: tensors[f"{layer}.weight"] for layer in layers if layer in s}
    operators = {layer: SoftThreshold(nn.Parameter(s[layer].to(wide(raw)), False)) for layer, raw in raws.items()}
    balanced = dict(zip(operators, balances((operators[layer], raws[layer]) for layer in operators), strict=True))
    unlike: list[str] = []
    for layer, raw in raws.items():
        tensors[f"{layer}.weight"] = operators[layer](raw)
        if layer in copies and not _same(copies[layer], tensors[f"{layer}.weight"], raw):
            unlike.append(f"{layer}{COPY}")
    _refuse(path, {"unlike what weight and threshold give": unlike})
    form = "dense" if not s else "doubled" if copies else "native"
    thresholds = {layer: float(operator.threshold()) for layer, operator in operators.items()}
    return Weights(tensors, thresholds, balanced, form, prefix)


def _same(copy: Tensor, weight: Tensor, raw: Tensor) -> bool:
    """Whether a stored copy is the soft-thresholded weight, up to the rounding of a difference of raw weights."""
    return copy.shape == weight.shape and torch.allclose(copy, weight, rtol=0.0, atol=1e-6 * float(raw.abs().max()))


def recognised(tensors: Mapping[str, Tensor], path: Path) -> tuple[nn.Module, str, dict[str, int]]:
    """The plain network that a state dict is of, filled with it: (network, name of the model, its arguments)."""
    known = next((KNOWN[key] for key in KNOWN if key in tensors), None)
    if known is None:
        names = list(tensors)
        more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
        raise UserError(
            f"{path} is of no network that is known here (ResNet50, ResNet18, MobileNetV1); it has "
            f"{', '.join(names[:SHOWN])}{more}"
        )
    model, stem = known
    first, last = tensors.get(stem), tensors.get("fc.weight")
    _refuse(path, {"missing": [name for name, tensor in ((stem, first), ("fc.weight", last)) if tensor is None]})
    assert first is not None and last is not None
    if first.ndim != 4 or last.ndim < 1:
        raise UserError(f"{path}: {stem} or fc.weight is no weight of a convolution")
    arguments = {"num_classes": last.shape[0], "width": first.shape[0], "in_channels": first.shape[1]}
    network = models.get(model, **arguments)
    expected = network.state_dict()
    counters = {key: value for key, value in expected.items() if key.endswith(".num_batches_tracked")}
    tensors = {**counters, **tensors}  # older files have none, and nothing is computed from them
    if last.ndim == 2:
        tensors["fc.weight"] = last[:, :, None, None]
        if tensors.pop("fc.bias", torch.zeros(1)).any():
            raise UserError(f"{path}: its classifier has a bias (fc.bias), and that of {model} has none here")
    _refuse(
        path,
        {
            "missing": expected.keys() - tensors.keys(),
            "not expected": tensors.keys() - expected.keys(),
            "of another shape": [
                f"{key} {tuple(tensors[key].shape)}, not {tuple(value.shape)}"
                for key, value in expected.items()
                if key in tensors and tensors[key].shape != value.shape
            ],
            "not finite": [key for key, value in tensors.items() if not torch.isfinite(value).all()],
        },
    )
    network.load_state_dict(dict(tensors))
    return network, model, arguments


def _refuse(path: Path, problems: Mapping[str, Iterable[str]]) -> None:
    """UserError that names every key with a problem, if there are any."""
    listed = [f"{what}: {', '.join(sorted(keys))}" for what, keys in problems.items() if keys]
    if listed:
        raise UserError(f"{path} is not taken, since parts of it do not fit. {'; '.join(listed)}")
