"""ImageNet from its folder, by torchvision: the paper's augmentation, decoded by worker processes.

The augmentation of an image is a function of (seed, epoch, image) alone: whatever the number of workers or of
processes, and wherever an epoch is taken up again, the batches are bit for bit the same.
"""

from __future__ import annotations

import atexit
import os
import signal
import warnings
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, cached_property
from multiprocessing import active_children
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.transforms.functional import pil_to_tensor

from paper_repro.data.loaders import ALONE, Batch, Loader, Share
from paper_repro.data.readers.images import REMEDY, Images, read_rgb
from paper_repro.errors import UserError
from paper_repro.machine import cores

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's training images, scaled to 0..1
CROP, RESIZE = 224, 256  # px
MOST_WORKERS = 16  # for one process; more only take memory


class Work(NamedTuple):
    """One batch to be made: positions of its images; ``key`` is (seed, epoch) where they are augmented."""

    indices: list[int]
    key: tuple[int, int] | None


class Decoded(Dataset[tuple[Tensor, Tensor] | str]):
    """Batches of uint8 images (n, 3, 224, 224) and labels (n,), made by torchvision's transforms; where one of the
    images cannot be read, what is wrong with it: an error would arrive as a traceback of the worker.
    """

    def __init__(self, images: Images) -> None:
        self.images = images
        self.augment = transforms.Compose([transforms.RandomResizedCrop(CROP), transforms.RandomHorizontalFlip()])
        self.centre = transforms.Compose([transforms.Resize(RESIZE), transforms.CenterCrop(CROP)])

    def __getitem__(self, work: Work) -> tuple[Tensor, Tensor] | str:
        try:
            images = torch.stack([self._one(index, work.key) for index in work.indices])
        except UserError as error:
            return str(error)
        return images, torch.from_numpy(self.images.labels[work.indices])

    def _one(self, index: int, key: tuple[int, int] | None) -> Tensor:
        image = read_rgb(self.images.path(index))
        if key is None:
            return pil_to_tensor(self.centre(image))
        seed = int(np.random.SeedSequence((*key, index)).generate_state(1, np.uint64)[0])
        with torch.random.fork_rng(devices=[]):  # torchvision draws from the global generator
            torch.default_generator.manual_seed(seed)
            return pil_to_tensor(self.augment(image))


class FolderLoader(Loader):
    """``Loader`` over ``images``; ``workers`` are this process's."""

    def __init__(self, images: Images, batch_size: int, share: Share = ALONE, workers: int | None = None) -> None:
        super().__init__(len(images), batch_size, share)
        self.images = images
        self.workers = cores_for(share) if workers is None else min(workers, cores())
        self.plan: Iterable[Work] = ()
        self.passes = 0

    @property
    def record(self) -> Mapping[str, Any]:
        return {"loader": "folder", "exact_resume": True, "skipped_images": self.images.left_out}

    def serve(self, batches: Iterable[Tensor], key: tuple[int, int] | None) -> Iterator[Batch]:
        self.plan = (Work(batch.tolist(), key) for batch in batches)
        self.passes += 1
        this = self.passes
        ahead = iter(self._batches)
        while True:
            if this != self.passes:
                raise RuntimeError("another pass over this loader has begun; its workers serve one at a time")
            made = next(ahead, None)
            if made is None:
                return
            if isinstance(made, str):
                raise UserError(f"{made}. {REMEDY}")
            images, labels = made
            yield normalised(images), labels

    @cached_property
    def _batches(self) -> DataLoader[tuple[Tensor, Tensor] | str]:
        _end_workers_at_exit()
        return DataLoader(
            Decoded(self.images),
            batch_size=None,  # the plan has whole batches
            sampler=Plan(self),
            num_workers=self.workers,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=self.workers > 0,
            worker_init_fn=_start_worker,
            collate_fn=_as_it_is,
            generator=torch.Generator(),  # otherwise every epoch would draw from the global one
        )


class Plan:
    """The sampler of a loader: its current plan, each time it is asked."""

    def __init__(self, loader: FolderLoader) -> None:
        self.loader = loader

    def __iter__(self) -> Iterator[Work]:
        return iter(self.loader.plan)


def normalised(images: Tensor) -> Tensor:
    """uint8 (n, 3, h, w) as float32 with ImageNet's mean and deviation, on the GPU where there is one."""
    device = torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
    mean, std = (torch.tensor(values, device=device).view(3, 1, 1) for values in (MEAN, STD))
    return images.to(device, non_blocking=True).float().div_(255.0).sub_(mean).div_(std)


def cores_for(share: Share) -> int:
    """Cores for each of the processes that train together on this machine; torchrun says how many are on it."""
    here = int(os.environ.get("LOCAL_WORLD_SIZE", share.world))
    return max(1, min(cores() // here, MOST_WORKERS))


def _as_it_is(batch: Any) -> Any:
    return batch


@cache
def _end_workers_at_exit() -> None:
    atexit.register(_end_workers)


def _end_workers() -> None:
    """Workers ignore the signal with which Python ends them at its exit, and it would wait for them for ever."""
    for child in active_children():
        if child.daemon:
            child.kill()


def _start_worker(_number: int) -> None:
    # A scheduler sends its signals to every process: the one that trains saves its state, and then ends its workers.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    # a few dozen of ImageNet's files have metadata that Pillow warns of, once in each worker
    warnings.filterwarnings("ignore", message="(Possibly corrupt|Corrupt) EXIF data")
