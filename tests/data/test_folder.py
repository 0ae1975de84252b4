"""ImageNet from its folder: what a batch is depends on seed and epoch, and on nothing else."""

from __future__ import annotations

import importlib
import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from paper_repro.data.catalog import source
from paper_repro.data.imagenet import layout
from paper_repro.data.loaders import ALONE, Batch, Share
from paper_repro.data.readers import folder
from paper_repro.data.readers.folder import MEAN, STD, FolderLoader
from paper_repro.data.readers.images import Images, list_images
from paper_repro.errors import UserError
from paper_repro.record import as_written
from paper_repro.spec import Spec
from paper_repro.training.loop import run
from tests.data.photographs import jpeg, made_up, replace, scaled_down

IMAGENET = source("imagenet1k")
COUNT, BATCH = 23, 6
ROOT = str(Path(__file__).parents[2])
WNIDS = ("n01440764", "n01443537", "n01484850")


@pytest.fixture
def images(tmp_path: Path) -> Images:
    """23 images of three classes, each of another size."""
    for number in range(COUNT):
        path = tmp_path / "train" / WNIDS[number % 3] / f"{number}.JPEG"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(number, 300 + 3 * number, 280 - 2 * number))
    return list_images(tmp_path / "train", WNIDS)


def same(one: list[Batch], other: list[Batch]) -> bool:
    pairs = zip(one, other, strict=True)
    return all(torch.equal(a, c) and torch.equal(b, d) for (a, b), (c, d) in pairs)


def test_batches_are_the_same_with_any_number_of_workers_and_from_any_step(images: Images) -> None:
    alone = FolderLoader(images, BATCH, workers=0)
    whole = list(alone.epoch(seed=1, epoch=2))
    assert len(whole) == len(alone) == 4 and [len(labels) for _, labels in whole] == [6, 6, 6, 5]
    shape, kind = whole[0][0].shape, whole[0][0].dtype
    assert shape == (6, 3, 224, 224) and kind == torch.float32 and whole[0][1].dtype == torch.int64
    workers = FolderLoader(images, BATCH, workers=2)
    begun = workers.epoch(seed=5, epoch=5)
    next(begun)  # left after a batch, as by an interrupted run
    assert same(list(workers.epoch(seed=1, epoch=2, first=2)), whole[2:])
    assert same(list(workers.epoch(seed=1, epoch=2)), whole)
    assert not same(list(alone.epoch(seed=1, epoch=3)), whole)
    assert not same(list(alone.epoch(seed=2, epoch=2)), whole)
    with pytest.raises(RuntimeError, match="another pass"):
        next(begun)


def test_a_process_ends_although_its_workers_ignore_signals(images: Images) -> None:
    script = (
        "from pathlib import Path\n"
        "from paper_repro.data.readers.folder import FolderLoader\n"
        "from paper_repro.data.readers.images import list_images\n"
        f"loader = FolderLoader(list_images(Path({str(images.folder)!r}), {WNIDS!r}), 6, workers=2)\n"
        "batches = loader.epoch(seed=0, epoch=0)\n"
        "next(batches)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60, env={**os.environ, "PYTHONPATH": ROOT})


@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_every_batch(images: Images, world: int) -> None:
    whole = list(FolderLoader(images, BATCH, ALONE, workers=0).epoch(0, 1))
    parts = [list(FolderLoader(images, BATCH, Share(rank, world), workers=0).epoch(0, 1)) for rank in range(world)]
    for number, (pixels, labels) in enumerate(whole):
        for rank in range(world):
            mine = Share(rank, world).of(torch.arange(len(labels)))
            assert torch.equal(parts[rank][number][0], pixels[mine])
            assert torch.equal(parts[rank][number][1], labels[mine])


@pytest.mark.parametrize("world", [1, 2, 3])
def test_every_image_is_evaluated_once_and_as_in_the_paper(images: Images, world: int) -> None:
    normalise = transforms.Compose([transforms.ToTensor(), transforms.Normalize(MEAN, STD)])
    centre = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), normalise])
    seen = 0
    for rank in range(world):
        mine = Share(rank, world).of(torch.arange(COUNT)).tolist()
        batches = list(FolderLoader(images, 4, Share(rank, world), workers=0).in_order())
        pixels, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
        assert labels.tolist() == images.labels[mine].tolist()
        for index, image in zip(mine, pixels, strict=True):
            with Image.open(images.path(index)) as opened:
                assert torch.allclose(image, centre(opened), atol=1e-5)
        seen += len(mine)
    assert seen == COUNT


