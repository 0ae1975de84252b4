"""Google-12 from a small archive made here in the layout of Speech Commands v0.01."""

from __future__ import annotations

import hashlib
import io
import random
import tarfile
import wave
from pathlib import Path

import numpy as np
import pytest

from paper_repro.data import arrays, catalog, speech_features
from paper_repro.data.sets import google12
from paper_repro.errors import UserError
from tests.data.web import serving

quiet = {"say": lambda text: None}
WORD_CLIPS = {"train": 20, "test": 11}  # so that 2 and 2 are added of noise and of background
NOISES = ("bike.wav", "dishes.wav")


def data() -> google12.Google12:
    """The data set, as a test has it."""
    return catalog.source("google12")


def wav(samples: np.ndarray, hertz: int = 16_000) -> bytes:
    content = io.BytesIO()
    with wave.open(content, "wb") as audio:
        audio.setnchannels(1)
        audio.setsampwidth(2)
        audio.setframerate(hertz)
        audio.writeframes(samples.astype("<i2").tobytes())
    return content.getvalue()


def files() -> dict[str, bytes]:
    """Ten words of 4 clips and two others of 8: of a word, 2 for training, 1 for testing, 1 in the validation list."""
    rng = np.random.default_rng(0)
    result = {}
    for word in (*google12.WORDS, "cat", "wow"):
        for index in range(4 if word in google12.WORDS else 8):
            length = 16_000 if index else 12_000
            result[f"{word}/{index:08x}_nohash_0.wav"] = wav(rng.integers(-999, 999, size=length))
    result["up/00000009_nohash_0.wav"] = wav(rng.integers(-999, 999, size=16_000))  # one more, for testing
    for name in NOISES:
        result[f"_background_noise_/{name}"] = wav(rng.integers(-999, 999, size=16_000 * 20))
    testing = [name for name in result if "/00000002" in name or "/00000004" in name or "/00000009" in name]
    validation = [name for name in result if "/00000003" in name]
    result["testing_list.txt"] = "\n".join(testing).encode() + b"\n"
    result["validation_list.txt"] = "\n".join(validation).encode() + b"\n"
    result["README.md"] = b"text"
    return result


def packed(path: Path, content: dict[str, bytes], seed: int = 0) -> Path:
    order = sorted(content)
    random.Random(seed).shuffle(order)
    with tarfile.open(path, "w:gz") as tar:
        for name in order:
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(content[name])
            tar.addfile(info, io.BytesIO(content[name]))
    return path


