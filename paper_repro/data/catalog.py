"""The data sets that a spec can name, and the facts about each that planning needs."""

from __future__ import annotations

from dataclasses import dataclass, replace

from paper_repro.errors import unknown


@dataclass(frozen=True)
class Dataset:
    """``input_size`` is what the network sees of one example: (channels, height, width) of an image, (steps, features)
    of a sequence. ``disk_mb``: what it takes on disk, in 1e6 bytes, with the archive where that is kept.
    ``evaluated_on``: what the ``val_examples`` are. ``same_as``: the data set that has the same examples, prepared
    otherwise.
    """

    name: str
    title: str
    train_examples: int
    val_examples: int
    num_classes: int
    input_size: tuple[int, ...]
    disk_mb: float
    evaluated_on: str = "test set"
    same_as: str = ""

    @property
    def in_channels(self) -> int:
        """Channels of an image, features of a step: what the first layer takes."""
        return self.input_size[0] if len(self.input_size) == 3 else self.input_size[-1]

    @property
    def fitting(self) -> dict[str, int]:
        """The arguments with which a model fits this data set."""
        return {"num_classes": self.num_classes, "in_channels": self.in_channels}


def _har2(name: str, title: str, disk_mb: float) -> tuple[Dataset, ...]:
    """HAR-2 from one source of windows, and its variants (``har2_variants``)."""
    whole = Dataset(name, title, 7_352, 2_947, 2, (128, 9), disk_mb)
    people = "4 of the 21 people to learn from"
    held_out = replace(
        whole, name=f"{name}_validation", title=f"{title}, {people} held out", train_examples=5_974,
        val_examples=1_378, evaluated_on="validation split",
    )  # fmt: skip
    channels = [
        replace(item, name=f"{item.name}_channels", title=f"{item.title}, scaled by channel", same_as=item.name)
        for item in (whole, held_out)
    ]
    return (whole, held_out, *channels)


DATASETS = {
    item.name: item
    for item in (
        Dataset("fashion_mnist", "Fashion-MNIST", 60_000, 10_000, 10, (1, 28, 28), 55),
        Dataset("cifar10", "CIFAR-10", 50_000, 10_000, 10, (3, 32, 32), 184),
        Dataset("imagenet1k", "ImageNet-1K", 1_281_167, 50_000, 1000, (3, 224, 224), 154_643),
        *_har2("har2", "HAR-2", 299),
        *_har2("har2_rebuilt", "HAR-2 (reconstructed UCI HAR)", 24),
        Dataset("watch", "Watch (shoulder exercises)", 2_828, 777, 7, (128, 9), 18),
        Dataset("speech12", "Speech Commands v0.02 test set, speaker-disjoint split", 3_777, 1_113, 12, (99, 32), 172),
        Dataset("har2_original", "a third of HAR-2's original windows", 2_400, 950, 2, (128, 9), 14),
        Dataset("har2_matched", "the same third of HAR-2, reconstructed", 2_400, 950, 2, (128, 9), 40),
        Dataset("google12", "Google-12", 22_246, 3_081, 12, (99, 32), 1850),
    )
}


FROM_FILES = ("imagenet1k",)  # too large for memory: the spec's loader reads them, batch by batch


def dataset(name: str) -> Dataset:
    """The facts about the data set called ``name``."""
    if name not in DATASETS:
        raise unknown("data set", name, DATASETS)
    return DATASETS[name]
