"""ImageNet from FFCV's files. Nothing else here knows FFCV, which is optional and no longer maintained, so that another
library can take its place. What it does badly stays in this module:

- its loader's exit leaks a thread, its thread's death blocks for ever, and its batches are overwritten: ``_passing``;
- its own orders are not those of a resumed or a distributed epoch: it is given the order of ``loaders.py``;
- its NormalizeImage loops for ever on a CPU, and needs cupy on a GPU: torch normalises;
- it sets torch's threads, and its parallel code dies where two loaders live on numba's own threads: ``library``;
- its writer waits for ever for a worker that died: ``write`` watches them.

Augmentation cannot be seeded, so an epoch that is taken up again has the same images, cropped and flipped anew.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import math
import multiprocessing
import os
import queue
import shutil
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from importlib import import_module
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from paper_repro.data.bar import bar
from paper_repro.data.loaders import ALONE, Batch, Loader, Share
from paper_repro.data.readers.beton import ENCODING, Beton, record_path, recorded, save_record, sha256
from paper_repro.data.readers.folder import CROP, RESIZE, cores_for, normalised
from paper_repro.data.readers.images import Images, read_rgb
from paper_repro.data.sources import Say
from paper_repro.errors import UserError
from paper_repro.files import locked, replacing
from paper_repro.machine import cores

CHUNK = 100  # images that a writing process takes at once
SAMPLE = 200  # images from which the size of a file is estimated
POLL_S = 0.0005  # between looks at FFCV's queue
PR_SET_PDEATHSIG = 1  # of Linux's prctl


@cache
def library() -> ModuleType:
    """FFCV, set up: on threads that several loaders can share, and with its hands off torch's. UserError where it
    cannot be imported.
    """
    threads = torch.get_num_threads()
    try:
        import numba

        numba.config.THREADING_LAYER = "threadsafe"  # tbb or omp; on numba's own a second loader aborts
        import_module("cv2").setNumThreads(0)  # its threads do not survive into the writing processes, which then hang
        import ffcv
        from ffcv.pipeline.compiler import Compiler
    except (ImportError, OSError) as error:
        raise UserError(
            f"FFCV cannot be imported ({error}): `make ffcv` installs it, environment.yml says how with conda. Without "
            "it leave LOADER out: torchvision reads the folder, at about half the speed for each core."
        ) from error
    finally:
        torch.set_num_threads(threads)

    def set_num_threads(count: int) -> None:
        Compiler.num_threads = count
        numba.set_num_threads(count)

    Compiler.set_num_threads = set_num_threads
    return ffcv


class FFCVLoader(Loader):
    """``Loader`` over an FFCV file; ``workers`` are threads of this process. Its code is compiled when it is first
    used, which takes some seconds. Which images a batch has is a function of (seed, epoch); their crops and flips are
    not.
    """

    def __init__(self, beton: Beton, batch_size: int, share: Share = ALONE, workers: int | None = None) -> None:
        super().__init__(beton.examples, batch_size, share)
        library()
        import numba  # half a second

        self.beton = beton
        wanted = cores_for(share) if workers is None else workers
        self.workers = max(1, min(wanted, cores(), numba.config.NUMBA_NUM_THREADS))

    @property
    def record(self) -> Mapping[str, Any]:
        return {
            "loader": "ffcv",
            "exact_resume": False,
            "skipped_images": self.beton.skipped,
            "encoding": asdict(self.beton.encoding),
            "ffcv": importlib.metadata.version("ffcv"),
        }

    def serve(self, batches: Iterable[Tensor], key: tuple[int, int] | None) -> Iterator[Batch]:
        order, augmented = torch.cat([*batches, torch.arange(0)]), key is not None
        if not len(order):
            return
        for images, labels in _passing(self._loader(augmented), order.numpy().astype(np.uint64)):
            # both are copies: FFCV writes into its own again
            yield normalised(images.permute(0, 3, 1, 2).contiguous()), labels.flatten().clone()

    def _loader(self, augmented: bool) -> Any:
        batch_size = self.batch_size // self.share.world if augmented else self.batch_size
        return _compiled(self.beton, batch_size, self.workers, augmented)


@cache  # compiling takes seconds, and numba is noisy when compiled code is thrown away
def _compiled(beton: Beton, batch_size: int, workers: int, augmented: bool) -> Any:
    """FFCV's loader of a file; several passes over it may be under way at once."""
    library()
    from ffcv.fields.basics import IntDecoder
    from ffcv.fields.rgb_image import CenterCropRGBImageDecoder, RandomResizedCropRGBImageDecoder
    from ffcv.loader import Loader, OrderOption
    from ffcv.transforms import RandomHorizontalFlip, ToTensor

    if augmented:
        images = [RandomResizedCropRGBImageDecoder((CROP, CROP)), RandomHorizontalFlip(), ToTensor()]
    else:
        images = [CenterCropRGBImageDecoder((CROP, CROP), ratio=CROP / RESIZE), ToTensor()]
    return Loader(
        str(beton.path),
        batch_size=batch_size,
        num_workers=workers,
        os_cache=True,
        order=OrderOption.SEQUENTIAL,  # each pass has an order of its own instead
        seed=0,
        drop_last=False,
        pipelines={"image": images, "label": [IntDecoder(), ToTensor()]},
    )


