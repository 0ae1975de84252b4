"""Fashion-MNIST from each of its sources, verified, with damage noticed; on files made here under made-up hashes."""

from __future__ import annotations

import gzip
import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import filelock
import pytest
import torch
from torchvision.datasets.mnist import read_image_file, read_label_file

from paper_repro.data import catalog, loaders, sources
from paper_repro.data.sets import fashion_mnist
from paper_repro.errors import UserError
from tests.data.web import serving

CONTENT = {name: f"content of {name}".encode() * 50 for name in catalog.keys("fashion_mnist")["files"]}


def data() -> fashion_mnist.FashionMNIST:
    """The data set, as a test has it."""
    return catalog.source("fashion_mnist")


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Other content, other hashes, and no way to the outside."""
    packed = {name: gzip.compress(content, mtime=0) for name, content in CONTENT.items()}
    files = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENT.items()}
    monkeypatch.setitem(catalog.sets(), "fashion_mnist", catalog.sets()["fashion_mnist"] | {"files": files})
    monkeypatch.setattr(fashion_mnist, "MIRROR_MD5", {n: hashlib.md5(c).hexdigest() for n, c in packed.items()})
    monkeypatch.setattr(fashion_mnist, "MIRROR", "http://127.0.0.1:9")
    monkeypatch.setattr(fashion_mnist, "DEBIAN_FOLDER", "no/such/folder")
    monkeypatch.setattr(sources.shutil, "which", lambda name: None)


def put(folder: Path, packed: bool) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in CONTENT.items():
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content, mtime=0))
        else:
            (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A web server with the archives, in place of the public mirror."""
    folder = put(tmp_path / "mirror", packed=True)

    with serving(folder) as address:
        monkeypatch.setattr(fashion_mnist, "MIRROR", address)
        yield folder


@pytest.mark.parametrize("packed", [False, True])
def test_found_in_data_root(tmp_path: Path, packed: bool) -> None:
    folder = put(tmp_path / "FashionMNIST" / "raw", packed)
    assert data().ensure(tmp_path, say=lambda text: None) == folder
    assert data().missing(folder) == []


def test_what_is_whole_needs_no_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = put(tmp_path / "FashionMNIST" / "raw", packed=False)

    def read_only(path: Path, *given: object, **more: object) -> None:
        raise OSError(30, "Read-only file system", str(path))

    monkeypatch.setattr(Path, "mkdir", read_only)
    monkeypatch.setattr(filelock.FileLock, "acquire", read_only)
    assert data().ensure(tmp_path, say=lambda text: None) == folder
    (folder / next(iter(CONTENT))).unlink()
    with pytest.raises(UserError, match="Read-only file system"):
        data().ensure(tmp_path, say=lambda text: None)


def test_fetched_from_the_mirror_and_verified(tmp_path: Path, mirror: Path) -> None:
    said = []
    folder = data().ensure(tmp_path / "new", say=said.append)
    assert data().missing(folder) == [] and "verified" in said[-1]


def test_a_mirror_with_other_content_is_not_believed(tmp_path: Path, mirror: Path) -> None:
    (mirror / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(b"something else"))
    with pytest.raises(UserError, match="hash") as error:
        data().ensure(tmp_path / "new", say=lambda text: None)
    assert "Put train-images-idx3-ubyte" in str(error.value)


def test_installed_debian_package_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "system", packed=True)
    monkeypatch.setattr(fashion_mnist, "DEBIAN_FOLDER", str(tmp_path / "system").lstrip("/"))
    assert data().missing(data().ensure(tmp_path / "new", say=lambda text: None)) == []


