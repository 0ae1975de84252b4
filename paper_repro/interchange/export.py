"""A network leaves the project: as a state dict of torchvision, as safetensors and as ONNX. Each file is read again and
run on random inputs before it counts, and must give the logits of the network that it is made from.

Zeros stay zeros in the first two. In ONNX, batch norm is folded into the convolutions, which keeps them as well.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from paper_repro.accounting import low_rank_products
from paper_repro.errors import UserError
from paper_repro.files import replacing
from paper_repro.interchange import networks, weight_files
from paper_repro.interchange.networks import Stored

EXAMPLES = 4  # of the batch that two networks are compared on
TOLERANCE = 1e-4  # how far logits may differ, in units of the largest: other kernels add up in another order
TORCHVISION = ("resnet18", "resnet50")


@dataclass(frozen=True)
class Exported:
    """A file that was written: the largest difference of its logits from the network's, and the largest logit."""

    path: Path
    form: str
    difference: float
    largest: float


def export(folder: Path, out: Path, kept: str | None = None) -> Iterator[Exported | str]:
    """Write the network in ``folder``, or the one that its run kept under the name ``kept``, to ``out``: yields what
    was written, and a sentence for a form that it cannot have.

    Raises UserError when there is no network, ONNX's libraries are missing, or a file does not give the same logits.
    """
    stored = networks.read(folder, kept)
    inputs = torch.randn(EXAMPLES, *stored.input_size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = stored.network(inputs)
    why_not = torchvision_lacks(stored)
    if why_not is None:
        state, names = torchvision_state(stored.network), f"torchvision.models.{stored.model}"
        fill = partial(networks.loaded, torchvision_model(stored))
        yield _checked(
            out / f"torchvision_{stored.model}.pth",
            f"state dict of torchvision's {stored.model}",
            lambda path: torch.save(state, path),
            lambda path: fill(torch.load(path, weights_only=True))(inputs),
            expected,
        )
    else:
        state, names = stored.network.state_dict(), f"paper_repro.models.{stored.model}{_ranks(stored.network)}"
        fill = partial(networks.filled, stored.model, stored.model_args)
        yield f"no state dict for torchvision: {why_not}"
    yield _checked(
        out / networks.WEIGHTS,
        f"safetensors, layers named as in {names}",
        lambda path: weight_files.write_weights(state, path),
        lambda path: fill(weight_files.read_weights(path))(inputs),
        expected,
    )
    yield _checked(
        out / "model.onnx",
        f"ONNX, input 'input' (batch, {', '.join(map(str, stored.input_size))}), output 'logits'",
        lambda path: write_onnx(stored, path),
        lambda path: run_onnx(path, inputs),
        expected,
    )


def torchvision_lacks(stored: Stored) -> str | None:
    """Why torchvision has no such network; None when it has."""
    if stored.model not in TORCHVISION:
        return f"it has no {stored.model}"
    usual = {"width": 64, "in_channels": 3, "last_stride": 2}
    own = [stored.model_args.get(name, value) for name, value in usual.items()]
    if own == list(usual.values()):
        return None
    return (
        f"its {stored.model} has 64 channels at first, takes images of 3 channels and ends with stride 2; this one has "
        "{}, {} and {}".format(*own)
    )


def torchvision_state(network: nn.Module) -> dict[str, Tensor]:
    """The state dict under torchvision's conventions: the classifier is a matrix, and has a bias, which is zero."""
    state = dict(network.state_dict())
    state["fc.weight"] = state["fc.weight"].flatten(1)
    state["fc.bias"] = torch.zeros(len(state["fc.weight"]))
    return state


def torchvision_model(stored: Stored) -> nn.Module:
    """torchvision's network of that name, with random weights."""
    import torchvision

    network: nn.Module = getattr(torchvision.models, stored.model)(num_classes=stored.model_args["num_classes"])
    return network


def write_onnx(stored: Stored, path: Path) -> None:
    """Write the network as ONNX, for batches of any size."""
    _require_onnx()
    example = torch.zeros(2, *stored.input_size)  # not 1, which the exporter would take for a constant
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            stored.network,
            (example,),
            input_names=["input"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            dynamo=True,
            verbose=False,
        )
        assert program is not None
        program.save(path)


def run_onnx(path: Path, inputs: Tensor) -> Tensor:
    """The logits of a network in ONNX, on the CPU; in two batches, so that a batch size that was fixed would show."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    parts = [session.run(None, {"input": part.numpy()})[0] for part in (inputs[:1], inputs[1:])]
    return torch.cat([torch.from_numpy(part) for part in parts])


def _require_onnx() -> None:
    for name in ("onnx", "onnxruntime", "onnxscript"):
        if importlib.util.find_spec(name) is None:
            raise UserError(f"ONNX needs the package {name}: python -m pip install {name}")


def _ranks(network: nn.Module) -> str:
    """What to say of the ranks of a network, for those who build it anew; nothing where it has no low-rank products."""
    ranks = [f"{down.out_features} ({name})" for name, (down, _) in low_rank_products(network).items()]
    return f" with ranks {', '.join(ranks)}" if ranks else ""


def _checked(
    path: Path, form: str, write: Callable[[Path], Any], run: Callable[[Path], Tensor], expected: Tensor
) -> Exported:
    """Write a file, run what is in it, and move it into place if it gives the expected logits."""
    try:
        with replacing(path) as temporary, torch.no_grad():
            write(temporary)
            difference, largest = float((run(temporary) - expected).abs().max()), float(expected.abs().max())
            if not difference <= TOLERANCE * largest:
                off = f"{difference:.3g} off the network's, of which the largest is {largest:.3g}"
                raise UserError(f"{path} is not written: its logits are {off}", exit_code=3)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}", exit_code=3) from error
    return Exported(path, form, difference, largest)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter says about itself; its errors are raised as ever."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"), contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)
