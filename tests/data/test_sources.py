"""What the data sets share before anything is found or fetched: the claim on their folder."""

from __future__ import annotations

import gzip
import subprocess
from pathlib import Path

import filelock
import pytest

from paper_repro.data import catalog, sources
from paper_repro.data.dataset import InMemory
from paper_repro.errors import UserError

EVERY = [catalog.source(name) for name in catalog.sets()]
FETCHED = [item for item in EVERY if isinstance(item, InMemory) and item.fetch_mb]


@pytest.mark.parametrize("dataset", FETCHED, ids=lambda item: item.name)
def test_a_folder_that_cannot_be_locked_is_named_with_the_room_it_takes(
    dataset: InMemory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stands in for an existing folder that is read-only, which nothing is for root."""

    def refuse(*_arguments, **_options) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(filelock.BaseFileLock, "acquire", refuse)
    with pytest.raises(
        UserError, match=r"Permission denied; it needs up to [\d,]+ MB: make room, or set DATA_ROOT"
    ) as error:
        dataset.ensure(tmp_path, say=lambda text: None)
    assert f"cannot use {tmp_path}" in str(error.value)


def test_what_fails_under_the_claim_is_told_and_the_lock_released(tmp_path: Path) -> None:
    full = r"cannot use .*/set for a set: No space left on device; it needs up to 1,234 MB"
    lock = tmp_path / "set" / ".lock"
    with pytest.raises(UserError, match=full), sources.claimed(lock, "a set", needs_mb=1234):
        raise OSError(28, "No space left on device")
    with (
        pytest.raises(UserError, match=r"^as it is$"),
        sources.claimed(tmp_path / "set" / ".lock", "a set", needs_mb=1),
    ):
        raise UserError("as it is")
    with filelock.FileLock(lock, timeout=0):
        pass


def test_a_damaged_archive_is_none(tmp_path: Path) -> None:
    """Such as one that a disk has garbled: its header is whole, and its first block is of no kind that there is."""
    packed = bytearray(gzip.compress(b"content" * 50, mtime=0))
    packed[10] = 0xFF
    (tmp_path / "file.gz").write_bytes(packed)
    assert not sources.gunzip(tmp_path / "file.gz", tmp_path / "file", "0" * 64)
    assert [path.name for path in tmp_path.iterdir()] == ["file.gz"]


def test_what_fails_of_a_debian_package_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Package lists that do not come leave those that are there; a package that cannot be unpacked is an error."""
    calls = []

    def run(command: list[str], check: bool = False, **_options) -> subprocess.CompletedProcess[str]:
        calls.append(command[-1])
        if command[-1] == "update":
            raise subprocess.TimeoutExpired(command, 300)
        if command[0] == "dpkg-deb":
            if check:
                raise subprocess.CalledProcessError(2, command)
            return subprocess.CompletedProcess(command, 2, "", "dpkg-deb: error: 'one_1.deb' is no Debian archive\n")
        if len(calls) == 1:
            return subprocess.CompletedProcess(command, 100, "", "E: Unable to locate package one\n")
        (tmp_path / "one_1.deb").touch()
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(sources.shutil, "which", lambda name: name)
    monkeypatch.setattr(sources.os, "geteuid", lambda: 0)
    monkeypatch.setattr(sources.subprocess, "run", run)
    with pytest.raises(UserError, match=r"^unpacking one_1\.deb failed: dpkg-deb: error: 'one_1\.deb' is no Debian"):
        sources.debian_package("one", tmp_path)
    assert calls == ["one", "update", "one", "."]
