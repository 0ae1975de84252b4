"""A plain network in a folder: its weights as ``model.safetensors``, and in JSON what network it is.

There are two kinds of such folders. A finished run has a ``result.json``; an imported checkpoint has a
``checkpoint.json``. safetensors holds tensors and nothing else, so that reading it cannot execute anything.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from paper_repro import models
from paper_repro.data.catalog import dataset
from paper_repro.errors import UserError
from paper_repro.files import write
from paper_repro.spec import Spec

WEIGHTS, ABOUT, RESULT = "model.safetensors", "checkpoint.json", "result.json"
RETRAIN = "delete the folder, and the same command that trained it trains it again"


@dataclass(frozen=True)
class Stored:
    """A network that was read. ``input_size``: of one example, without the batch. ``about``: the folder's JSON."""

    network: nn.Module
    model: str
    model_args: Mapping[str, Any]
    input_size: tuple[int, ...]
    about: Mapping[str, Any]


def network_args(spec: Spec) -> dict[str, Any]:
    """The arguments of a spec's model, those that follow from its data set included."""
    return {**dataset(spec.dataset).fitting, **spec.model_args}


def write_weights(tensors: Mapping[str, Tensor], path: Path) -> Path:
    """Write a state dict as safetensors; the file is complete or not there."""
    from safetensors.torch import save

    return write(path, save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}))


def read_weights(path: Path) -> dict[str, Tensor]:
    """The state dict in a safetensors file; UserError when it is not there or damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist") from None
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} cannot be read as safetensors: {error}", exit_code=3) from error


def read(folder: Path) -> Stored:
    """The network of a finished run or of an imported checkpoint; UserError when there is none, or it is damaged."""
    about = _about(folder)
    try:
        if "spec" in about:
            spec = Spec.from_dict(about["spec"])
            model, arguments, input_size = spec.model, network_args(spec), dataset(spec.dataset).input_size
        else:
            model, arguments, input_size = about["model"], about["model_args"], tuple(about["input_size"])
    except (KeyError, TypeError) as error:
        raise UserError(f"{folder}: its JSON does not say what network it is ({error})", exit_code=3) from error
    if not (folder / WEIGHTS).exists():
        diverged = about.get("result", {}).get("status") == "diverged"
        raise UserError(
            f"{folder} has no {WEIGHTS}: "
            + ("the run diverged" if diverged else f"it was trained by a version that kept no weights; {RETRAIN}")
        )
    network = models.get(model, **arguments)
    try:
        network.load_state_dict(read_weights(folder / WEIGHTS))
    except RuntimeError as error:
        raise UserError(f"{folder / WEIGHTS} is of another network: {error}", exit_code=3) from error
    return Stored(network.eval(), model, arguments, input_size, about)


def _about(folder: Path) -> dict[str, Any]:
    for path in (folder / RESULT, folder / ABOUT):
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except ValueError as error:
            raise UserError(f"{path} is damaged ({error})", exit_code=3) from error
    raise UserError(f"{folder} is neither a finished run ({RESULT}) nor an imported checkpoint ({ABOUT})")