def test_debian_package_is_fetched_and_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With stand-ins for apt-get and dpkg-deb, which do what those do."""
    calls = []

    def stand_in(command: list[str], cwd: Path, **_options) -> subprocess.CompletedProcess[str]:
        calls.append(command[0])
        if command[0] == "apt-get" and "download" in command:
            (cwd / f"{fashion_mnist.DEBIAN_PACKAGE}_1_all.deb").touch()
        elif command[0] == "dpkg-deb":
            put(cwd / fashion_mnist.DEBIAN_FOLDER, packed=True)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(sources.shutil, "which", lambda name: name)
    monkeypatch.setattr(sources.subprocess, "run", stand_in)
    folder = data().ensure(tmp_path, say=lambda text: None)
    assert data().missing(folder) == [] and calls == ["apt-get", "dpkg-deb"]
    assert not [path for path in folder.iterdir() if path.is_dir()]  # the scratch folder is gone


def test_a_damaged_file_is_kept_aside_and_fetched_anew(tmp_path: Path, mirror: Path) -> None:
    folder = put(tmp_path / "FashionMNIST" / "raw", packed=False)
    (folder / "t10k-labels-idx1-ubyte").write_bytes(b"damaged")
    said = []
    data().ensure(tmp_path, say=said.append)
    assert (folder / "t10k-labels-idx1-ubyte.corrupt").read_bytes() == b"damaged" and "wrong sha256" in said[0]
    assert data().missing(folder) == []


def test_a_truncated_archive_is_not_used(tmp_path: Path) -> None:
    folder = put(tmp_path / "FashionMNIST" / "raw", packed=True)
    archive = folder / "train-images-idx3-ubyte.gz"
    archive.write_bytes(archive.read_bytes()[:-20])
    with pytest.raises(UserError, match="could not be fetched"):
        data().ensure(tmp_path, say=lambda text: None)
    assert data().missing(folder) == ["train-images-idx3-ubyte"] and not list(folder.glob(".train*"))


def test_out_of_reach_says_what_was_tried_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        data().ensure(tmp_path, say=lambda text: None)
    text = str(error.value)
    assert "127.0.0.1:9" in text and "apt-get" in text and "DATA_ROOT" in text and error.value.exit_code == 2


def test_a_root_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="set DATA_ROOT"):
        data().ensure(tmp_path / "file", say=lambda text: None)


def test_unknown_data_sets() -> None:
    with pytest.raises(UserError, match="Did you mean 'fashion_mnist'"):
        catalog.source("fashion_mnits")


def test_idx_files_are_read_as_torchvision_reads_them(tmp_path: Path) -> None:
    pixels = torch.arange(2 * 28 * 28, dtype=torch.int64).to(torch.uint8)
    for part in ("train", "t10k"):
        header = bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 28, 0, 0, 0, 28])
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(header + bytes(pixels.tolist()))
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 3]))
    (images, labels), _ = data().load(tmp_path)
    assert torch.equal(images[:, 0], read_image_file(str(tmp_path / "train-images-idx3-ubyte")))
    assert torch.equal(labels, read_label_file(str(tmp_path / "t10k-labels-idx1-ubyte"))) and images.shape == (
        2,
        1,
        28,
        28,
    )


def test_batches_cover_every_image_once_and_depend_on_seed_and_epoch_alone() -> None:
    images = torch.arange(10, dtype=torch.uint8)[:, None, None, None].expand(10, 1, 4, 4).contiguous()
    loader = loaders.TensorLoader(images, torch.arange(10), prepare=torch.Tensor.float, batch_size=4)
    assert len(loader) == 3

    def order(seed: int, epoch: int, first: int = 0) -> list[int]:
        return [label for _, labels in loader.epoch(seed, epoch, first) for label in labels.tolist()]

    assert (
        sorted(order(0, 0))
        == list(range(10))
        == [label for _, labels in loader.in_order() for label in labels.tolist()]
    )
    assert order(0, 0) == order(0, 0) != order(0, 1) != order(1, 1)
    assert order(3, 2, first=1) == order(3, 2)[4:]
    for batch, labels in loader.epoch(0, 0):
        assert batch.dtype == torch.float32 and torch.allclose(batch[:, 0, 0, 0], labels.float())
