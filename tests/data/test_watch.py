"""The data set in a Python package: verified before it is unpickled, cut into windows, split by person."""

from __future__ import annotations

import hashlib
import io
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from paper_repro.data import catalog, sources
from paper_repro.data.sets import watch
from paper_repro.errors import UserError

quiet = {"say": lambda text: None}


def data() -> watch.Watch:
    """The data set, as a test has it."""
    return catalog.source("watch")


def wheel_of(content: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as wheel:
        wheel.writestr(watch.MEMBER, content)
    return packed.getvalue()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A wheel with recordings of three people, and a pip that downloads it."""
    rng = np.random.default_rng(0)
    lengths = [127, 128, 300, 192]  # 0, 1, 3 and 2 windows
    data = {
        "X": [rng.normal(size=(length, 6)) for length in lengths],
        "y": np.array([0, 1, 2, 3]),
        "subject": np.array([1, 1, 2, 5]),
    }
    content = io.BytesIO()
    np.save(content, np.array(data, dtype=object), allow_pickle=True)
    files = {watch.FILE: hashlib.sha256(content.getvalue()).hexdigest()}
    monkeypatch.setitem(catalog.sets(), "watch", catalog.sets()["watch"] | {"files": files})
    wheel = wheel_of(content.getvalue())

    def pip(command: list[str], cwd: Path, **_options) -> subprocess.CompletedProcess[str]:
        assert command[-1] == "seglearn==1.2.5" and "--no-deps" in command
        Path(cwd, "seglearn-1.2.5-py3-none-any.whl").write_bytes(wheel)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(sources.subprocess, "run", pip)
    return wheel


def test_fetched_with_pip_and_cut_into_windows(tmp_path: Path, small: bytes) -> None:
    folder = data().ensure(tmp_path, **quiet)
    assert sorted(path.name for path in folder.iterdir()) == [".lock", "watch_dataset.npy"]
    (x, y), (x_test, y_test) = data().load(folder)
    assert x.shape == (4, 128, 9) and y.tolist() == [1, 2, 2, 2] and y_test.tolist() == [3, 3]
    assert x.dtype == x_test.dtype == torch.float32 and x.mean(0).abs().max() < 1e-5
    assert data().fingerprint(folder) == data().fingerprint(folder)


def test_a_wheel_that_is_there_is_used_and_verified(tmp_path: Path, small: bytes, monkeypatch) -> None:
    monkeypatch.setattr(sources.subprocess, "run", lambda *_a, **_k: pytest.fail("pip was called"))
    wheel = tmp_path / "watch/seglearn-1.2.5-py3-none-any.whl"
    wheel.parent.mkdir()
    wheel.write_bytes(wheel_of(b"another"))
    with pytest.raises(UserError, match="wrong sha256"):
        data().ensure(tmp_path, **quiet)
    wheel.write_bytes(small[:-30])
    with pytest.raises(UserError, match="is damaged or another package"):
        data().ensure(tmp_path, **quiet)
    wheel.write_bytes(small)
    assert data().ensure(tmp_path, **quiet) == tmp_path / "watch"


def test_another_file_is_never_unpickled(tmp_path: Path, small: bytes, monkeypatch) -> None:
    folder = data().ensure(tmp_path, **quiet)
    path = folder / "watch_dataset.npy"
    path.write_bytes(path.read_bytes() + b" ")
    monkeypatch.setattr(watch.np, "load", lambda *_a, **_k: pytest.fail("it was unpickled"))
    with pytest.raises(UserError, match="remove it and run again"):
        data().load(folder)
    monkeypatch.undo()


def test_a_pip_that_fails_says_what_to_do(tmp_path: Path, monkeypatch) -> None:
    failed = subprocess.CompletedProcess([], 1, "", "WARNING: x\nERROR: No matching distribution found")
    monkeypatch.setattr(sources.subprocess, "run", lambda *_a, **_k: failed)
    with pytest.raises(
        UserError, match=r"No matching distribution found\. Fetch its wheel from https://pypi\.org"
    ) as error:
        data().ensure(tmp_path, **quiet)
    assert str(tmp_path / "watch") in str(error.value)


def test_gravity_is_taken_from_the_acceleration_alone() -> None:
    time = np.arange(1000) / watch.HERTZ
    shake = np.sin(2 * np.pi * 3.0 * time)  # 3 Hz: movement, ten times the corner frequency
    recording = np.stack([1.0 + shake, shake, np.full(1000, -0.5), shake, time, time], axis=1)
    channels = watch.with_body_acceleration(recording)
    middle = slice(200, 800)  # away from the ends, where the filter settles
    assert np.abs(channels[middle, 0] - shake[middle]).max() < 0.02 > np.abs(channels[middle, 2]).max()
    assert np.array_equal(channels[:, 3:6], recording[:, 3:]) and np.array_equal(channels[:, 6:], recording[:, :3])


def test_the_real_package_has_what_the_catalog_says(tmp_path: Path) -> None:
    try:
        folder = data().ensure(tmp_path, **quiet)
    except UserError as error:
        pytest.skip(f"the package cannot be fetched here: {error}")
    facts = catalog.source("watch")
    (x, y), (x_test, y_test) = data().load(folder)
    assert (len(x), len(x_test)) == (len(y), len(y_test)) == (facts.train_examples, facts.val_examples)
    assert tuple(x.shape[1:]) == tuple(x_test.shape[1:]) == facts.input_size
    assert y.unique().tolist() == y_test.unique().tolist() == list(range(facts.num_classes))
    people = data().windows(folder)[2]
    assert sorted(set(people.tolist())) == list(range(1, 11)) and len(people) == len(x) + len(x_test)
    assert x.isfinite().all() and x_test.isfinite().all()
    shutil.rmtree(folder)  # 18 MB
