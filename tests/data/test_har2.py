"""UCI HAR from each of its sources, and damage noticed; on small files made here, in the archive's layout."""

from __future__ import annotations

import hashlib
import itertools
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from paper_repro.data import arrays, catalog
from paper_repro.data.sets import har2, har2_third
from paper_repro.errors import UserError
from tests.data.web import real, serving

OFFICIAL, REBUILT = catalog.source("har2"), catalog.source("har2_rebuilt")
ORIGINAL, MATCHED = catalog.source("har2_original"), catalog.source("har2_matched")
COUNTS = {"train": (3, 1, 2, 1, 1, 2), "test": (1, 1, 1, 1, 1, 1)}
SUBJECTS = {"train": (1, 3), "test": (2, 4)}
quiet = {"say": lambda text: None}


def windows(part: str) -> np.ndarray:
    """Another level and spread in each channel."""
    draws = np.random.default_rng(len(part)).normal(size=(sum(COUNTS[part]), har2.STEPS, 9))
    return (draws - draws.mean((0, 1))) * np.linspace(0.1, 0.9, 9) + np.linspace(-0.4, 0.4, 9)


def labels(part: str) -> list[int]:
    return [label for label, count in enumerate(COUNTS[part], start=1) for _ in range(count)]


def fetched_from(monkeypatch: pytest.MonkeyPatch, addresses: dict[str, str]) -> None:
    monkeypatch.setitem(vars(OFFICIAL), "addresses", addresses)


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Fewer windows, their statistics, and no way to the outside."""
    if "real" in request.node.name:
        return
    monkeypatch.setattr(har2, "CLASS_COUNTS", COUNTS)
    monkeypatch.setattr(har2, "SUBJECTS", SUBJECTS)
    monkeypatch.setattr(har2, "MEAN", tuple(windows("train").mean((0, 1))))
    monkeypatch.setattr(har2, "STD", tuple(windows("train").std((0, 1))))
    fetched_from(monkeypatch, {"http://127.0.0.1:9/a.zip": "sha256:" + "0" * 64})


def unpacked(root: Path) -> Path:
    folder = root / har2.FOLDER
    for part in COUNTS:
        (folder / part / "Inertial Signals").mkdir(parents=True)
        for channel, name in enumerate(har2.CHANNELS):
            np.savetxt(folder / f"{part}/Inertial Signals/{name}_{part}.txt", windows(part)[:, :, channel], fmt="%.7e")
        np.savetxt(folder / f"{part}/y_{part}.txt", labels(part), fmt="%d")
        people = list(itertools.islice(itertools.cycle(SUBJECTS[part]), sum(COUNTS[part])))
        np.savetxt(folder / f"{part}/subject_{part}.txt", people, fmt="%d")
    return folder


def archive(folder: Path, scratch: Path, nested: bool, damage: Callable[[Path], None] | None = None) -> Path:
    """The archive as the older address serves it, or in another one as the newer does; of damaged files when asked."""
    inner, outer = folder / har2.INNER_ARCHIVE, folder / OFFICIAL.archives[1]
    source = unpacked(scratch)
    if damage:
        damage(source)
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in sorted(source.rglob("*.txt")):
            packed.write(path, path.relative_to(scratch))
    if not nested:
        return inner
    with zipfile.ZipFile(outer, "w") as packed:
        packed.write(inner, inner.name)
    inner.unlink()
    return outer


def check_loaded(folder: Path) -> None:
    (x, y), (x_test, y_test) = OFFICIAL.load(folder)
    assert x.shape == (10, 128, 9) and x_test.shape == (6, 128, 9) and x.dtype == torch.float32
    assert y.tolist() == [0, 0, 0, 1, 0, 0, 1, 0, 1, 1] and y_test.tolist() == [0, 1, 0, 1, 0, 1]
    assert torch.allclose(x.mean(0), torch.zeros(128, 9), atol=1e-5)
    assert torch.allclose(x.std(0, correction=0), torch.ones(128, 9), atol=1e-5)
    raw = windows("train")
    expected = (windows("test")[2, 17, 6] - raw[:, 17, 6].mean()) / raw[:, 17, 6].std()
    assert x_test[2, 17, 6].item() == pytest.approx(expected, abs=1e-4)


def test_found_unpacked_and_kept_in_a_cache(tmp_path: Path) -> None:
    folder = unpacked(tmp_path)
    said: list[str] = []
    assert OFFICIAL.ensure(tmp_path, say=said.append) == folder and "reading the text files" in said[0]
    first = OFFICIAL.fingerprint(folder)
    OFFICIAL.ensure(tmp_path, say=said.append)
    assert len(said) == 1 and OFFICIAL.fingerprint(folder) == first and len(first) == 64
    check_loaded(folder)


@pytest.mark.parametrize("nested", [False, True])
def test_unpacked_from_an_archive(tmp_path: Path, nested: bool) -> None:
    root = tmp_path / "root"
    root.mkdir()
    archive(root, tmp_path / "scratch", nested)
    check_loaded(OFFICIAL.ensure(root, **quiet))
    assert not list(root.glob(".uci_har.[!l]*"))  # no scratch folder is left


@pytest.mark.parametrize("intact", [True, False])
def test_fetched_and_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, intact: bool) -> None:
    (tmp_path / "web").mkdir()
    served = archive(tmp_path / "web", tmp_path / "scratch", nested=True).rename(tmp_path / "web/outer.zip")
    digest = hashlib.sha256(served.read_bytes()).hexdigest()
    if not intact:
        served.write_bytes(served.read_bytes()[:-100])
    with serving(tmp_path / "web") as address:
        fetched_from(monkeypatch, {f"{address}/outer.zip": f"sha256:{digest}"})
        if intact:
            check_loaded(OFFICIAL.ensure(tmp_path / "new", **quiet))
        else:
            with pytest.raises(UserError, match="hash"):
                OFFICIAL.ensure(tmp_path / "new", **quiet)


def test_a_corrupt_archive_is_named(tmp_path: Path) -> None:
    path = archive(tmp_path, tmp_path / "scratch", nested=False)
    content = bytearray(path.read_bytes())
    content[300:400] = bytes(100)
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"UCI HAR Dataset.zip is damaged(.|\n)*Put UCI HAR Dataset.zip"):
        OFFICIAL.ensure(tmp_path, **quiet)
    assert not (tmp_path / har2.FOLDER).exists()


def test_an_archive_of_something_else_is_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / har2.INNER_ARCHIVE, "w") as packed:
        packed.writestr("README.txt", "")
    with pytest.raises(UserError, match="is no archive of UCI HAR"):
        OFFICIAL.ensure(tmp_path, **quiet)


def test_an_archive_with_other_content_is_named_and_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "web").mkdir()
    served = archive(tmp_path / "web", tmp_path / "good", nested=True)
    (tmp_path / "root").mkdir()
    wrong = archive(tmp_path / "root", tmp_path / "bad", nested=False, damage=edit("train/y_train.txt", 1, "2"))
    named = (
        rf"{wrong} has other content than UCI HAR: train/y_train\.txt has \(2, 2, 2, 1, 1, 2\) windows .*: remove it"
    )
    with pytest.raises(UserError, match=named):
        OFFICIAL.ensure(tmp_path / "root", **quiet)
    assert sorted(path.name for path in (tmp_path / "root").iterdir()) == [".uci_har.lock", wrong.name]
    with serving(tmp_path / "web") as address:
        digest = hashlib.sha256(served.read_bytes()).hexdigest()
        fetched_from(monkeypatch, {f"{address}/{served.name}": f"sha256:{digest}"})
        said: list[str] = []
        check_loaded(OFFICIAL.ensure(tmp_path / "root", say=said.append))
    assert any(re.search(f"not used: {named}", text) for text in said)


def test_a_folder_with_other_content_is_fetched_anew_once_it_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the error says, and although an archive with the same content is there, from which the folder may be."""
    (tmp_path / "web").mkdir()
    served = archive(tmp_path / "web", tmp_path / "good", nested=True)
    digest = hashlib.sha256(served.read_bytes()).hexdigest()
    (tmp_path / "root").mkdir()
    archive(tmp_path / "root", tmp_path / "bad", nested=False, damage=swap)
    swap(unpacked(tmp_path / "root"))
    with pytest.raises(UserError, match=r"UCI HAR Dataset.*other data. Remove .*UCI HAR Dataset and run again"):
        OFFICIAL.ensure(tmp_path / "root", **quiet)
    shutil.rmtree(tmp_path / "root" / har2.FOLDER)
    with serving(tmp_path / "web") as address:
        fetched_from(monkeypatch, {f"{address}/{served.name}": f"sha256:{digest}"})
        check_loaded(OFFICIAL.ensure(tmp_path / "root", **quiet))


