"""Validation splits: a part of the training set in the place of the test set, which nobody sees."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from paper_repro.data import catalog
from paper_repro.data.dataset import Batch
from paper_repro.data.loaders import Loader
from tests.training.tiny import install


def examples(loader: Loader) -> list[bytes]:
    """What identifies each example, in order."""
    batches: list[Batch] = list(loader.in_order())
    return [image.contiguous().numpy().tobytes() for image in torch.cat([images for images, _ in batches])]


def test_every_tenth_training_example_is_held_out_and_no_test_example_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    train, test, _ = catalog.source("fashion_mnist").open(Path(), 8)
    learnt, held_out, _ = catalog.source("fashion_mnist_validation").open(Path(), 8)
    whole = examples(train)
    assert examples(held_out) == whole[9::10]
    assert sorted(examples(learnt) + examples(held_out)) == sorted(whole)
    assert not {*examples(test)} & {*examples(learnt), *examples(held_out)}
    facts = catalog.dataset("fashion_mnist_validation")
    assert (learnt.examples, held_out.examples) == (facts.train_examples, facts.val_examples) == (87, 9)


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("fashion_mnist", "fashion_mnist_validation"),
        ("cifar10", "cifar10_validation"),
        ("har2", "har2_validation"),
        ("har2_rebuilt_channels", "har2_rebuilt_validation_channels"),
    ],
)
def test_data_sets_know_their_validation_split(name: str, split: str) -> None:
    whole, divided = catalog.dataset(name), catalog.dataset(catalog.validation_split(name))
    assert divided.name == split and divided.evaluated_on == "validation split"
    assert divided.train_examples + divided.val_examples == whole.train_examples
