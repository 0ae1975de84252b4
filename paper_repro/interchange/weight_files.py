"""Files of weights, read without executing anything in them: safetensors, and what ``torch.save`` wrote."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from paper_repro.errors import UserError
from paper_repro.files import write


def write_weights(tensors: Mapping[str, Tensor], path: Path) -> Path:
    """Write a state dict as safetensors; the file is complete or not there."""
    # copies, because safetensors refuses tensors that share memory, such as the weight that two layers have in common
    copies = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }
    return write(path, save(copies))


def read_weights(path: Path) -> dict[str, Tensor]:
    """The state dict in a safetensors file; UserError when it is not there or damaged."""
    try:
        return load_file(path)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist") from None
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} cannot be read as safetensors: {error}", exit_code=3) from error


def load(path: Path) -> Mapping[str, Any]:
    """The content of a checkpoint, by ``torch.save`` or as safetensors."""
    return read_weights(path) if path.suffix == ".safetensors" else load_safely(path)


def load_safely(path: Path) -> Mapping[str, Any]:
    """The dict in a file of ``torch.save``, old or new, on the CPU. Only tensors and plain values are read."""
    try:
        with warnings.catch_warnings(action="ignore"):  # of PyTorch, about how the file was pickled
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder; a checkpoint is a file") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from error
    except Exception as error:  # a damaged or hostile file can make the unpickler fail in any way
        raise _refused(path, error) from error
    if not isinstance(content, Mapping):
        raise UserError(f"{path} holds a {type(content).__name__}, no checkpoint and no state dict")
    return content


def _refused(path: Path, error: Exception) -> UserError:
    """Why PyTorch did not read a file, in other words than its own, which advise to read it unsafely."""
    wanted = re.search(r"\bGLOBAL (\w[\w.]*)", str(error))
    if wanted is None:
        return UserError(
            f"{path} cannot be read as a checkpoint: it is cut short, damaged, or no file of torch.save; compare its "
            "size with that at its source, and fetch it again. Nothing in it was executed"
        )
    return UserError(
        f"{path} is refused: it holds more than tensors and plain values (it asks for {wanted[1]}); nothing in it was "
        "executed. If you trust its origin, convert it offline, on a machine that you can lose: "
        "torch.save({'state_dict': torch.load(FILE, weights_only=False)['state_dict']}, NEW_FILE)"
    )
