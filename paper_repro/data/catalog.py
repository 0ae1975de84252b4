"""The data sets that a spec can name, and the facts about each that planning needs."""

from __future__ import annotations

from dataclasses import dataclass

from paper_repro.errors import unknown


@dataclass(frozen=True)
class Dataset:
    """``input_size`` is what the network sees of one example: (channels, height, width) of an image, (steps, features)
    of a sequence.
    """

    name: str
    title: str
    train_examples: int
    val_examples: int
    num_classes: int
    input_size: tuple[int, ...]

    @property
    def in_channels(self) -> int:
        """Channels of an image, features of a step: what the first layer takes."""
        return self.input_size[0] if len(self.input_size) == 3 else self.input_size[-1]


DATASETS = {
    item.name: item
    for item in (
        Dataset("fashion_mnist", "Fashion-MNIST", 60_000, 10_000, 10, (1, 28, 28)),
        Dataset("cifar10", "CIFAR-10", 50_000, 10_000, 10, (3, 32, 32)),
        Dataset("imagenet1k", "ImageNet-1K", 1_281_167, 50_000, 1000, (3, 224, 224)),
        Dataset("har2", "HAR-2", 7_352, 2_947, 2, (128, 9)),
        Dataset("har2_rebuilt", "HAR-2 (reconstructed UCI HAR)", 7_352, 2_947, 2, (128, 9)),
        Dataset("watch", "Watch (shoulder exercises)", 2_828, 777, 7, (128, 9)),
        Dataset("speech12", "Speech Commands v0.02 test set, speaker-disjoint split", 3_777, 1_113, 12, (99, 32)),
        Dataset("har2_original", "a third of HAR-2's original windows", 2_400, 950, 2, (128, 9)),
        Dataset("har2_matched", "the same third of HAR-2, reconstructed", 2_400, 950, 2, (128, 9)),
        Dataset("google12", "Google-12", 22_246, 3_081, 12, (99, 32)),
    )
}


TRAINABLE = (
    "fashion_mnist",
    "imagenet1k",
    "har2",
    "har2_rebuilt",
    "har2_original",
    "har2_matched",
    "watch",
    "speech12",
    "google12",
)  # those that this version has a loader for


def dataset(name: str) -> Dataset:
    """The facts about the data set called ``name``."""
    if name not in DATASETS:
        raise unknown("data set", name, DATASETS)
    return DATASETS[name]
