"""The split by speaker of Speech Commands v0.02's test set."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from paper_repro.data import arrays, catalog, speech_features
from paper_repro.data.sets import google12, speech12
from paper_repro.errors import UserError
from tests.data.web import real

quiet = {"say": lambda text: None}


def data() -> speech12.Speech12:
    """The data set, as a test has it."""
    return catalog.source("speech12")


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """40 clips: 10 of silence, 3 of each of 10 speakers."""
    rng = np.random.default_rng(0)
    speakers = np.array([""] * 10 + [f"{i:08x}" for i in range(10) for _ in range(3)])
    (tmp_path / "speech12").mkdir()
    path = tmp_path / "speech12" / speech12.FILE
    np.savez(
        path,
        x=rng.integers(-900, 900, size=(40, 16_000)).astype(np.int16),
        y=np.r_[np.zeros(10), np.arange(30) % 12].astype(np.uint8),
        speaker=speakers,
        names=np.array([f"{i}.wav" for i in range(40)]),
    )
    files = {speech12.FILE: hashlib.sha256(path.read_bytes()).hexdigest()}
    monkeypatch.setitem(catalog.sets(), "speech12", catalog.sets()["speech12"] | {"files": files})
    return tmp_path


def test_a_fifth_of_the_speakers_and_of_the_silence_is_for_testing(small: Path) -> None:
    folder = data().ensure(small, **quiet)
    (x, y), (x_test, y_test) = data().load(folder)
    assert x.shape == (32, 99, 32) and x_test.shape == (8, 99, 32) and x.dtype == torch.float32
    assert y.dtype == torch.int64 and len(y) == 32 and len(y_test) == 8
    content = arrays.read(folder / speech12.FILE)
    expected = speech_features.log_mel(content["x"][0])
    raw = arrays.read(folder / "log_mel.npz")
    assert any(np.array_equal(expected, row) for part in ("train", "test") for row in raw[f"x_{part}"])


def test_the_split_depends_on_names_alone() -> None:
    speakers = np.array([f"{i:08x}" for i in range(20)] + [""] * 20)
    names = np.array([f"{i}.wav" for i in range(40)])
    testing = speech12.in_test_part(speakers, names)
    order = np.random.default_rng(3).permutation(40)
    assert np.array_equal(speech12.in_test_part(speakers[order], names[order]), testing[order])
    assert testing[:20].sum() == testing[20:].sum() == 4


def test_features_are_kept_and_a_stale_cache_is_made_anew(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    folder = data().ensure(small, say=said.append)
    data().ensure(small, say=said.append)
    assert len(said) == 1
    before = data().fingerprint(folder)
    cache = folder / "log_mel.npz"
    cache.write_bytes(cache.read_bytes()[:-9])
    data().ensure(small, say=said.append)
    assert "damaged: made anew" in said[1] and data().fingerprint(folder) == before
    monkeypatch.setattr(speech_features, "VERSION", "another")
    data().ensure(small, say=said.append)
    assert "another version: made anew" in said[3]


def test_absent_or_another_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"speech_commands_test_set_v0\.02\. It cannot be fetched\. Use google12"):
        data().ensure(tmp_path)
    (tmp_path / "speech12").mkdir()
    (tmp_path / "speech12" / speech12.FILE).write_bytes(b"x")
    with pytest.raises(UserError, match="not the file that is meant"):
        data().ensure(tmp_path)


def test_no_speaker_of_the_real_clips_is_in_both_parts(tmp_path: Path) -> None:
    path = real(f"speech12/{speech12.FILE}", tmp_path) / "speech12" / speech12.FILE
    with np.load(path) as content:  # without the audio
        speakers, names, labels, classes = (content[key] for key in ("speaker", "names", "y", "classes"))
    testing = speech12.in_test_part(speakers, names)
    assert not (set(speakers[testing]) & set(speakers[~testing])) - {""}
    facts = catalog.source("speech12")
    assert ((~testing).sum(), testing.sum()) == (facts.train_examples, facts.val_examples)
    assert set(labels[testing]) == set(labels[~testing]) == set(range(facts.num_classes))
    assert facts.input_size == (speech_features.FRAMES, speech_features.FILTERS)
    assert tuple(classes[2:]) == google12.WORDS  # the labels mean the same
    assert set(labels[speakers == ""]) == {0}


@pytest.mark.slow
def test_the_features_of_the_real_clips(tmp_path: Path) -> None:
    root = real(f"speech12/{speech12.FILE}", tmp_path)
    (x, y), (x_test, _) = data().load(data().ensure(root))
    assert x.isfinite().all() and x_test.isfinite().all() and y.bincount().min() > 250
    assert x.mean((0,)).abs().max() < 1e-3 and x.abs().max() < 60
