"""ImageNet from its folder, by NVIDIA DALI: threads of this process read, decode, crop and scale, outside of Python.

Where there is a GPU, it decodes. Only the window that is shown is decoded. The augmentation is torchvision's, and a
function of (seed, epoch, image) alone, because its random numbers are drawn here and handed to DALI: whatever the
number of threads or of processes, and wherever an epoch is taken up again, the batches are bit for bit the same. On a
GPU this is not promised: the GPU tests in ``tests/data/test_dali.py`` have not been run yet.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from paper_repro.data.loaders import ALONE, Batch, Loader, Share
from paper_repro.data.readers.folder import CROP, RESIZE, cores_for, normalised
from paper_repro.data.readers.images import REMEDY, Images, read_rgb
from paper_repro.errors import UserError
from paper_repro.machine import cores

AHEAD = 2  # batches that are made while the network trains on another
ATTEMPTS = 10  # windows that torchvision draws before it takes the middle of the image
AREA, RATIO = (0.08, 1.0), (3 / 4, 4 / 3)  # share of the image and width/height that a window may have: torchvision's
DRAWS = 2 * ATTEMPTS + 3  # random numbers of an image: area and ratio of each attempt, place of the window, flip


class DALILoader(Loader):
    """``Loader`` over ``images``; ``workers`` are threads of this process."""

    def __init__(self, images: Images, batch_size: int, share: Share = ALONE, workers: int | None = None) -> None:
        super().__init__(len(images), batch_size, share)
        self.images = images
        self.workers = cores_for(share) if workers is None else min(workers, cores())

    @property
    def record(self) -> Mapping[str, Any]:
        from nvidia.dali import __version__

        return {
            "loader": "dali",
            "exact_resume": not torch.cuda.is_available(),
            "skipped_images": self.images.left_out,
            "dali": __version__,
        }

    def serve(self, batches: Iterable[Tensor], key: tuple[int, int] | None) -> Iterator[Batch]:
        under_way: deque[np.ndarray] = deque()  # indices of the batches that DALI has begun, the oldest first

        def inputs() -> Iterator[tuple[Any, ...]]:
            for batch in batches:
                if len(batch):  # the share of a batch that is smaller than the number of processes may be empty
                    under_way.append(batch.numpy())
                    paths = [np.frombuffer(bytes(self.images.path(index)), dtype=np.uint8) for index in under_way[-1]]
                    yield (paths,) if key is None else (paths, draws(under_way[-1], *key))

        pipeline = _pipeline(inputs(), key is not None, self.batch_size, self.workers)
        stream = torch.cuda.current_stream() if torch.cuda.is_available() else None
        while True:
            try:
                (pixels,) = pipeline.run(stream)
            except StopIteration:
                return
            except RuntimeError as error:
                self._require_readable(np.concatenate(under_way))
                raise error
            images = normalised(from_dlpack(pixels.as_tensor()))  # a copy: DALI writes into its own again
            yield images, torch.from_numpy(self.images.labels[under_way.popleft()])

    def _require_readable(self, indices: np.ndarray) -> None:
        """UserError with the first of these images that is damaged: DALI does not name it."""
        for index in indices:
            try:
                read_rgb(self.images.path(index))
            except UserError as error:
                raise UserError(f"{error}. {REMEDY}") from error


def draws(indices: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """The random numbers of these images, uniform in [0, 1), float32 (n, DRAWS); by (seed, epoch, image) alone."""
    words = [np.random.SeedSequence((seed, epoch, int(index))).generate_state(DRAWS) for index in indices]
    return (np.stack(words) >> 8).astype(np.float32) / np.float32(1 << 24)


def _pipeline(source: Iterator[Any], augmented: bool, batch_size: int, threads: int) -> Any:
    """DALI's graph of one pass: from the paths and random numbers of ``source`` to uint8 images (n, 3, CROP, CROP)."""
    from nvidia.dali import fn, pipeline_def, types

    scaling = {"interp_type": types.INTERP_LINEAR, "antialias": True}  # as Pillow scales
    upright = {"adjust_orientation": False}  # nobody who trained on ImageNet has turned images as their EXIF data say

    gpu = torch.cuda.current_device() if torch.cuda.is_available() else None
    decoding = {"device": "cpu" if gpu is None else "mixed", **upright}

    @pipeline_def(batch_size=batch_size, num_threads=threads, device_id=gpu, prefetch_queue_depth=AHEAD)
    def graph() -> Any:
        paths, *random = fn.external_source(source, num_outputs=1 + augmented)
        encoded = fn.io.file.read(paths)
        shape = fn.cast(fn.peek_image_shape(encoded, **upright)[:2], dtype=types.FLOAT)
        if augmented:
            corner, size = window(shape, *random)
            region = {"start": corner, "shape": size, "axes": (0, 1)}
            images = fn.decoders.image_slice(encoded, **region, **decoding)
            images = fn.resize(images, size=(CROP, CROP), **scaling)
            images = fn.flip(images, horizontal=fn.cast(random[0][DRAWS - 1] < 0.5, dtype=types.INT32))
        else:
            size, corner = _middle(shape)
            images = fn.resize(fn.decoders.image(encoded, **decoding), size=size, **scaling)
            images = fn.slice(images, start=corner, shape=(CROP, CROP), axes=(0, 1))
        return fn.transpose(images, perm=(2, 0, 1))

    return graph()


def window(shape: Any, random: Any) -> tuple[Any, Any]:
    """Corner and size of the window of torchvision's RandomResizedCrop, (y, x), in DALI's arithmetic: the first of the
    windows drawn that is no larger than the image, and its middle where none is.
    """
    from nvidia.dali import fn, math, types

    height, width = shape[0], shape[1]
    area = height * width * (AREA[0] + (AREA[1] - AREA[0]) * random[:ATTEMPTS])
    lowest, highest = np.log(RATIO)
    ratio = math.exp(lowest + (highest - lowest) * random[ATTEMPTS : 2 * ATTEMPTS])
    heights, widths = _round(math.sqrt(area / ratio)), _round(math.sqrt(area * ratio))
    fits = (heights <= height) & (widths <= width)
    preference = fits * types.Constant(np.arange(ATTEMPTS, 0, -1, dtype=np.float32))
    best = fn.reductions.max(preference)
    drawn, first = best > 0, preference == best
    size, corner = [], []
    for length, lengths, most, place in (
        (height, heights, width / RATIO[0], random[DRAWS - 3]),
        (width, widths, height * RATIO[1], random[DRAWS - 2]),
    ):
        chosen = drawn * fn.reductions.sum(first * lengths) + (1 - drawn) * math.min(length, _round(most))
        room = length - chosen
        anywhere = math.floor(place * (room + 1))
        size.append(chosen)
        corner.append(drawn * anywhere + (1 - drawn) * math.floor(room / 2))
    return tuple(fn.cast(fn.stack(*pair), dtype=types.INT32) for pair in (corner, size))


def _middle(shape: Any) -> tuple[Any, Any]:
    """Size to which torchvision's Resize scales an image, and the corner of its CenterCrop, (y, x)."""
    from nvidia.dali import fn, math, types

    size = math.floor(shape * RESIZE / fn.reductions.min(shape))
    room = fn.cast(size, dtype=types.INT32) - CROP
    return size, (room + (room // 2 & 1)) // 2  # half of it, rounded to even as Python does


def _round(value: Any) -> Any:
    from nvidia.dali import math

    return math.floor(value + 0.5)