def _passing(loader: Any, order: np.ndarray) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches of ``loader`` in this order, each valid until the next is asked for. However it is left, the thread
    that reads ahead ends.
    """
    from ffcv.loader.epoch_iterator import EpochIterator

    ahead = EpochIterator(loader, order)
    try:
        while True:
            while ahead.output_queue.empty() and ahead.is_alive():
                time.sleep(POLL_S)
            if ahead.output_queue.empty():
                raise RuntimeError(f"FFCV's thread died while reading {loader.fname}; its reason is on standard error")
            try:
                images, labels = next(ahead)
            except StopIteration:
                return
            yield images, labels
    finally:
        ahead.terminate_event.set()
        while ahead.is_alive():  # it may be waiting for room in the queue
            try:
                ahead.output_queue.get(timeout=0.01)
            except queue.Empty:
                continue
        ahead.join()
        ahead.close()


def write(images: Images, path: Path, say: Say = print, workers: int | None = None) -> Beton:
    """Encode ``images`` into the FFCV file ``path``, complete or not at all, and its record. Nothing is done where that
    very file is there. UserError for an image that cannot be read, and where the disk is too small.
    """
    library()
    try:
        with locked(path.with_name(f".{path.name}.lock")):
            there = _already(images, path)
            if there is not None:
                say(f"{path} is there already, of these images ({there.length / 1e9:.1f} GB)")
                return there
            record_path(path).unlink(missing_ok=True)
            for abandoned in path.parent.glob(f".{path.name}.*.tmp"):  # by a process that was killed
                abandoned.unlink()
            _require_room(images, path)
            with replacing(path) as temporary:
                _encode(images, temporary, f"writing {path.name}", workers or cores())
            version = importlib.metadata.version("ffcv")
            beton = Beton(
                path=path,
                examples=len(images),
                skipped=images.left_out,
                source=images.fingerprint,
                encoding=ENCODING,
                ffcv=version,
                length=path.stat().st_size,
                sha256=sha256(path),
            )
            save_record(beton)
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror or error}. Where the images are in a folder that you cannot write, "
            "link its train and val into one that you can, and name that one with --root."
        ) from error
    say(f"{path}: {len(images):,} images, {beton.length / 1e9:.1f} GB, sha256 {beton.sha256[:12]}...")
    return beton


def _already(images: Images, path: Path) -> Beton | None:
    try:
        beton = recorded(path, len(images) + images.left_out)
    except UserError:
        return None
    return beton if beton.source == images.fingerprint else None


def _require_room(images: Images, path: Path) -> None:
    """UserError when the file would be larger than what is free. Its size is estimated from some of the images."""
    library()
    from ffcv.fields.rgb_image import encode_jpeg, resizer

    chosen = np.linspace(0, len(images) - 1, min(SAMPLE, len(images))).astype(int)
    pixels = [resizer(np.asarray(read_rgb(images.path(index))), ENCODING.max_resolution) for index in chosen]
    raw = np.mean([image.nbytes for image in pixels])
    jpeg = np.mean([len(encode_jpeg(image, ENCODING.jpeg_quality)) for image in pixels])
    size = len(images) * (ENCODING.jpeg_proportion * jpeg + (1 - ENCODING.jpeg_proportion) * raw)
    free = shutil.disk_usage(path.parent).free
    if size > free:
        raise UserError(f"{path} will have about {size / 1e9:.0f} GB, and {free / 1e9:.0f} GB are free there")


class Examples:
    """Images and labels as FFCV's writer takes them."""

    def __init__(self, images: Images) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        # FFCV draws from this generator whether to compress an image: so that depends on the image alone
        np.random.seed(index)  # noqa: NPY002
        return np.asarray(read_rgb(self.images.path(index))), int(self.images.labels[index])


