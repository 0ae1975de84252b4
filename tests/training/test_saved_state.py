"""Checkpoints: damage is noticed, the predecessor takes over, and nothing is restarted or executed silently."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from paper_repro.errors import UserError
from paper_repro.training import saved_state


def state(step: int) -> dict:
    return {"step": step, "model": {"w": torch.full((1000,), float(step))}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for step in (10, 20, 30):
        saved_state.save(tmp_path, step, state(step))
    return tmp_path


def test_newest_two_are_kept(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == ["checkpoints.json", "step-0000020.pt", "step-0000030.pt"]
    assert saved_state.load(folder)["step"] == saved_state.newest_step(folder) == 30


@pytest.mark.parametrize("damage", ["truncated", "one byte", "gone"])
def test_predecessor_takes_over(folder: Path, damage: str) -> None:
    newest = folder / "step-0000030.pt"
    content = bytearray(newest.read_bytes())
    if damage == "truncated":
        newest.write_bytes(content[: len(content) // 2])
    elif damage == "one byte":
        content[len(content) // 2] ^= 1
        newest.write_bytes(content)
    else:
        newest.unlink()
    said = []
    assert saved_state.load(folder, said.append)["step"] == 20
    assert "step-0000030.pt" in said[0] and "predecessor" in said[0]


def test_all_damaged_stops_and_never_restarts(folder: Path) -> None:
    for path in folder.glob("*.pt"):
        path.write_bytes(b"")
    with pytest.raises(UserError, match="every checkpoint") as error:
        saved_state.load(folder, lambda text: None)
    assert error.value.exit_code == 3


@pytest.mark.parametrize("index", ["[{", "null", "{}", "3", "[1]", '[{"file": "x"}]', '{"file": "x"}'])
def test_damaged_index_stops(folder: Path, index: str) -> None:
    """It is never taken for one that says that there is no checkpoint yet."""
    (folder / saved_state.INDEX).write_text(index)
    with pytest.raises(UserError, match="not readable") as error:
        saved_state.load(folder)
    assert error.value.exit_code == 3


def test_a_leftover_that_another_process_discards_first_is_gone_all_the_same(folder: Path) -> None:
    leftover = folder / ".step-0000040.pt.x.tmp"
    leftover.write_bytes(b"half")
    assert saved_state.load(folder, lambda text: leftover.unlink())["step"] == 30


def test_a_write_that_was_cut_off_is_named_and_discarded(folder: Path) -> None:
    leftover = folder / ".step-0000040.pt.abc.tmp"
    leftover.write_bytes(b"half")
    said = []
    assert saved_state.load(folder, said.append)["step"] == 30
    assert not leftover.exists() and leftover.name in said[0]


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 8"),
    ],
    ids=["by the system", "by torch"],
)
def test_a_failing_write_keeps_the_old_checkpoint(
    folder: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def full(_state: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise error

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(UserError, match=r"cannot write .*step-0000040\.pt \(.*\); \d+ MiB are free there") as raised:
        saved_state.save(folder, 40, state(40))
    assert raised.value.exit_code == 3
    assert saved_state.load(folder)["step"] == 30 and not list(folder.glob(".*"))


def test_nothing_in_a_checkpoint_is_executed(tmp_path: Path) -> None:
    class Malicious:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "executed"),)

    saved_state.save(tmp_path, 1, {"step": 1, "payload": Malicious()})
    with pytest.raises(UserError, match=r"could run foreign code.*save its tensors alone") as error:
        saved_state.load(tmp_path)
    assert error.value.exit_code == 3
    assert not (tmp_path / "executed").exists()


def test_no_checkpoint_is_none_and_remove_leaves_nothing(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert saved_state.load(tmp_path_factory.mktemp("empty")) is None
    saved_state.remove(folder)
    assert list(folder.iterdir()) == []
