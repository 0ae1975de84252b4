"""How data sets are found, fetched, verified and opened for training.

One that fits in memory extends ``InMemory``, one of sequences ``Sequences``, in a file of ``sets``; its facts stand in
``sets.toml``. Nothing else knows a data set by name.
"""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from paper_repro.data import arrays, sources
from paper_repro.data.arrays import Arrays
from paper_repro.data.augmentation import Augmentation
from paper_repro.data.facts import Dataset
from paper_repro.data.loaders import ALONE, Batch, Loader, Share, TensorLoader
from paper_repro.data.sources import Say
from paper_repro.errors import UserError

VAL_BATCH = 500
LEARNT = ("x_train", "y_train", "x_test", "y_test")  # of the arrays of a data set of sequences: inputs and labels

Device = torch.device | str
Parts = tuple[Batch, Batch]  # (training inputs, labels), (validation inputs, labels)
Origin = tuple[str, Callable[[], None]]  # where the files may come from, and what brings them from there


@dataclass(frozen=True, kw_only=True)
class Source(Dataset, ABC):
    """A data set as it is kept on this machine: how it is found, fetched, verified and opened for training."""

    @abstractmethod
    def present(self, root: Path) -> bool:
        """Whether the files are under ``root``, packed or not; nothing is fetched, and nothing verified."""

    @abstractmethod
    def ensure(self, root: Path, say: Say = print, loader: str = "") -> Path:
        """Find what ``loader`` reads under ``root``, or fetch it there, and verify it; returns its folder. UserError,
        with what to do, where it is not to be had. ``say`` is told of what takes long.
        """

    @abstractmethod
    def open(
        self,
        root: Path,
        batch_size: int,
        device: Device = "cpu",
        share: Share = ALONE,
        loader: str = "",
        say: Say = print,
    ) -> tuple[Loader, Loader, str]:
        """(training loader, validation loader, sha256 fingerprint of the data). Data that fits in memory is kept, and
        its batches are made, on ``device``; ``loader`` reads what does not fit.
        """

    def make_ready(self, root: Path, say: Say, **steps: Any) -> None:
        """What ``data NAME`` does; ``steps`` are the values of ``self.steps``."""
        self.ensure(root, say)
        say(f"{self.name}: complete and verified in {root}")


@dataclass(frozen=True, kw_only=True)
class InMemory(Source):
    """A data set that fits in memory; ``sets.toml`` explains the fields."""

    kept_in: str
    files: Mapping[str, str] = field(default_factory=dict)
    fetch_mb: int = 0
    collection: str = ""
    by_hand: str = ""
    held_out_each: int = 0
    augmentation: ClassVar[Augmentation | None] = None

    @abstractmethod
    def load(self, folder: Path) -> Parts:
        """((training inputs, labels), (validation inputs, labels)), as they are kept in memory."""

    def prepare(self, inputs: Tensor) -> Tensor:
        """A batch of inputs as the network sees it: float32, normalised."""
        return inputs

    def fingerprint(self, folder: Path) -> str:
        """A sha256 of everything that ``load`` returns, directly or through the files that it is made from."""
        return sources.fingerprint(self.files)  # ``ensure`` has found them to be these

    def folder(self, root: Path) -> Path:
        """Where it is kept."""
        return root / self.kept_in

    def lock(self, root: Path) -> Path:
        """The file that is locked while a process fetches."""
        return self.folder(root) / ".lock"

    def present(self, root: Path) -> bool:
        return all((self.folder(root) / name).is_file() for name in self.files)

    def missing(self, folder: Path) -> list[str]:
        """The names of the files that are not in ``folder``, or not intact."""
        return [name for name, digest in self.files.items() if not sources.is_intact(folder / name, digest)]

    def is_whole(self, folder: Path, say: Say) -> bool:
        """Whether all that ``load`` needs is there and intact."""
        return not self.missing(folder)

    def ensure(self, root: Path, say: Say = print, loader: str = "") -> Path:
        folder = self.folder(root)
        if not self.fetch_mb:
            self.require_files(folder)
        elif not self.is_whole(folder, lambda text: None):  # looked at first: it may lie on a disk nobody can write
            with sources.claimed(self.lock(root), self.collection or self.title, self.fetch_mb):
                if not self.is_whole(folder, say):  # another process may have brought it
                    self.fetch(root, folder, say)
        self.verify(folder, say)
        return folder

    def verify(self, folder: Path, say: Say) -> None:
        """UserError for what is wrong although the files have their sha256."""

    def require_files(self, folder: Path) -> None:
        """UserError, with what to use instead, for files that cannot be fetched and are absent or others."""
        for name in self.missing(folder):
            path, what = folder / name, self.collection or self.title
            if not path.is_file():
                raise UserError(
                    f"{path} is not there: it is {what}. It cannot be fetched. {self.by_hand}, or set DATA_ROOT."
                )
            raise UserError(
                f"{path} is not the file that is meant: its sha256 is {sources.sha256(path)}, not {self.files[name]}. "
                f"{self.by_hand}."
            )

    def fetch(self, root: Path, folder: Path, say: Say) -> None:
        """Bring the data from the first of the ``origins`` that has it; UserError, naming what was tried."""
        tried, title = [], self.collection or self.title
        for origin, bring in self.origins(root, folder, say):
            try:
                bring()
                tried.append(f"{origin}: does not have all of it")
            except UserError as error:
                tried.append(f"{origin}: {error}")
            if self.is_whole(folder, say):
                say(f"{title}: verified, from {origin}")
                return
        listed = "\n  ".join(tried)
        advice = self.by_hand.format(root=root, folder=folder)
        raise UserError(f"{title} is not under {root} and could not be fetched.\n  {listed}\n{advice}")

    def origins(self, root: Path, folder: Path, say: Say) -> Iterable[Origin]:
        """Where the data may come from, in turn."""
        return ()

    def open(
        self,
        root: Path,
        batch_size: int,
        device: Device = "cpu",
        share: Share = ALONE,
        loader: str = "",
        say: Say = print,
    ) -> tuple[Loader, Loader, str]:
        share.require_fair(self.train_examples, batch_size)
        folder = self.ensure(root, say)
        (x_train, y_train), (x_val, y_val) = self.load(folder)
        if self.held_out_each:
            held_out = torch.arange(len(y_train)) % self.held_out_each == self.held_out_each - 1
            (x_val, y_val), (x_train, y_train) = ((x_train[part], y_train[part]) for part in (held_out, ~held_out))
        train = TensorLoader(x_train.to(device), y_train.to(device), self.prepare, batch_size, share, self.augmentation)
        val = TensorLoader(x_val.to(device), y_val.to(device), self.prepare, VAL_BATCH, share)
        return train, val, self.fingerprint(folder)


