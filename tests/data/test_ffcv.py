"""FFCV's files and loader: what FFCV does badly does not reach anybody, and it shows what the folder loader shows."""

from __future__ import annotations

import dataclasses
import importlib
import json
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from paper_repro.data import loaders
from paper_repro.data.catalog import source
from paper_repro.data.loaders import Share
from paper_repro.data.readers import beton
from paper_repro.data.readers.beton import ENCODING, Beton
from paper_repro.data.readers.folder import FolderLoader
from paper_repro.data.readers.images import Images, list_images
from paper_repro.errors import UserError
from tests.data.photographs import jpeg, replace, scaled_down

IMAGENET = source("imagenet1k")
COUNT = 23
WNIDS = ("n01440764", "n01443537", "n01484850")
quiet = {"say": lambda text: None}


def made(folder: Path) -> Images:
    for number in range(COUNT):
        path = folder / WNIDS[number % 3] / f"{number}.JPEG"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(number, 300 + 3 * number, 280 - 2 * number))
    return list_images(folder, WNIDS)


class TestFiles:
    """What FFCV does not notice: files that are cut short, foreign, damaged or encoded in another way."""

    @pytest.fixture
    def whole(self, tmp_path: Path) -> Beton:
        path = tmp_path / "val.beton"
        path.write_bytes(bytes(range(256)) * 10)
        record = Beton(path, 23, 2, "a" * 64, ENCODING, "1.0.2", 2560, beton.sha256(path))
        beton.save_record(record)
        return record

    def test_an_intact_file(self, whole: Beton) -> None:
        assert beton.verified(whole.path, 25) == whole
        values = json.loads(beton.record_path(whole.path).read_text(encoding="utf-8"))
        assert values["encoding"] == {"max_resolution": 500, "jpeg_quality": 90, "jpeg_proportion": 0.5}
        assert values["length"] == 2560 and len(values["sha256"]) == 64

    def test_cut_short_or_damaged(self, whole: Beton) -> None:
        content = whole.path.read_bytes()
        whole.path.write_bytes(content[:-1])
        with pytest.raises(
            UserError, match=r"val\.beton is not used: it has 2,559 bytes instead of 2,560\. .*--write-ffcv"
        ):
            beton.recorded(whole.path, 25)
        whole.path.write_bytes(b"\1" + content[1:])
        beton.recorded(whole.path, 25)
        with pytest.raises(UserError, match=r"is damaged: its sha256 is not that of its record"):
            beton.verified(whole.path, 25)

    def test_foreign_or_otherwise_encoded(self, whole: Beton) -> None:
        with pytest.raises(UserError, match=r"it has 23 images \(and 2 left out\) instead of 50,000"):
            beton.recorded(whole.path, 50_000)
        beton.save_record(dataclasses.replace(whole, encoding=dataclasses.replace(ENCODING, max_resolution=256)))
        with pytest.raises(UserError, match=r"max_resolution=256.*this version reads Encoding"):
            beton.recorded(whole.path, 25)
        beton.record_path(whole.path).write_text("{}", encoding="utf-8")
        with pytest.raises(UserError, match=r"val\.beton\.json is damaged"):
            beton.recorded(whole.path, 25)
        beton.record_path(whole.path).unlink()
        with pytest.raises(UserError, match="which says what it is, is not beside it"):
            beton.recorded(whole.path, 25)
        whole.path.unlink()
        with pytest.raises(UserError, match="is not there"):
            beton.recorded(whole.path, 25)

    def test_a_run_reads_both_whole_and_shares_them_fairly(
        self, whole: Beton, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        train = dataclasses.replace(whole, path=tmp_path / "train.beton")
        train.path.write_bytes(whole.path.read_bytes())
        beton.save_record(train)
        scaled_down(monkeypatch, 25, 25)
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
        fake = SimpleNamespace(FFCVLoader=lambda *given: given)
        monkeypatch.setitem(sys.modules, "paper_repro.data.readers.ffcv", fake)

        def opened(batch_size: int = 4, share: Share = loaders.ALONE) -> tuple:
            return IMAGENET.open(tmp_path, batch_size, "cpu", share, "ffcv", **quiet)

        (first, *_), (second, *_), fingerprint = opened()
        assert (first, second) == (train, whole) and len(fingerprint) == 64
        with pytest.raises(UserError, match="cannot be shared equally by 3 processes"):
            opened(share=Share(0, 3))
        with pytest.raises(UserError, match="has 1 of 23 examples"):
            opened(22, Share(0, 2))
        for path in (train.path, whole.path):
            content = path.read_bytes()
            path.write_bytes(b"\1" + content[1:])
            with pytest.raises(UserError, match=rf"{path.name} is damaged"):
                opened()
            path.write_bytes(content)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    return made(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def written(images: Images, tmp_path_factory: pytest.TempPathFactory) -> Beton:
    need_ffcv()
    from paper_repro.data.readers import ffcv

    return ffcv.write(images, tmp_path_factory.mktemp("files") / "train.beton", **quiet, workers=2)


def need_ffcv() -> None:
    if importlib.util.find_spec("ffcv") is None:
        pytest.skip("FFCV is not installed (`make ffcv`)")


def test_written_once_and_recorded(images: Images, written: Beton, monkeypatch: pytest.MonkeyPatch) -> None:
    from paper_repro.data.readers import ffcv

    assert beton.verified(written.path, COUNT) == written and written.examples == COUNT
    assert sorted(item.name for item in written.path.parent.glob("*")) == [
        ".train.beton.lock",
        "train.beton",
        "train.beton.json",
    ]
    monkeypatch.setattr(ffcv, "_encode", lambda *_given: pytest.fail("it was written again"))
    said: list[str] = []
    assert ffcv.write(images, written.path, said.append) == written and "is there already" in said[0]


def test_writing_ends_where_it_cannot_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FFCV's own writer waits for ever for a process that died."""
    need_ffcv()
    from paper_repro.data.readers import ffcv

    images = made(tmp_path / "images")
    path = tmp_path / "train.beton"
    (tmp_path / ".train.beton.abandoned.tmp").write_bytes(b"of a process that was killed")
    monkeypatch.setattr(ffcv, "SAMPLE", 1)
    replace(images.path(8), jpeg(1)[:500])
    with pytest.raises(UserError, match="cannot be read as an image"):
        ffcv.write(images, path, **quiet)
    monkeypatch.setattr(ffcv, "_work", die)
    with pytest.raises(UserError, match=r"died \(exit code 7\)"):
        ffcv.write(images, path, **quiet)
    monkeypatch.setattr(ffcv.shutil, "disk_usage", lambda _path: type("Usage", (), {"free": 1000}))
    with pytest.raises(UserError, match=r"will have about 0 GB, and 0 GB are free"):
        ffcv.write(images, path, **quiet)
    assert [item.name for item in tmp_path.glob("*beton*")] == [".train.beton.lock"]


def die(*_given: object) -> None:
    import os

    os._exit(7)


@pytest.mark.slow
def test_what_the_loader_gives_and_what_it_leaves_behind(images: Images, written: Beton) -> None:
    from paper_repro.data.readers.ffcv import FFCVLoader

    threads = torch.get_num_threads()
    whole = FFCVLoader(written, 6, workers=99)
    # every image is seen once an epoch, in the order of the folder loader, from any batch on
    expected = [labels.tolist() for _, labels in FolderLoader(images, 6, workers=0).epoch(1, 2)]
    batches = list(whole.epoch(1, 2))
    assert [labels.tolist() for _, labels in batches] == expected and len(expected[-1]) == 5
    assert [labels.tolist() for _, labels in whole.epoch(1, 2, first=2)] == expected[2:]
    assert list(whole.epoch(1, 2, first=4)) == []
    # batches are kept as they were given
    assert len({float(pixels.sum()) for pixels, _ in batches}) == 4
    pixels, labels = batches[0]
    assert pixels.shape == (6, 3, 224, 224) and pixels.dtype == torch.float32 and pixels.is_contiguous()
    assert labels.dtype == torch.int64 and labels.shape == (6,)
    # an epoch that is left early ends its thread, at its beginning as at its end; two loaders live side by side
    alive = set(threading.enumerate())  # others may end meanwhile
    for last in (1, 3):
        ahead = whole.epoch(0, 0)
        for _ in range(last):
            next(ahead)
        beside = FFCVLoader(written, 4, Share(1, 2), workers=2).in_order()
        next(beside)
        ahead.close()
        beside.close()
        assert set(threading.enumerate()) <= alive
    # what a process evaluates is its share, with the pixels of the folder loader up to scaling and compression
    parts = [list(FFCVLoader(written, 4, Share(rank, 2), workers=2).in_order()) for rank in range(2)]
    plain = [list(FolderLoader(images, 4, Share(rank, 2), workers=0).in_order()) for rank in range(2)]
    for part, reference in zip(parts, plain, strict=True):
        for (pixels, labels), (other, theirs) in zip(part, reference, strict=True):
            assert labels.tolist() == theirs.tolist()
            assert (pixels - other).abs().mean() < 0.05
    assert torch.get_num_threads() == threads
    assert whole.record["exact_resume"] is False and whole.record["encoding"]["max_resolution"] == 500


@pytest.mark.slow
def test_a_thread_of_ffcv_that_dies_is_an_error_and_not_a_wait(written: Beton, monkeypatch: pytest.MonkeyPatch) -> None:
    from paper_repro.data.readers.ffcv import FFCVLoader

    loader = FFCVLoader(written, 6, workers=1)
    from ffcv.loader.epoch_iterator import EpochIterator

    monkeypatch.setattr(EpochIterator, "run", lambda _self: None)
    with pytest.raises(RuntimeError, match="thread died"):
        next(loader.in_order())