def test_augmentation_is_torchvisions_and_leaves_the_global_generator_alone(images: Images) -> None:
    decoded = folder.Decoded(images)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    index, key = 4, (7, 3)
    mine = decoded._one(index, key)
    assert torch.equal(torch.get_rng_state(), state)
    seed = int(np.random.SeedSequence((*key, index)).generate_state(1, np.uint64)[0])
    torch.manual_seed(seed)
    augment = transforms.Compose([transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip()])
    with Image.open(images.path(index)) as opened:
        assert torch.equal(mine, transforms.functional.pil_to_tensor(augment(opened)))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_file_ends_the_run_with_its_name(images: Images, workers: int) -> None:
    replace(images.path(8), jpeg(1)[:500])
    loader = FolderLoader(images, BATCH, workers=workers)
    with pytest.raises(UserError, match=r"cannot be read as an image.*--skip-unreadable") as error:
        list(loader.in_order())
    assert str(images.path(8)) in str(error.value) and "Traceback" not in str(error.value)
    left = images.without({images.relative(8)})
    loader = FolderLoader(left, BATCH, workers=0)
    assert sum(len(labels) for _, labels in loader.in_order()) == COUNT - 1
    assert loader.record == {"loader": "folder", "exact_resume": True, "skipped_images": 1}


def test_workers_are_as_many_as_cores_at_most(images: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder.os, "sched_getaffinity", lambda _pid: set(range(8)))
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert FolderLoader(images, BATCH).workers == 8 and FolderLoader(images, BATCH, workers=99).workers == 8
    assert FolderLoader(images, BATCH, Share(0, 4)).workers == 2
    assert FolderLoader(images, BATCH, Share(0, 99)).workers == 1
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")  # of four processes, two are on this machine
    assert FolderLoader(images, BATCH, Share(0, 4)).workers == 4
    monkeypatch.setattr(folder.os, "sched_getaffinity", lambda _pid: set(range(64)))
    assert FolderLoader(images, BATCH, Share(0, 4)).workers == folder.MOST_WORKERS


def test_workers_outlive_a_signal_to_the_whole_job(images: Images) -> None:
    """A scheduler's SIGTERM reaches every process; the run must be able to end its step and save."""
    loader = FolderLoader(images, 2, workers=1)
    batches = loader.epoch(0, 0)
    next(batches)
    (worker,) = loader._batches._iterator._workers
    for number in (signal.SIGTERM, signal.SIGUSR1):
        os.kill(worker.pid, number)
    assert len(list(batches)) == len(loader) - 1
    assert worker.is_alive()


def test_the_data_set_opens_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made_up(tmp_path / "imagenet1k")
    scaled_down(monkeypatch, 1000, 1000)
    said: list[str] = []
    IMAGENET.ensure(tmp_path, said.append)
    assert "about half of FFCV's speed" in said[0] and "--write-ffcv" in said[0]
    train, val, fingerprint = IMAGENET.open(tmp_path, 256, share=Share(1, 2))
    assert len(train) == 4 and len(fingerprint) == 64
    assert train.record["loader"] == "folder" and isinstance(val, FolderLoader)
    with pytest.raises(UserError, match="cannot be shared equally by 3 processes"):
        IMAGENET.open(tmp_path, 256, share=Share(0, 3))


def test_the_fingerprint_of_the_data_is_that_of_both_parts(images: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    less = images.without({images.relative(8)})
    found = set()
    for parts in itertools.product((images, less), repeat=2):
        monkeypatch.setattr(layout, "check", lambda _, parts=parts: dict(zip(("train", "val"), parts, strict=True)))
        found.add(IMAGENET.open(images.folder, BATCH)[2])
    assert len(found) == 4


def test_a_run_trains_on_it_and_says_how_it_was_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = made_up(tmp_path / "imagenet1k", train=0, val=0)
    for number in range(5):
        (root / "train" / layout.wnids()[number] / f"{number}.JPEG").write_bytes(jpeg(number))
        (root / "val" / layout.wnids()[number] / f"{number}.JPEG").write_bytes(jpeg(number))
    scaled_down(monkeypatch, 5, 5)
    spec = Spec(
        model="mobilenet_v1",
        dataset="imagenet1k",
        method="dense",
        epochs=1,
        warmup_epochs=0,
        batch_size=4,
        lr=0.01,
        weight_decay=0.0,
    )
    result = run(spec, tmp_path / "runs", tmp_path).result
    assert result.status == "finished" and len(result.dataset_sha256) == 64
    read = {"loader": "folder", "exact_resume": True, "skipped_images": 0}
    assert as_written(result)["images"] == {"train": read, "val": read}


def test_a_library_or_files_that_are_not_there_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for loader, name in (("ffcv", "FFCV"), ("dali", "NVIDIA DALI")):
        for ask in (IMAGENET.ensure, lambda root, loader: IMAGENET.open(root, 256, loader=loader)):
            with pytest.raises(UserError, match=rf"{name} is not installed\. `make {loader}` installs"):
                ask(tmp_path, loader=loader)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    with pytest.raises(UserError, match=r"train\.beton is not there; python -m paper_repro data imagenet --write-ffcv"):
        IMAGENET.ensure(tmp_path, loader="ffcv")
