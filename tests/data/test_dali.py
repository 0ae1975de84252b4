"""DALI's loader: the same batches however it is run, torchvision's windows, and what the folder loader shows."""

from __future__ import annotations

import importlib
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image, ImageOps

from paper_repro.data.catalog import source
from paper_repro.data.loaders import ALONE, Batch, Share, generator
from paper_repro.data.readers import dali, optional
from paper_repro.data.readers.dali import ATTEMPTS, DALILoader
from paper_repro.data.readers.folder import FolderLoader, normalised
from paper_repro.data.readers.images import Images, list_images, read_rgb
from paper_repro.data.readers.optional import missing
from paper_repro.errors import UserError
from paper_repro.spec import Spec
from paper_repro.training.loop import run
from tests.data.photographs import jpeg, made_up, replace, scaled_down

IMAGENET = source("imagenet1k")
COUNT, BATCH = 23, 6
ROOT = str(Path(__file__).parents[2])
WNIDS = ("n01440764", "n01443537", "n01484850")
needs_dali = pytest.mark.skipif(bool(missing("dali")), reason="NVIDIA DALI is not installed (`make dali`)")


@pytest.fixture
def images(tmp_path: Path) -> Images:
    """23 images of three classes, each of another size; one is grey, one CMYK, one has lain on its side, and
    one is large and rough, so that it matters how it is scaled down.
    """
    for number in range(COUNT):
        path = tmp_path / "train" / WNIDS[number % 3] / f"{number}.JPEG"
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = {5: "L", 6: "CMYK"}.get(number, "RGB")
        path.write_bytes(jpeg(number, 300 + 3 * number, 280 - 2 * number, mode))
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    path = tmp_path / "train" / WNIDS[7 % 3] / "7.JPEG"
    with Image.open(path) as image:
        image.load()
    image.save(path, exif=turned)
    rough = np.random.default_rng(9).integers(0, 256, size=(640, 800, 3), dtype=np.uint8)
    Image.fromarray(rough).save(tmp_path / "train" / WNIDS[9 % 3] / "9.JPEG", quality=90)
    return list_images(tmp_path / "train", WNIDS)


