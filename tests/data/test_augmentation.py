"""Augmentation against a plain twin, image by image, and its independence of everything but seed, epoch and example."""

from __future__ import annotations

import pytest
import torch

from paper_repro.data.augmentation import CROP_AND_FLIP, crop_and_flip
from paper_repro.data.loaders import TensorLoader, generator

IMAGES = torch.arange(10 * 3 * 8 * 8).remainder(251).to(torch.uint8).reshape(10, 3, 8, 8) + 1
LABELS = torch.arange(10)


def loader(batch_size: int, augmented: bool = True) -> TensorLoader:
    return TensorLoader(
        IMAGES, LABELS, torch.Tensor.float, batch_size, augmentation=CROP_AND_FLIP if augmented else None
    )


def epoch(batch_size: int, seed: int = 0, number: int = 0, first: int = 0, augmented: bool = True) -> dict:
    """Label -> image as it was served, in the order of the epoch."""
    batches = loader(batch_size, augmented).epoch(seed, number, first)
    return {int(y): x for images, labels in batches for x, y in zip(images, labels, strict=True)}


def test_every_change_is_a_crop_of_the_padded_image_mirrored_or_not() -> None:
    image = IMAGES[0]
    padded = torch.zeros(3, 16, 16, dtype=torch.uint8)
    padded[:, 4:12, 4:12] = image
    ways = torch.arange(CROP_AND_FLIP.ways)
    for way, changed in zip(ways.tolist(), crop_and_flip(image.expand(len(ways), -1, -1, -1), ways), strict=True):
        place, mirrored = divmod(way, 2)
        top, left = divmod(place, 9)
        expected = padded[:, top : top + 8, left : left + 8]
        assert torch.equal(changed, expected.flip(2) if mirrored else expected)
    assert crop_and_flip(image[None], torch.tensor([2 * (4 * 9 + 4)])).equal(image[None])
    assert len(ways) == 9 * 9 * 2


def test_what_an_example_becomes_depends_on_seed_epoch_and_example_alone() -> None:
    whole = epoch(3)
    for label, image in epoch(4).items():
        assert torch.equal(image, whole[label])
    resumed = epoch(3, first=2)
    assert list(resumed) == list(whole)[6:]
    assert all(torch.equal(image, whole[label]) for label, image in resumed.items())
    for other in (epoch(3, seed=1), epoch(3, number=1)):
        assert any(not torch.equal(other[label], whole[label]) for label in whole)
    assert generator(0, 1, "order").initial_seed() != generator(0, 1, "changes").initial_seed()


def test_the_order_of_an_epoch_is_the_same_with_and_without() -> None:
    plain = epoch(3, augmented=False)
    assert list(plain) == list(epoch(3))
    assert all(torch.equal(image, IMAGES[label].float()) for label, image in plain.items())


@pytest.mark.parametrize(
    "seed, number, order", [(0, 0, [4, 1, 7, 5, 3, 9, 0, 8, 6, 2]), (2, 1, [6, 1, 2, 7, 4, 3, 8, 0, 9, 5])]
)
def test_the_order_of_data_sets_that_are_not_augmented_is_that_of_earlier_versions(
    seed: int, number: int, order: list[int]
) -> None:
    assert list(epoch(4, seed, number, augmented=False)) == order


def test_validation_examples_are_served_as_they_are() -> None:
    served = torch.cat([images for images, _ in loader(4).in_order()])
    assert torch.equal(served, IMAGES.float())


@pytest.mark.gpu
def test_the_same_batches_on_a_gpu() -> None:
    there = TensorLoader(IMAGES.cuda(), LABELS.cuda(), torch.Tensor.float, 4, augmentation=CROP_AND_FLIP)
    for (x, y), (x_there, y_there) in zip(loader(4).epoch(0, 1), there.epoch(0, 1), strict=True):
        assert x_there.is_cuda and torch.equal(x, x_there.cpu()) and torch.equal(y, y_there.cpu())
