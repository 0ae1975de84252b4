"""A plain network in a folder: its weights as ``model.safetensors``, and in JSON what network it is.

There are two kinds of such folders. A finished run has a ``result.json``; an imported checkpoint has a
``checkpoint.json``. safetensors holds tensors and nothing else, so that reading it cannot execute anything.

A run can also have networks that it kept on its way, each under the name that its method gave that state:
``kept/9-8.safetensors`` had the ranks 9/8. Low-rank products have the ranks of the stored weights, which can be fewer
than those that the spec began with.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor, nn

from paper_repro import models, record
from paper_repro.accounting import low_rank_products
from paper_repro.data.catalog import dataset
from paper_repro.errors import UserError, problems
from paper_repro.files import write
from paper_repro.interchange.weight_files import load, write_weights
from paper_repro.methods.balance import Balance
from paper_repro.models.low_rank import keep_ranks
from paper_repro.record import TRAIN_AGAIN, Record
from paper_repro.spec import Spec

WEIGHTS, IMPORTED = "model.safetensors", "checkpoint.json"


class Imported(BaseModel):
    """Where an imported network is from, and what it is. ``source``: the file that it was read from, with its sha256.
    ``stated``: what that file says of itself. Layers without a threshold have none in ``thresholds``.
    """

    model_config = ConfigDict(frozen=True)

    source: str
    sha256: str
    form: str
    model: str
    model_args: dict[str, Any]
    input_size: tuple[int, ...]
    stated: dict[str, Any] = {}
    thresholds: dict[str, float] = {}
    balances: dict[str, Balance] = {}  # earlier versions did not keep them


@dataclass(frozen=True)
class Stored:
    """A network that was read. ``model_args``: as it was before training, which may have left its low-rank products
    fewer ranks. ``input_size``: of one example, without the batch. ``about``: what the folder says of it.
    """

    network: nn.Module
    model: str
    model_args: Mapping[str, Any]
    input_size: tuple[int, ...]
    about: Record | Imported


def network_args(spec: Spec) -> dict[str, Any]:
    """The arguments of a spec's model, those that follow from its data set included."""
    return {**dataset(spec.dataset).fitting, **spec.model_args}


def untrained(spec: Spec) -> nn.Module:
    """The network of a spec without a method, with the initial weights that torch's generator gives now."""
    return models.get(spec.model, **network_args(spec))


def parameter_count(spec: Spec) -> int:
    """Its parameters, batch norm included; nothing is allocated, but for a user's network, which may look at values."""
    with torch.random.fork_rng(devices=[]):
        build = models.get if spec.model_sha256 else models.outline
        return sum(parameter.numel() for parameter in build(spec.model, **network_args(spec)).parameters())


def kept_weights(folder: Path, kept: str) -> Path:
    """Where a run has the weights of the network that it kept under the name ``kept``."""
    return folder / "kept" / f"{kept.replace('/', '-')}.safetensors"


def keep(network: nn.Module, imported: Imported, folder: Path) -> None:
    """Write an imported network into a folder, in which ``read`` finds it."""
    write_weights(network.state_dict(), folder / WEIGHTS)
    write(folder / IMPORTED, json.dumps({"schema": 1, **imported.model_dump()}, indent=1) + "\n")


def imported(folder: Path) -> Imported:
    """Where the network in a folder is from; UserError when it is no imported one, or its file is damaged."""
    file = folder / IMPORTED
    try:
        return Imported.model_validate(json.loads(file.read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError):
        kinds = f"neither a finished run ({record.FILE}) nor an imported checkpoint ({IMPORTED})"
        raise UserError(f"{folder} is {kinds}") from None
    except ValidationError as error:
        place, problem = problems(error)[0]
        raise UserError(f"{file} is damaged: {place[0]} {problem}; import it again", exit_code=3) from error
    except ValueError as error:
        raise UserError(f"{file} is damaged ({error}); import it again", exit_code=3) from error


def read(folder: Path, kept: str | None = None) -> Stored:
    """The network of a finished run or of an imported checkpoint, or the one that the run kept under the name ``kept``;
    UserError when there is none, or it is damaged.
    """
    about = record.read(folder) if (folder / record.FILE).exists() else imported(folder)
    if isinstance(about, Record):
        spec = about.spec
        model, arguments, input_size = spec.model, network_args(spec), dataset(spec.dataset).input_size
    else:
        model, arguments, input_size = about.model, about.model_args, about.input_size
    path = _last(folder, about) if kept is None else _kept(folder, about, kept)
    tensors = load(path)
    try:
        network = filled(model, arguments, tensors)
    except RuntimeError as error:
        raise UserError(f"{path} is of another network: {error}", exit_code=3) from error
    return Stored(network, model, arguments, input_size, about)


def filled(model: str, arguments: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> nn.Module:
    """The model with these weights, for evaluation; its low-rank products get the ranks that the weights have.

    Raises RuntimeError when the weights are of another model, or have more ranks than it begins with.
    """
    network = models.get(model, **arguments)
    for name, (down, up) in low_rank_products(network).items():
        first, _ = (key for key, _ in network.get_submodule(name).named_children())
        weight = tensors.get(f"{name}.{first}.weight")
        if isinstance(weight, Tensor) and weight.ndim == 2:
            keep_ranks(down, up, slice(len(weight)))
    return loaded(network, tensors)


def loaded(network: nn.Module, tensors: Mapping[str, Tensor]) -> nn.Module:
    """The network with these weights, for evaluation. RuntimeError unless they are all of its own, and no other."""
    _part_where_weights_differ(network, tensors)
    network.load_state_dict(dict(tensors))
    return network.eval()


def _part_where_weights_differ(network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Give a layer a parameter of its own where it shares one in the untrained network, and not the weights: a method
    may have pruned them in different ways.
    """
    first: dict[int, str] = {}
    for layer, module in network.named_modules():
        for name, parameter in module.named_parameters(layer, recurse=False):
            other = first.setdefault(id(parameter), name)
            if other != name and {name, other} <= tensors.keys() and not torch.equal(tensors[name], tensors[other]):
                own = nn.Parameter(parameter.detach().clone(), requires_grad=parameter.requires_grad)
                module.register_parameter(name.rpartition(".")[2], own)


def _last(folder: Path, about: Record | Imported) -> Path:
    if (folder / WEIGHTS).exists():
        return folder / WEIGHTS
    diverged = isinstance(about, Record) and about.result.status == "diverged"
    raise UserError(
        f"{folder} has no {WEIGHTS}: "
        + ("the run diverged" if diverged else f"it was trained by a version that kept no weights; {TRAIN_AGAIN}")
    )


def _kept(folder: Path, about: Record | Imported, kept: str) -> Path:
    there = about.kept if isinstance(about, Record) else {}
    if kept not in there:
        known = f"it kept those at {', '.join(there)}" if there else "it kept none on its way, and has its last alone"
        raise UserError(f"{folder} has no network kept at {kept}: {known}")
    path = kept_weights(folder, kept)
    earlier = path.with_suffix(".pt")  # the form of earlier versions
    return earlier if earlier.exists() and not path.exists() else path