@pytest.fixture(autouse=True)
def on_the_cpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where there is a GPU: of that, other things are known."""
    if "gpu" not in request.keywords:
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)


def same(one: list[Batch], other: list[Batch]) -> bool:
    pairs = zip(one, other, strict=True)
    return all(torch.equal(a, c) and torch.equal(b, d) for (a, b), (c, d) in pairs)


def test_folders_that_an_uninstalled_library_left_are_no_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nvidia_left" / "dali").mkdir(parents=True)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(optional, "LIBRARIES", {"dali": ("DALI", "nvidia_left.dali"), "ffcv": ("FFCV", "no_such.ffcv")})
    assert [missing(loader) for loader in ("dali", "ffcv", "folder")] == ["DALI", "FFCV", ""]
    (tmp_path / "nvidia_left" / "dali" / "__init__.py").touch()
    importlib.invalidate_caches()
    assert missing("dali") == ""


@needs_dali
def test_batches_are_the_same_with_any_number_of_threads_and_from_any_step(images: Images) -> None:
    state = torch.get_rng_state()
    one, two = (DALILoader(images, BATCH, workers=count) for count in (1, 2))
    whole = list(one.epoch(seed=1, epoch=2))
    assert len(whole) == len(one) == 4 and [len(labels) for _, labels in whole] == [6, 6, 6, 5]
    pixels, labels = whole[0]
    assert pixels.shape == (6, 3, 224, 224) and pixels.dtype == torch.float32 and labels.dtype == torch.int64
    begun = two.epoch(seed=5, epoch=5)
    next(begun)  # two passes may be under way at once
    for first in (0, 1, 3):
        assert same(list(two.epoch(seed=1, epoch=2, first=first)), whole[first:])
    assert list(two.epoch(seed=1, epoch=2, first=4)) == []
    for seed, epoch in ((1, 3), (2, 2)):
        assert not same(list(one.epoch(seed, epoch)), whole)
    assert torch.equal(torch.get_rng_state(), state)
    # every image is seen, in the order of the folder loader
    expected = [labels.tolist() for _, labels in FolderLoader(images, BATCH, workers=0).epoch(1, 2)]
    assert [labels.tolist() for _, labels in whole] == expected


@needs_dali
@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_every_batch(images: Images, world: int) -> None:
    whole = list(DALILoader(images, BATCH, ALONE).epoch(0, 1))
    parts = [list(DALILoader(images, BATCH, Share(rank, world)).epoch(0, 1)) for rank in range(world)]
    for number, (pixels, labels) in enumerate(whole):
        for rank in range(world):
            mine = Share(rank, world).of(torch.arange(len(labels)))
            assert torch.equal(parts[rank][number][0], pixels[mine])
            assert torch.equal(parts[rank][number][1], labels[mine])


@needs_dali
@pytest.mark.parametrize("world", [1, 3])
def test_every_image_is_evaluated_once_and_as_the_folder_loader_shows_it(images: Images, world: int) -> None:
    for rank in range(world):
        batches = DALILoader(images, 4, Share(rank, world)).in_order()
        plain = FolderLoader(images, 4, Share(rank, world), workers=0).in_order()
        for (pixels, labels), (others, theirs) in zip(batches, plain, strict=True):
            assert labels.tolist() == theirs.tolist()
            assert (pixels - others).abs().mean((1, 2, 3)).max() < 0.005  # a step of uint8 is 0.017
    few = images.without({images.relative(index) for index in range(1, COUNT)})
    shares = [list(DALILoader(few, 4, Share(rank, 2)).in_order()) for rank in range(2)]
    assert [len(batches) for batches in shares] == [1, 0]


def window_of_torchvision(height: int, width: int, random: list[float]) -> tuple[int, int, int, int]:
    """torchvision's RandomResizedCrop.get_params, (top, left, height, width), with these random numbers."""
    for attempt in range(ATTEMPTS):
        area = height * width * (0.08 + 0.92 * random[attempt])
        ratio = math.exp(math.log(3 / 4) + (math.log(4 / 3) - math.log(3 / 4)) * random[ATTEMPTS + attempt])
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            return int(random[-3] * (height - h + 1)), int(random[-2] * (width - w + 1)), h, w
    w, h = width, height
    if width / height < 3 / 4:
        h = round(width / (3 / 4))
    elif width / height > 4 / 3:
        w = round(height * (4 / 3))
    return (height - h) // 2, (width - w) // 2, h, w


@needs_dali
def test_windows_are_those_of_torchvision() -> None:
    from nvidia.dali import fn, pipeline_def

    shapes = [
        *np.random.default_rng(0).integers(30, 900, size=(300, 2)),
        *[np.array([40, 900])] * 30,
        *[np.array([900, 40])] * 30,
    ]
    random = dali.draws(np.arange(len(shapes)), seed=1, epoch=2)
    assert 0.0 <= random.min() < 0.001 and 0.999 < random.max() < 1.0 and abs(random.mean() - 0.5) < 0.01
    for seed, epoch in ((1, 3), (2, 2)):
        assert (dali.draws(np.arange(9), seed, epoch) == random[:9]).mean() < 0.1
    random[:99, -3:-1] = 1 - 2**-24  # the largest number that is drawn: the window is still inside

    @pipeline_def(batch_size=len(shapes), num_threads=1, device_id=None)
    def graph():
        source = iter([([shape.astype(np.float32) for shape in shapes], random)])
        return dali.window(*fn.external_source(source, num_outputs=2))

    corners, sizes = (np.asarray(part.as_tensor()) for part in graph().run())
    for shape, numbers, corner, size in zip(shapes, random, corners, sizes, strict=True):
        height, width = shape.tolist()
        assert (*corner, *size) == window_of_torchvision(height, width, numbers.tolist()), (height, width)


@needs_dali
def test_an_augmented_image_is_the_window_scaled_and_flipped(images: Images) -> None:
    flips, order = 0, torch.randperm(COUNT, generator=generator(3, 4, "order")).tolist()
    ((pixels, _),) = DALILoader(images, COUNT).epoch(3, 4)
    for index, shown in zip(order, pixels, strict=True):
        numbers = dali.draws(np.array([index]), 3, 4)[0].tolist()
        whole = read_rgb(images.path(index))
        top, left, height, width = window_of_torchvision(whole.height, whole.width, numbers)
        cut = whole.crop((left, top, left + width, top + height)).resize((224, 224), Image.Resampling.BILINEAR)
        if numbers[-1] < 0.5:
            cut, flips = ImageOps.mirror(cut), flips + 1
        expected = normalised(torch.from_numpy(np.array(cut)).permute(2, 0, 1)[None])[0]
        assert (shown - expected).abs().mean() < 0.01
    assert 0 < flips < COUNT


