"""The data sets that a spec can name, and the facts about each that planning needs."""

from __future__ import annotations

from dataclasses import dataclass

from paper_repro.errors import unknown


@dataclass(frozen=True)
class Dataset:
    """Images are (channels, size, size) as the network sees them."""

    name: str
    title: str
    train_images: int
    val_images: int
    num_classes: int
    channels: int
    size: int

    @property
    def input_size(self) -> tuple[int, int, int]:
        return (self.channels, self.size, self.size)


DATASETS = {
    item.name: item
    for item in (
        Dataset("fashion_mnist", "Fashion-MNIST", 60_000, 10_000, 10, 1, 28),
        Dataset("cifar10", "CIFAR-10", 50_000, 10_000, 10, 3, 32),
        Dataset("imagenet1k", "ImageNet-1K", 1_281_167, 50_000, 1000, 3, 224),
    )
}


TRAINABLE = ("fashion_mnist",)  # those that this version has a loader for


def dataset(name: str) -> Dataset:
    """The facts about the data set called ``name``."""
    if name not in DATASETS:
        raise unknown("data set", name, DATASETS)
    return DATASETS[name]
