"""A network leaves the project: as a state dict of torchvision, as safetensors and as ONNX. Each file is read again and
run on random inputs before it counts, and must give the logits of the network that it is made from.

Zeros stay zeros in the first two. In ONNX, batch norm is folded into the convolutions, which keeps them as well.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
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
    found = networks.read(folder, kept)
    inputs = torch.randn(EXAMPLES, *found.input_size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = found.network(inputs)
    why_not = torchvision_lacks(found)
    if why_not is None:
        state, names = torchvision_state(found.network), f"torchvision.models.{found.model}"
        fill = partial(_filled, torchvision_model(found))
        yield _checked(
            out / f"torchvision_{found.model}.pth",
            f"state dict of torchvision's {found.model}",
            lambda path: torch.save(state, path),
            lambda path: fill(torch.load(path, weights_only=True))(inputs),
            expected,
        )
    else:
        state, names = found.network.state_dict(), f"paper_repro.models.{found.model}{_ranks(found.network)}"
        fill = partial(networks.filled, found.model, found.model_args)
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
        f"ONNX, input 'input' (batch, {', '.join(map(str, found.input_size))}), output 'logits'",
        lambda path: write_onnx(found, path),
        lambda path: run_onnx(path, inputs),
        expected,
    )


def torchvision_lacks(found: Stored) -> str | None:
    """Why torchvision has no such network; None when it has."""
    if found.model not in TORCHVISION:
        return f"it has no {found.model}"
    arguments = {"width": 64, "in_channels": 3, "last_stride": 2, **found.model_args}
    if (arguments["width"], arguments["in_channels"], arguments["last_stride"]) == (64, 3, 2):
        return None
    return (
        f"its {found.model} has 64 channels at first, takes images of 3 channels and ends with stride 2; this one has "
        f"{arguments['width']}, {arguments['in_channels']} and {arguments['last_stride']}"
    )


def torchvision_state(network: nn.Module) -> dict[str, Tensor]:
    """The state dict under torchvision's conventions: the classifier is a matrix, and has a bias, which is zero."""
    state = dict(network.state_dict())
    state["fc.weight"] = state["fc.weight"].flatten(1)
    state["fc.bias"] = torch.zeros(len(state["fc.weight"]))
    return state


def torchvision_model(found: Stored) -> nn.Module:
    """torchvision's network of that name, with random weights."""
    import torchvision

    network: nn.Module = getattr(torchvision.models, found.model)(num_classes=found.model_args["num_classes"])
    return network


def write_onnx(found: Stored, path: Path) -> None:
    """Write the network as ONNX, for batches of any size."""
    _require_onnx()
    example = torch.zeros(2, *found.input_size)  # not 1, which the exporter would take for a constant
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            found.network,
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
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise UserError(f"ONNX needs the package {name}: pip install 'paper-repro[export]'") from error


def _ranks(network: nn.Module) -> str:
    """What to say of the ranks of a network, for those who build it anew; nothing where it has no low-rank products."""
    ranks = [f"{down.out_features} ({name})" for name, (down, _) in low_rank_products(network).items()]
    return f" with ranks {', '.join(ranks)}" if ranks else ""


def _filled(empty: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    empty.load_state_dict(dict(state))  # strict: every key, and no other
    return empty.eval()


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
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
