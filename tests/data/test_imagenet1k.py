"""A copy of ImageNet: every fault of its folders is named, with how to mend it. The counts are scaled down."""

from __future__ import annotations

import dataclasses
import importlib
import io
import os
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image

from paper_repro.data.catalog import source
from paper_repro.data.imagenet import layout
from paper_repro.data.imagenet.prepare import prepare
from paper_repro.data.imagenet.sort_val import read_truth, sort_val
from paper_repro.data.readers import ffcv
from paper_repro.data.readers.images import Images, list_images, read_rgb, unreadable
from paper_repro.errors import UserError
from tests.data.photographs import jpeg, made_up, replace, scaled_down

IMAGENET = source("imagenet1k")
WNIDS = layout.wnids()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_up(tmp_path_factory.mktemp("data") / "imagenet1k")


@pytest.fixture
def copy(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A whole copy that a test may damage."""
    scaled_down(monkeypatch, 1000, 1000, 1, 1)
    shutil.copytree(whole, tmp_path / "imagenet1k", copy_function=lambda a, b: Path(b).hardlink_to(a))
    return tmp_path / "imagenet1k"


def fault(folder: Path) -> str:
    with pytest.raises(UserError) as error:
        layout.check(folder)
    assert error.value.exit_code == 2
    return str(error.value)


def test_the_classes_are_in_the_order_of_the_labels() -> None:
    assert len(set(WNIDS)) == len(WNIDS) == 1000 and sorted(WNIDS) == list(WNIDS)
    assert (WNIDS[0], WNIDS[281], WNIDS[-1]) == ("n01440764", "n02123045", "n15075141")  # tench, tabby, toilet tissue


def test_the_real_counts_are_asked_for(whole: Path) -> None:
    text = fault(whole)
    assert "train: 1,000 images instead of 1,281,167" in text and "val: 1,000 images instead of 50,000" in text
    assert "another number of images than 732 to 1,300: n01440764 has 1" in text and "than 50: n01440764 has 1" in text


def test_a_whole_copy(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    prepare(copy.parent, said.append)
    assert "1,000 + 1,000 images in 1,000 classes, complete" in said[0]
    assert "--decode" in said[1]
    images = layout.check(copy)["val"]
    assert images.labels.tolist() == list(range(1000))
    assert images.path(3) == copy / "val" / WNIDS[3] / "ILSVRC2012_val_00000004.JPEG"
    for root in (copy, copy.parent):
        assert layout.home(root) == copy and IMAGENET.present(root)


def test_the_fingerprint_is_that_of_names_and_sizes(copy: Path) -> None:
    images = list_images(copy / "val", WNIDS)
    assert images.fingerprint == list_images(copy / "val", WNIDS).fingerprint
    replace(images.path(7), jpeg(99))
    assert images.fingerprint != list_images(copy / "val", WNIDS).fingerprint
    for values in ("names", "sizes", "labels"):
        other = dataclasses.replace(images, **{values: np.roll(getattr(images, values), 1)})
        assert other.fingerprint != images.fingerprint


def test_images_are_in_the_order_of_their_names_whatever_the_disk_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["b.jpg", "a.JPEG", "c.JPG"]
    (tmp_path / WNIDS[0]).mkdir()
    for name in names:
        (tmp_path / WNIDS[0] / name).write_bytes(b"1")

    @contextmanager
    def listed(folder: bytes) -> Iterator[list[os.DirEntry[bytes]]]:
        with scandir(folder) as entries:
            yield sorted(entries, key=lambda entry: names.index(os.fsdecode(entry.name)))

    scandir = os.scandir
    monkeypatch.setattr("paper_repro.data.readers.images.os.scandir", listed)
    assert list_images(tmp_path, WNIDS[:1]).names.tolist() == [b"a.JPEG", b"b.jpg", b"c.JPG"]


def test_every_one_of_many_files_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    count, bad = 10_002, ["3.jpg", "9999.jpg", "10001.jpg"]
    names = np.array([f"{number}.jpg" for number in range(count)], dtype=bytes)
    many = Images(Path("train"), WNIDS[:1], names, np.ones(count, dtype=int), np.zeros(count, dtype=int))

    def read(path: Path) -> None:
        if path.name in bad:
            raise UserError("damaged")

    monkeypatch.setattr("paper_repro.data.readers.images.read_rgb", read)
    answers = list(unreadable(many))
    assert len(answers) == count
    assert [name for name in answers if name] == [f"{WNIDS[0]}/{name}" for name in bad]


def test_no_imagenet_at_all(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no ImageNet-1K in .*image-net\.org.*train/WNID/\*\.JPEG.*DATA_ROOT"):
        IMAGENET.ensure(tmp_path)
    assert not IMAGENET.present(tmp_path)


def test_all_faults_are_named_at_once(copy: Path) -> None:
    shutil.rmtree(copy / "train" / WNIDS[5])
    (copy / "train/n99999999").mkdir()
    path = copy / "train" / WNIDS[0]
    (path / f"{WNIDS[0]}_0.JPEG").rename(copy / "train" / WNIDS[1] / f"{WNIDS[0]}_0.JPEG")
    replace(copy / "val" / WNIDS[2] / "ILSVRC2012_val_00000003.JPEG", b"")
    text = fault(copy)
    for words in (
        f"train: 1 of 1,000 classes are missing: {WNIDS[5]}; unpack them from ILSVRC2012_img_train.tar",
        "train: 1 folders are not of its classes: n99999999",
        "train: 999 images instead of 1,000",
        f"{WNIDS[0]} has 0, {WNIDS[1]} has 2",
        f"another class's folder than their name says: {WNIDS[1]}/{WNIDS[0]}_0.JPEG",
        f"are empty: {WNIDS[2]}/ILSVRC2012_val_00000003.JPEG",
    ):
        assert words in text


def test_a_link_that_leads_nowhere_is_named_and_the_others_are_counted(copy: Path) -> None:
    path = copy / "val" / WNIDS[2] / "ILSVRC2012_val_00000003.JPEG"
    path.unlink()
    path.symlink_to(copy / "moved" / path.name)
    text = fault(copy)
    assert f"1 links in {copy / 'val'} lead nowhere: {WNIDS[2]}/{path.name}" in text
    assert "has 0" not in text and "images instead of" not in text


def test_a_class_that_is_a_link_leading_nowhere_is_called_that(copy: Path) -> None:
    shutil.rmtree(copy / "train" / WNIDS[5])
    (copy / "train" / WNIDS[5]).symlink_to(copy / "moved" / WNIDS[5])
    text = fault(copy)
    assert f"1 links in {copy / 'train'} lead nowhere: {WNIDS[5]}; bring the folders they point to" in text
    assert "are missing" not in text and f"{WNIDS[5]} has" not in text


def test_what_else_lies_there_does_not_matter(copy: Path) -> None:
    for name in ("._ILSVRC2012_val_00000001.JPEG", "Thumbs.db", "notes.txt"):
        (copy / "val" / WNIDS[0] / name).write_bytes(b"")
        (copy / "val" / name).write_bytes(b"")
    layout.check(copy)


def flattened(copy: Path) -> list[Path]:
    for wnid in WNIDS:
        for path in (copy / "val" / wnid).iterdir():
            path.rename(copy / "val" / path.name)
        (copy / "val" / wnid).rmdir()
    return sorted((copy / "val").iterdir())


class TestSortVal:
    """A flat val: the error says how to sort it, and what it says works."""

    def test_from_a_text(self, copy: Path, tmp_path: Path) -> None:
        files = flattened(copy)
        text = fault(copy)
        assert f"1,000 images lie in {copy / 'val'} itself" in text and "--sort-val FILE" in text
        kaggle, script = tmp_path / "LOC_val_solution.csv", tmp_path / "valprep.sh"
        rows = [f"{path.stem},{WNIDS[label]} 85 1 499 272 " for label, path in enumerate(files)]
        kaggle.write_text("﻿ImageId,PredictionString\r\n" + "\r\n".join(rows), encoding="utf-8")
        moves = [f"mv {path.name} {WNIDS[label]}/" for label, path in enumerate(files)]
        script.write_text("\n".join([f"mkdir -p {wnid}" for wnid in WNIDS] + moves), encoding="utf-8")
        assert read_truth(kaggle) == read_truth(script)
        said: list[str] = []
        prepare(copy, said.append, sort_val=script)
        assert "1,000 validation images moved" in said[0] and "complete" in said[1]
        with pytest.raises(UserError, match="nothing to sort"):
            sort_val(copy, script)
        (copy / "val" / WNIDS[0] / files[0].name).rename(files[0])  # as an interruption leaves it
        assert sort_val(copy, script) == 1

    def test_from_the_authors_kit(self, copy: Path, tmp_path: Path) -> None:
        flattened(copy)
        order = np.random.default_rng(0).permutation(1000)  # the authors' numbers are in no order of the alphabet
        kind = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("gloss", "O"), ("num_children", "O")]
        synsets = np.array([(i + 1, WNIDS[label], "a", "b", 0) for i, label in enumerate(order)], dtype=kind)
        numbers = np.argsort(order) + 1  # of the images, whose classes are in the alphabet's order
        kit = tmp_path / "ILSVRC2012_devkit_t12.tar.gz"
        meta = io.BytesIO()
        scipy.io.savemat(meta, {"synsets": synsets})
        with tarfile.open(kit, "w:gz") as archive:
            for name, content in {
                "ILSVRC2012_devkit_t12/data/meta.mat": meta.getvalue(),
                "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt": "\n".join(
                    map(str, numbers)
                ).encode(),
            }.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        assert sort_val(copy, kit) == 1000
        assert layout.check(copy)["val"].relative(3) == f"{WNIDS[3]}/ILSVRC2012_val_00000004.JPEG"

    def test_nothing_is_moved_unless_all_can_be(self, copy: Path, tmp_path: Path) -> None:
        files = flattened(copy)
        for text, message in {
            f"{files[0].stem} {WNIDS[0]}": "does not say the class of 999 of 1,000",
            f"{files[0].stem} n00000001": "names classes that ImageNet-1K has not",
            "nothing": "names no classes",
            "\n".join(
                f"{path.stem} {WNIDS[7]}" for path in files
            ): f"names 1,000 of {WNIDS[7]}, and every class has 1 ",
        }.items():
            (tmp_path / "truth.txt").write_text(text, encoding="utf-8")
            with pytest.raises(UserError, match=message):
                sort_val(copy, tmp_path / "truth.txt")
        with pytest.raises(UserError, match="absent cannot be read: no such file"):
            sort_val(copy, tmp_path / "absent")
        (tmp_path / "bytes").write_bytes(b"\xbc\x00\xff")
        with pytest.raises(UserError, match="cannot be read as the classes"):
            sort_val(copy, tmp_path / "bytes")
        assert sorted((copy / "val").iterdir()) == files


def test_damaged_files_are_found_listed_and_left_out(copy: Path) -> None:
    bad = [f"train/{WNIDS[3]}/{WNIDS[3]}_0.JPEG", f"val/{WNIDS[4]}/ILSVRC2012_val_00000005.JPEG"]
    replace(copy / bad[0], jpeg(0)[:700])
    replace(copy / bad[1], b"")
    with pytest.raises(UserError, match="2 files in") as error:
        prepare(copy, lambda text: None, decode=True)
    assert all(name in str(error.value) for name in bad) and "--decode --skip-unreadable" in str(error.value)
    said: list[str] = []
    prepare(copy, said.append, decode=True, skip_unreadable=True)
    images = layout.check(copy)
    assert [len(images[part]) for part in ("train", "val")] == [999, 999] and images["val"].left_out == 1
    assert "999 + 999 images" in said[-2] and "2 more are left out" in said[-1]
    assert bad[0].removeprefix("train/") not in {images["train"].relative(index) for index in range(999)}


def test_what_can_be_known_in_seconds_is_known_before_hours_of_reading(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    shutil.rmtree(copy / "train" / WNIDS[5])
    with pytest.raises(UserError, match=f"1 of 1,000 classes are missing: {WNIDS[5]}"):
        prepare(copy, said.append, decode=True)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"^--write-ffcv: FFCV is not installed.*leave --write-ffcv out"):
        prepare(copy, said.append, decode=True, write_ffcv=True)
    assert not said


def test_a_file_that_was_repaired_is_not_left_out_for_ever(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (copy / layout.UNREADABLE).write_text(f"train/{WNIDS[3]}/{WNIDS[3]}_0.JPEG\n", encoding="utf-8")
    monkeypatch.setattr("paper_repro.data.imagenet.prepare.unreadable", lambda images: [])
    for skip, count in ((False, 999), (True, 1000)):  # the list is changed where it is asked for alone
        prepare(copy, lambda text: None, decode=True, skip_unreadable=skip)
        assert len(layout.check(copy)["train"]) == count


def test_ffcv_gets_the_images_of_both_parts_that_can_be_read(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left_out = f"train/{WNIDS[3]}/{WNIDS[3]}_0.JPEG"
    (copy / layout.UNREADABLE).write_text(f"{left_out}\n", encoding="utf-8")
    written: dict[Path, int] = {}
    monkeypatch.setattr(ffcv, "write", lambda images, path, say: written.update({path: len(images)}))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    prepare(copy, lambda text: None, write_ffcv=True)
    assert written == {copy / "train.beton": 999, copy / "val.beton": 1000}


@pytest.mark.parametrize("kind", ["grey", "cmyk", "png", "palette"])
def test_what_is_not_an_rgb_jpeg_is_read_as_rgb(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "n02105855_2933.JPEG"
    if kind in ("grey", "cmyk"):
        path.write_bytes(jpeg(1, mode={"grey": "L", "cmyk": "CMYK"}[kind]))
    else:
        image = Image.open(io.BytesIO(jpeg(1))).convert("P" if kind == "palette" else "RGBA")
        image.save(path, "PNG")
    image = read_rgb(path)
    assert image.mode == "RGB" and image.size == (60, 50)
    reference = np.asarray(Image.open(io.BytesIO(jpeg(1)))).astype(int)
    assert np.abs(np.asarray(image) - (reference if kind != "grey" else np.asarray(image))).mean() < 30