def _encode(images: Images, path: Path, title: str, workers: int) -> None:
    """What FFCV's ``from_indexed_dataset`` does, but for its loop, which waits for ever when a process has died."""
    from ffcv.fields import IntField, RGBImageField
    from ffcv.memory_allocator import MemoryAllocator
    from ffcv.writer import DatasetWriter

    image = RGBImageField(
        write_mode="proportion",
        max_resolution=ENCODING.max_resolution,
        jpeg_quality=ENCODING.jpeg_quality,
        compress_probability=ENCODING.jpeg_proportion,
    )
    workers = max(1, min(workers, math.ceil(len(images) / CHUNK)))
    writer = DatasetWriter(str(path), {"image": image, "label": IntField()}, num_workers=workers)
    writer.num_samples = len(images)
    writer.prepare()
    chunks: Any = multiprocessing.Queue()
    try:
        allocator = MemoryAllocator(str(path), writer.data_region_start, writer.page_size)
        for start in range(0, len(images), CHUNK):
            chunks.put([(index, index) for index in range(start, min(start + CHUNK, len(images)))])
        for _ in range(workers):
            chunks.put(None)
        done: Any = multiprocessing.Value("Q", 0)
        tables: Any = multiprocessing.Queue()
        errors: Any = multiprocessing.Queue()
        arguments = (chunks, writer.metadata_sm, writer.metadata_type, writer.fields, allocator, done, tables)
        processes = [
            multiprocessing.Process(target=_work, args=(errors, *arguments, Examples(images)), daemon=True)
            for _ in range(workers)
        ]
        writer.finalize(_watch(processes, tables, errors, lambda: int(done.value), title, len(images)))
    finally:
        chunks.cancel_join_thread()  # processes that died have left chunks in it
        chunks.close()  # ends its thread, which otherwise lives until the queue is collected
        writer.metadata_sm.close()
        writer.metadata_sm.unlink()


def _watch(
    processes: Sequence[BaseProcess], tables: Any, errors: Any, done: Callable[[], int], title: str, total: int
) -> list[Any]:
    """Start the writing processes and wait for the places of what they have written; UserError when one fails."""
    places: list[Any] = []
    waiting = len(processes)
    try:
        for process in processes:
            process.start()
        with bar(desc=title, total=total) as written:
            while waiting:
                try:
                    places += tables.get(timeout=0.2)
                    waiting -= 1
                except queue.Empty:
                    if not errors.empty():
                        raise UserError(f"{title} failed: {errors.get()}") from None
                    killed = [process for process in processes if process.exitcode not in (None, 0)]
                    if killed:
                        raise UserError(f"a process that was {title} died (exit code {killed[0].exitcode})") from None
                written.update(done() - written.n)
    finally:
        for process in processes:
            if process.pid is not None:
                if waiting:
                    process.kill()
                process.join()
    return places


def _work(errors: Any, *arguments: Any) -> None:
    """One writing process: it ends with the one that started it, and is deaf to Ctrl-C, which that one hears."""
    library()
    from ffcv.writer import worker_job_indexed_dataset

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    try:
        worker_job_indexed_dataset(*arguments)
    except Exception as error:
        errors.put(str(error) or type(error).__name__)
        errors.close()
        errors.join_thread()
        os._exit(1)  # without the traceback that would follow