def test_out_of_reach_says_what_was_tried_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        OFFICIAL.ensure(tmp_path, **quiet)
    assert "127.0.0.1:9" in str(error.value) and "DATA_ROOT" in str(error.value) and error.value.exit_code == 2


def test_a_root_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="set DATA_ROOT"):
        OFFICIAL.ensure(tmp_path / "file", **quiet)


def swap(folder: Path) -> None:
    one, other = (folder / har2.signals("train")[channel] for channel in (3, 6))
    content = one.read_text()
    one.write_text(other.read_text())
    other.write_text(content)


def cut(name: str, keep: float):
    def damage(folder: Path) -> None:
        content = (folder / name).read_text()
        (folder / name).write_text(content[: int(len(content) * keep)])

    return damage


def edit(name: str, line: int, text: str):
    def damage(folder: Path) -> None:
        lines = (folder / name).read_text().splitlines()
        lines[line - 1] = text
        (folder / name).write_text("\n".join(lines) + "\n")

    return damage


SIGNAL = "train/Inertial Signals/body_gyro_y_train.txt"


@pytest.mark.parametrize(
    "damage, message",
    [
        (cut(SIGNAL, 0.95), "body_gyro_y_train.txt, line 10: .* not 128"),
        (cut(SIGNAL, 0.9), r"body_gyro_y_train.txt has 9 lines, not 10|line 9: "),
        (cut("test/y_test.txt", 0.5), "y_test.txt has 3 lines, not 6"),
        (edit(SIGNAL, 4, "1.0 abc"), "body_gyro_y_train.txt, line 4: could not convert string to float: 'abc'"),
        (edit(SIGNAL, 4, " ".join(["nan"] * 128)), "body_gyro_y_train.txt has values that are no numbers"),
        (edit("train/y_train.txt", 1, "2"), r"y_train.txt has \(2, 2, 2, 1, 1, 2\) windows"),
        (edit("test/subject_test.txt", 1, "7"), r"subject_test.txt is of the people \(2, 4, 7\)"),
        (swap, "body_gyro_x_train.txt: channel body_gyro_x has mean"),
        (lambda folder: (folder / SIGNAL).unlink(), "lacks train/Inertial Signals/body_gyro_y_train.txt"),
    ],
)
def test_damage_is_noticed_and_named_even_with_a_cache(tmp_path: Path, damage, message: str) -> None:
    folder = unpacked(tmp_path)
    OFFICIAL.ensure(tmp_path, **quiet)
    damage(folder)
    with pytest.raises(UserError, match=message):
        OFFICIAL.ensure(tmp_path, **quiet)