@needs_dali
def test_a_damaged_file_ends_the_run_with_its_name(images: Images) -> None:
    for content in (jpeg(1)[:500], b""):
        replace(images.path(8), content)
        loader = DALILoader(images, BATCH)
        for batches in (loader.in_order(), loader.epoch(0, 0)):
            with pytest.raises(UserError, match=r"cannot be read as an image.*--skip-unreadable") as error:
                list(batches)
            assert str(images.path(8)) in str(error.value)
    left = DALILoader(images.without({images.relative(8)}), BATCH)
    assert sum(len(labels) for _, labels in left.in_order()) == COUNT - 1
    assert left.record["loader"] == "dali" and left.record["skipped_images"] == 1 and left.record["dali"]


@needs_dali
def test_what_is_left_early_ends_with_its_threads(images: Images) -> None:
    def threads() -> int:
        return len(list(Path("/proc/self/task").iterdir()))

    loader = DALILoader(images, 2, workers=2)
    for _ in loader.epoch(0, 0):
        break
    alive = threads()
    for _ in range(3):
        batches = loader.epoch(0, 0)
        next(batches)
        batches.close()
    assert threads() <= alive
    script = (
        "from pathlib import Path\n"
        "from paper_repro.data.readers.dali import DALILoader\n"
        "from paper_repro.data.readers.images import list_images\n"
        f"loader = DALILoader(list_images(Path({str(images.folder)!r}), {WNIDS!r}), 6, workers=2)\n"
        "batches = loader.epoch(seed=0, epoch=0)\n"
        "next(batches)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=300, env={**os.environ, "PYTHONPATH": ROOT})


@needs_dali
def test_a_run_trains_on_it_and_says_how_it_was_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made_up(tmp_path / "imagenet1k", kinds=1)
    scaled_down(monkeypatch, 1000, 1000)
    said: list[str] = []
    IMAGENET.ensure(tmp_path, said.append, "dali")
    train, val, _ = IMAGENET.open(tmp_path, 256, share=Share(1, 2), loader="dali")
    assert isinstance(train, DALILoader) and isinstance(val, DALILoader) and not said
    with pytest.raises(UserError, match="cannot be shared equally by 3 processes"):
        IMAGENET.open(tmp_path, 256, share=Share(0, 3), loader="dali")
    root = made_up(tmp_path / "few" / "imagenet1k", train=0, val=0)
    for part in ("train", "val"):
        for wnid in WNIDS:
            (root / part / wnid / f"{wnid}.JPEG").write_bytes(jpeg(1))
    scaled_down(monkeypatch, 3, 3)
    spec = Spec(model="mobilenet_v1", dataset="imagenet1k", method="dense", epochs=1, warmup_epochs=0, batch_size=2,
                lr=0.01, weight_decay=0.0, loader="dali")  # fmt: skip
    result = run(spec, tmp_path / "runs", tmp_path / "few").result
    assert result.status == "finished" and result.images["train"].loader == "dali" and result.images["val"].dali


@pytest.mark.gpu
@needs_dali
def test_a_gpu_shows_the_images_of_the_cpu(images: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    loader = DALILoader(images, BATCH)
    shown = [*loader.epoch(1, 2), *loader.in_order()]
    assert shown[0][0].is_cuda and not loader.record["exact_resume"]
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    for (pixels, labels), (others, theirs) in zip(shown, [*loader.epoch(1, 2), *loader.in_order()], strict=True):
        assert labels.tolist() == theirs.tolist()
        assert (pixels.cpu() - others).abs().mean() < 0.05


@pytest.mark.gpu
@needs_dali
def test_an_epoch_that_is_taken_up_on_a_gpu_is_bit_identical(images: Images) -> None:
    """Where this passes, the loader's record may promise it."""
    loader = DALILoader(images, BATCH)
    whole = list(loader.epoch(1, 2))
    assert same(list(loader.epoch(1, 2, first=2)), whole[2:])
