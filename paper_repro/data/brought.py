"""A user's network, and the data set that it brings along: tensors that a function returns."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from paper_repro.data import arrays, catalog
from paper_repro.data.dataset import InMemory, Parts
from paper_repro.errors import UserError
from paper_repro.methods.plugins import Plugin, explained
from paper_repro.models import plugins


@dataclass(frozen=True, kw_only=True)
class Brought(InMemory):
    """Kept in memory alone: there are no files."""

    parts: Parts = field(repr=False, compare=False)

    def load(self, folder: Path) -> Parts:
        return self.parts

    def fingerprint(self, folder: Path) -> str:
        tensors = [tensor for part in self.load(folder) for tensor in part]
        return arrays.fingerprint({str(at): tensor.numpy() for at, tensor in enumerate(tensors)})


@dataclass(frozen=True, kw_only=True)
class HeldOut(Brought):
    """The training part of such a data set, a tenth of it held out to choose settings by: the same tenth in every
    process. ``parts`` are those of the whole; its validation part is not read.
    """

    def load(self, folder: Path) -> Parts:
        (inputs, labels), _ = self.parts
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
        held_out, learnt = order[: self.val_examples], order[self.val_examples :]
        return (inputs[learnt], labels[learnt]), (inputs[held_out], labels[held_out])


def bring(plugin: Plugin) -> str:
    """Load a user's network, and the data set that it brings along; that one's name, which is empty where it brings
    none. The generators of torch, numpy and Python are seeded for the data: every process is to have the same.
    """
    own = plugins.load(plugin)
    if own.data is None:
        return ""
    with _seeded(), explained(plugin, "make its data"):
        parts = own.data()
    return register(f"{plugin.name}_data", plugin, parts).name


@contextmanager
def _seeded() -> Iterator[None]:
    """Generators begin anew, and are as before in the end."""
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002 - scikit-learn, for one, draws from it
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)  # noqa: NPY002


def register(name: str, where: object, parts: Any) -> Brought:
    """The data set of these parts, which ``catalog.dataset`` knows from now on. ``where``: what made them, for errors.

    UserError for anything but ((inputs, labels), (inputs, labels)) as ``models.plugins`` describes them.
    """
    problem = _problem(parts)
    if problem:
        raise UserError(f"{where}: data() returns ((train_inputs, train_labels), (val_inputs, val_labels)); {problem}")
    (x_train, y_train), (x_val, _) = parts
    own = Brought(
        name=name,
        title=f"the data set of {name.removesuffix('_data')}",
        train_examples=len(x_train),
        val_examples=len(x_val),
        num_classes=int(y_train.max()) + 1,
        input_size=tuple(x_train.shape[1:]),
        label_shape=tuple(y_train.shape[1:]),
        disk_mb=0.0,
        licence="the user's own",
        evaluated_on="validation part",
        kept_in="",
        parts=parts,
    )
    catalog.BROUGHT[name] = own
    _register_held_out(own)
    return own


def _register_held_out(whole: Brought) -> None:
    """Its validation split, for trials; none where there is a single training example."""
    name, held_out = f"{whole.name}_validation", math.ceil(whole.train_examples / 10)
    catalog.BROUGHT.pop(name, None)
    if held_out < whole.train_examples:
        facts = {item.name: getattr(whole, item.name) for item in fields(whole)}
        facts |= {"name": name, "title": f"{whole.title}, a tenth of its training part held out"}
        facts |= {"train_examples": whole.train_examples - held_out, "val_examples": held_out}
        facts |= {"evaluated_on": "validation split", "held_out_of": whole.name}
        catalog.BROUGHT[name] = HeldOut(**facts)


def _problem(parts: Any) -> str:
    """What is wrong with them; empty where nothing is."""
    try:
        tensors = [tensor for part in parts for tensor in part]
    except TypeError:
        return f"it returned {type(parts).__name__}"
    if len(tensors) != 4 or not all(isinstance(tensor, Tensor) for tensor in tensors):
        return "two pairs of tensors are expected"
    x_train, y_train, x_val, y_val = tensors
    if x_train.dtype != torch.float32 or x_val.dtype != torch.float32 or x_train.shape[1:] != x_val.shape[1:]:
        return "the inputs of both are float32 and of one shape"
    if y_train.dtype != torch.int64 or y_val.dtype != torch.int64 or y_train.shape[1:] != y_val.shape[1:]:
        return "the labels of both are int64 and of one shape"
    if len(x_train) != len(y_train) or len(x_val) != len(y_val) or not len(x_train) or not len(x_val):
        return "there are as many labels as inputs, and at least one in each part"
    if min(y_train.min(), y_val.min()) < 0 or y_val.max() > y_train.max():
        return "labels are classes from 0 on, and those of the validation part are among those of the training part"
    return ""