def test_a_damaged_or_stale_cache_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = unpacked(tmp_path)
    OFFICIAL.ensure(tmp_path, **quiet)
    expected, cache = OFFICIAL.fingerprint(folder), folder / "inertial_signals.npz"
    intact = cache.read_bytes()
    for damaged in (intact[:-50], b"", intact[:2000] + b"\1" + intact[2001:]):
        cache.write_bytes(damaged)
        said: list[str] = []
        OFFICIAL.ensure(tmp_path, say=said.append)
        assert "damaged: made anew" in said[0] and OFFICIAL.fingerprint(folder) == expected
    # whole, but with one value changed: only the digest inside shows it
    content = arrays.read(cache)
    content["x_train"][0, 0, 0] += 1
    np.savez(cache, **content)
    said = []
    OFFICIAL.ensure(tmp_path, say=said.append)
    assert "made anew" in said[0] and OFFICIAL.fingerprint(folder) == expected
    monkeypatch.setattr(har2, "CACHE_VERSION", "another")
    OFFICIAL.ensure(tmp_path, say=said.append)
    assert "another version: made anew" in said[-2]


def test_a_folder_that_cannot_be_written_still_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = unpacked(tmp_path)

    def refuse(path: Path) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(arrays, "replacing", refuse)
    said: list[str] = []
    OFFICIAL.ensure(tmp_path, say=said.append)
    assert "Read-only file system" in said[-1]
    check_loaded(folder)


def test_the_tolerances_tell_every_two_channels_apart_with_the_real_statistics() -> None:
    for one, other in itertools.combinations(range(9), 2):
        apart = abs(har2.MEAN[one] - har2.MEAN[other]) > 2 * har2.MEAN_TOLERANCE
        assert apart or abs(har2.STD[one] - har2.STD[other]) > har2.STD_TOLERANCE, (one, other)


def test_the_real_reconstruction_passes_the_checks_of_the_official_data(tmp_path: Path) -> None:
    root = real("har2/uci_har_rebuilt.npz", tmp_path)
    folder = REBUILT.ensure(root)
    content = arrays.read(folder / "uci_har_rebuilt.npz")
    har2.require_uci_har(content)
    assert tuple(content["channels"]) == har2.CHANNELS
    (x, y), (x_test, y_test) = REBUILT.load(folder)
    for facts in (OFFICIAL, REBUILT):
        assert (len(x), len(x_test)) == (len(y), len(y_test)) == (facts.train_examples, facts.val_examples)
        assert tuple(x.shape[1:]) == facts.input_size and facts.num_classes == 2
    assert y.bincount().tolist() == [1226 + 986 + 1374, 1073 + 1286 + 1407]
    assert len(REBUILT.fingerprint(folder)) == 64
    content["x_train"][..., [1, 2]] = content["x_train"][..., [2, 1]]
    with pytest.raises(UserError, match="channel body_acc_y has std"):
        har2.require_uci_har(content)