def trust(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    monkeypatch.setattr(google12, "SHA256", hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(google12, "ADDRESS", "http://127.0.0.1:9/a.tar.gz")
    monkeypatch.setattr(google12, "WORD_CLIPS", WORD_CLIPS)


def test_sizes_are_the_papers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    facts = catalog.source("google12")
    sizes = {part: clips + 2 * google12.extras(part) for part, clips in google12.WORD_CLIPS.items()}
    assert sizes == {"train": facts.train_examples, "test": facts.val_examples} == {"train": 22_246, "test": 3_081}
    assert {part: google12.extras(part) for part in sizes} == {"train": 1854, "test": 257}
    assert facts.num_classes == len(google12.CLASSES)
    assert facts.input_size == (speech_features.FRAMES, speech_features.FILTERS)


def test_found_features_labels_and_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = files()
    trust(monkeypatch, packed(tmp_path / google12.ARCHIVE, content))
    said: list[str] = []
    folder = data().ensure(tmp_path, say=said.append)
    (x, y), (x_test, y_test) = data().load(folder)
    assert x.shape == (24, 99, 32) and x_test.shape == (15, 99, 32)
    assert y.bincount().tolist() == [2, 2, *[2] * 10]
    assert y_test.bincount().tolist() == [2, 2, 1, 1, 2, *[1] * 7]  # two of "up"
    raw = arrays.read(folder / "log_mel.npz")
    for name, part in (("go/00000000_nohash_0.wav", "train"), ("go/00000002_nohash_0.wav", "test")):
        clip = speech_features.one_second(google12.samples_of(content[name], name), name)
        label = raw[f"y_{part}"][(raw[f"x_{part}"] == speech_features.log_mel(clip)).all((1, 2))]
        assert label.tolist() == [google12.CLASSES.index("go")]
    (tmp_path / google12.ARCHIVE).unlink()  # not needed any more
    assert data().ensure(tmp_path, say=said.append) == folder and len(said) == 1


def test_the_sample_does_not_depend_on_the_order_of_the_archive(tmp_path: Path, monkeypatch) -> None:
    prints = []
    for seed in range(2):
        (tmp_path / str(seed)).mkdir()
        trust(monkeypatch, packed(tmp_path / str(seed) / google12.ARCHIVE, files(), seed))
        prints.append(data().fingerprint(data().ensure(tmp_path / str(seed), **quiet)))
    assert prints[0] == prints[1]


def test_lists_are_respected() -> None:
    content = files()
    names = [name for name in content if name.endswith(".wav") and "_noise_" not in name]
    testing, validation = (content[f"{kind}_list.txt"].decode().split() for kind in ("testing", "validation"))
    chosen = google12.choose(names, testing, validation)
    assert not set(chosen["train"]) & {*testing, *validation} and set(chosen["test"]) <= set(testing)
    assert google12.choose(names[::-1], testing[::-1], validation) == chosen
    background = [name for name, label in chosen["train"].items() if label == 1]
    assert len(background) == 2 and all(name.split("/")[0] in ("cat", "wow") for name in background)
    with pytest.raises(UserError, match="19 clips of the ten words for the train part, not 20"):
        google12.choose([name for name in names if name != "yes/00000000_nohash_0.wav"], testing, validation)


@pytest.mark.parametrize("samples, train, test", [(1_522_930, 309, 43), (960_000, 309, 42), (320_000, 5, 1)])
def test_no_noise_is_in_both_parts(samples: int, train: int, test: int) -> None:
    starts = google12.noise_starts(samples, "train", train)
    assert len(set(starts.tolist())) == train and starts[0] == 0
    testing = google12.noise_starts(samples, "test", test)
    assert len(set(testing.tolist())) == test
    assert starts.max() + 16_000 <= testing.min() and testing.max() + 16_000 <= samples


def test_fetched_and_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "web").mkdir()
    path = packed(tmp_path / "web/a.tar.gz", files())
    trust(monkeypatch, path)
    with serving(tmp_path / "web") as address:
        monkeypatch.setattr(google12, "ADDRESS", f"{address}/a.tar.gz")
        (tmp_path / "google12").mkdir()
        (tmp_path / "google12" / google12.ARCHIVE).write_bytes(path.read_bytes()[:-99])  # an interrupted download
        said: list[str] = []
        assert len(data().load(data().ensure(tmp_path, say=said.append))[0][1]) == 24
        assert "wrong sha256" in said[0] and "1.5 GB" in said[1]
        path.write_bytes(b"another")
        with pytest.raises(UserError, match="hash"):
            data().ensure(tmp_path / "new", **quiet)


def test_out_of_reach_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"127\.0\.0\.1:9(.|\n)*Put speech_commands_v0.01.tar.gz into"):
        data().ensure(tmp_path, **quiet)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="set DATA_ROOT to a folder you can write"):
        data().ensure(tmp_path / "file", **quiet)
    with pytest.raises(UserError, match="`data google12` makes it"):
        data().load(tmp_path)


@pytest.mark.parametrize(
    "damaged, message",
    [
        (b"RIFF", r"yes/00000000_nohash_0\.wav in .* is no \.wav file"),
        (wav(np.ones(8000), hertz=8000), r"yes/00000000_nohash_0\.wav in .* is not 16-bit mono audio of 16000 Hz"),
        (wav(np.ones(16_001)), r"yes/00000000_nohash_0\.wav: audio of shape \(16001,\)"),
    ],
)
def test_audio_that_is_not_as_expected_is_named(tmp_path: Path, monkeypatch, damaged: bytes, message: str) -> None:
    content = files() | {"yes/00000000_nohash_0.wav": damaged}
    trust(monkeypatch, packed(tmp_path / google12.ARCHIVE, content))
    with pytest.raises(UserError, match=message):
        data().ensure(tmp_path, **quiet)
    assert not (tmp_path / "google12/log_mel.npz").exists()


def test_a_damaged_cache_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trust(monkeypatch, packed(tmp_path / google12.ARCHIVE, files()))
    folder = data().ensure(tmp_path, **quiet)
    before = data().fingerprint(folder)
    (folder / "log_mel.npz").write_bytes(b"PK")
    said: list[str] = []
    data().ensure(tmp_path, say=said.append)
    assert "damaged: made anew" in said[0] and data().fingerprint(folder) == before


def test_a_full_disk_is_told_and_not_left_to_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trust(monkeypatch, packed(tmp_path / google12.ARCHIVE, files()))

    def refuse(path: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(arrays, "replacing", refuse)
        with pytest.raises(
            UserError, match=r"google12 for Google-12: No space left on device; it needs up to 1,900 MB"
        ):
            data().ensure(tmp_path, **quiet)
    assert len(data().load(data().ensure(tmp_path, **quiet))[0][1]) == 24  # once there is room