@dataclass(frozen=True, kw_only=True)
class Archived(InMemory):
    """A data set that comes in one archive, which is looked for under the root and else fetched."""

    archives: tuple[str, ...]
    addresses: Mapping[str, str]

    @abstractmethod
    def unpack(self, archive: Path, folder: Path, say: Say) -> None:
        """Write the files into ``folder``; UserError where it is not an intact archive of them."""

    def present(self, root: Path) -> bool:
        return super().present(root) or any((root / name).is_file() for name in self.archives)

    def origins(self, root: Path, folder: Path, say: Say) -> Iterable[Origin]:
        for archive in (root / name for name in self.archives):
            if archive.is_file():
                yield str(archive), partial(self._unpack_found, archive, folder, say)
        for address, known_hash in self.addresses.items():
            yield address, partial(self._fetch, address, known_hash, folder, say)

    def _unpack_found(self, archive: Path, folder: Path, say: Say) -> None:
        try:
            self.unpack(archive, folder, say)
        except UserError as error:
            say(f"{self.collection or self.title}: not used: {error}: remove it")
            raise UserError(f"{error}: remove it") from error

    def _fetch(self, address: str, known_hash: str, folder: Path, say: Say) -> None:
        say(f"{self.collection or self.title}: fetching {address}")
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            name = address.rpartition("/")[2]
            self.unpack(sources.fetch(address, Path(scratch), name, known_hash), folder, say)


@dataclass(frozen=True, kw_only=True)
class Sequences(InMemory):
    """A data set of sequences, standardised by its training part. ``by_channel``: one mean and deviation for each
    feature, instead of one for each feature of each step.
    """

    by_channel: bool = False

    @abstractmethod
    def read(self, folder: Path) -> Arrays:
        """x_train, x_test: (N, steps, features) before standardising; y_train, y_test: (N,)."""

    def classes(self, labels: np.ndarray) -> np.ndarray:
        """The classes that are learnt, 0 to ``num_classes`` - 1, of labels as ``read`` has them."""
        return labels

    def load(self, folder: Path) -> Parts:
        """float32 (N, steps, features), standardised, and int64 (N,), of each part."""
        content = self.read(folder)
        inputs = arrays.standardised(content["x_train"], content["x_test"], (0, 1) if self.by_channel else (0,))
        labels = (self.classes(content[f"y_{part}"]).astype(np.int64) for part in ("train", "test"))
        train, test = zip(inputs, map(torch.from_numpy, labels), strict=True)
        return train, test

    def fingerprint(self, folder: Path) -> str:
        """Of inputs before standardising and labels, and of how they are standardised where that is not the usual."""
        content = self.read(folder)
        scale = {"per_channel": np.array(True)} if self.by_channel else {}
        return arrays.fingerprint({**{name: content[name] for name in LEARNT}, **scale})