def simple_features(windows: np.ndarray) -> np.ndarray:
    """Of windows (N, 128, 9), for each channel: mean, standard deviation, minimum, maximum, mean absolute difference
    from step to step, and log(1 + magnitude) at the 65 frequencies of the FFT; (N, 630).
    """
    steps = np.abs(np.diff(windows, axis=1)).mean(1)
    spectrum = np.log1p(np.abs(np.fft.rfft(windows, axis=1))).reshape(len(windows), -1)
    parts = (windows.mean(1), windows.std(1), windows.min(1), windows.max(1), steps, spectrum)
    return np.concatenate(parts, axis=1, dtype=np.float64)


def ridge(inputs: np.ndarray, targets: np.ndarray) -> dict[float, np.ndarray]:
    """The weights for each penalty."""
    square, product = inputs.T @ inputs, inputs.T @ targets
    penalties = (1.0, 10.0, 100.0, 1000.0)
    return {penalty: np.linalg.solve(square + penalty * np.eye(len(square)), product) for penalty in penalties}


def test_the_real_windows_hold_what_the_labels_ask_for(tmp_path: Path) -> None:
    """Ridge regression on simple features of what a network is given: 94.3 % of the test windows in the right of the
    two classes when it learns UCI's six activities, 92.2 % when it learns the two classes. Nothing is chosen by the
    test set: for the penalty every fifth of the training people is held out.
    """
    folder = REBUILT.ensure(real("har2/uci_har_rebuilt.npz", tmp_path))
    content = arrays.read(folder / har2.REBUILT)
    (windows, classes), (test_windows, test_classes) = (tuple(map(np.asarray, part)) for part in REBUILT.load(folder))
    train, test = simple_features(windows), simple_features(test_windows)
    mean, std = train.mean(0), train.std(0)
    train, test = (np.c_[np.ones(len(part)), (part - mean) / std] for part in (train, test))
    people = content["subject_train"]
    held_out = np.isin(people, np.unique(people)[::5])

    def accuracy_pct(learned: np.ndarray, class_of: np.ndarray) -> float:
        """When the labels ``learned``, 0 to k - 1, are regressed on, and stand for the classes ``class_of`` (k,)."""
        targets = np.eye(len(class_of))[learned]

        def right_pct(weights: np.ndarray, inputs: np.ndarray, wanted: np.ndarray) -> float:
            return 100.0 * float((class_of[(inputs @ weights).argmax(1)] == wanted).mean())

        tried = ridge(train[~held_out], targets[~held_out])
        penalty = max(tried, key=lambda penalty: right_pct(tried[penalty], train[held_out], classes[held_out]))
        return right_pct(ridge(train, targets)[penalty], test, test_classes)

    activities = content["y_train"].astype(int) - 1
    assert accuracy_pct(activities, class_of=np.array([0, 1, 0, 1, 0, 1])) > 94.0
    assert accuracy_pct(classes, class_of=np.array([0, 1])) == pytest.approx(92.2, abs=0.5)


def test_real_original_windows_have_the_statistics_that_are_checked(tmp_path: Path) -> None:
    root = real("har2/uci_har_original_subset.npz", tmp_path)
    x = arrays.read(root / "har2/uci_har_original_subset.npz")["x_train"]
    assert np.abs(x.mean((0, 1)) - har2.MEAN).max() < har2.MEAN_TOLERANCE
    assert np.abs(x.std((0, 1)) - har2.STD).max() < har2.STD_TOLERANCE


def test_real_original_windows_and_their_reconstruction(tmp_path: Path) -> None:
    real("har2/uci_har_original_subset.npz", tmp_path)
    root = real("har2/uci_har_rebuilt.npz", tmp_path)
    assert ORIGINAL.present(root) and MATCHED.present(root)
    ours, theirs = (
        MATCHED.load(MATCHED.ensure(root)),
        ORIGINAL.load(ORIGINAL.ensure(root)),
    )
    facts = (ORIGINAL, MATCHED)
    for part, count in ((0, "train_examples"), (1, "val_examples")):
        assert torch.equal(ours[part][1], theirs[part][1])
        assert (ours[part][0] - theirs[part][0]).abs().median() < 2e-4
        assert all(getattr(item, count) == len(theirs[part][1]) for item in facts)
    assert MATCHED.fingerprint(root / "har2") != ORIGINAL.fingerprint(root / "har2")


