"""What is known of a data set before it is opened; read without torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """An option of ``data NAME`` that one data set has: a flag, or one that takes a file."""

    flag: str
    help: str
    takes_file: bool = False

    @property
    def argument(self) -> str:
        """Its name as an argument of ``Source.make_ready``."""
        return self.flag.removeprefix("--").replace("-", "_")


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """The facts of a data set; ``sets.toml`` explains them."""

    name: str
    title: str
    train_examples: int
    val_examples: int
    num_classes: int
    input_size: tuple[int, ...]
    label_shape: tuple[int, ...] = ()  # (height, width) where every pixel has a label
    disk_mb: float
    licence: str
    evaluated_on: str = "test set"
    same_as: str = ""
    held_out_of: str = ""
    alias: str = ""
    readers: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()

    @property
    def in_channels(self) -> int:
        """Channels of an image, features of a step: what the first layer takes."""
        return self.input_size[0] if len(self.input_size) == 3 else self.input_size[-1]

    @property
    def fitting(self) -> dict[str, int]:
        """The arguments with which a model fits this data set."""
        return {"num_classes": self.num_classes, "in_channels": self.in_channels}