def test_one_mean_and_deviation_per_channel(tmp_path: Path) -> None:
    folder = unpacked(tmp_path)
    source = catalog.source("har2_channels")
    assert source.ensure(tmp_path, **quiet) == folder and source.present(tmp_path)
    (x, y), (x_test, _) = source.load(folder)
    assert torch.allclose(x.mean((0, 1)), torch.zeros(9), atol=1e-5)
    assert torch.allclose(x.std((0, 1), correction=0), torch.ones(9), atol=1e-5)
    assert x.mean(0).abs().max() > 0.1  # of a column it is not 0
    raw = windows("train")[:, :, 6]
    assert x_test[2, 17, 6].item() == pytest.approx((windows("test")[2, 17, 6] - raw.mean()) / raw.std(), abs=1e-4)
    assert torch.equal(y, OFFICIAL.load(folder)[0][1]) and source.fingerprint(folder) != OFFICIAL.fingerprint(folder)


def test_the_validation_split_holds_out_people_of_the_training_part(tmp_path: Path) -> None:
    people = np.repeat(np.arange(1, 12), 3)
    windows = {f"{name}_{part}": np.arange(33.0) for name in ("x", "y") for part in ("train", "test")}
    split = har2.validation_split({**windows, "subject_train": people, "x_test": np.full(33, -1.0)})
    held_out = har2.validation_people(list(range(1, 12)))
    assert len(held_out) == 2 and set(split["subject_test"]) == set(held_out)
    assert set(split["subject_train"]) == set(range(1, 12)) - set(held_out)
    assert sorted([*split["x_train"], *split["x_test"]]) == list(
        range(33)
    )  # nothing of the test part, all of the other
    assert list(split["y_test"]) == [3 * (person - 1) + at for person in sorted(held_out) for at in range(3)]


def test_who_is_held_out() -> None:
    """Other people would be another data set: settings have been chosen by these."""
    people = [1, 3, 5, 6, 7, 8, 11, 14, 15, 16, 17, 19, 21, 22, 23, 25, 26, 27, 28, 29, 30]
    assert har2.validation_people(people) == [11, 26, 5, 17]


@pytest.mark.parametrize("of", ["har2", "har2_rebuilt"])
@pytest.mark.parametrize("kind", ["validation", "validation_channels"])
def test_validation_variants_never_show_the_test_part(of: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    people = np.repeat(np.arange(1, 12), 3)
    own = {f"x_{part}": np.zeros((33, har2.STEPS, 9)) + people[:, None, None] for part in ("train", "test")}
    own |= {f"y_{part}": people for part in ("train", "test")} | {"subject_train": people, "subject_test": people}
    for source in (har2.HAR2, har2.OfficialHAR2):
        monkeypatch.setattr(source, "windows", lambda self, folder: own)
    (x, _), (held_out, _) = catalog.source(f"{of}_{kind}").load(Path())
    assert (len(x), len(held_out)) == (27, 6)


def test_the_real_validation_split(tmp_path: Path) -> None:
    root = real("har2/uci_har_rebuilt.npz", tmp_path)
    assert har2.validation_people(list(har2.SUBJECTS["train"])) == [11, 26, 5, 17]
    whole = REBUILT.load(root / "har2")[0][0]
    for name, columns in (("har2_rebuilt_validation", True), ("har2_rebuilt_validation_channels", False)):
        source = facts = catalog.source(name)
        (x, _), (held_out, labels) = source.load(source.ensure(root))
        assert (len(x), len(held_out)) == (facts.train_examples, facts.val_examples) and len(x) + len(held_out) == 7352
        assert (x.mean(0).abs().max() < 1e-4) == columns  # standardised over the 17 people alone
        assert labels.float().mean() == pytest.approx(0.5, abs=0.05)
    assert len(whole) == 7352


def test_nearest_windows() -> None:
    among = np.arange(24.0).reshape(4, 3, 2)
    assert har2_third.nearest(among[[2, 0, 3]] + 0.4, among).tolist() == [2, 0, 3]


def test_the_reconstruction_is_verified_and_its_absence_explained(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"reconstruction of UCI HAR(.|\n)*data set har2"):
        REBUILT.ensure(tmp_path)
    (tmp_path / "har2").mkdir()
    (tmp_path / "har2/uci_har_rebuilt.npz").write_bytes(b"another")
    with pytest.raises(UserError, match="not the file that is meant"):
        REBUILT.ensure(tmp_path)
