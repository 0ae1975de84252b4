"""A copy of the reference data and the recipes that a test may spoil."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from paper_repro.experiments import table
from paper_repro.paper import library

Edit = Callable[[str, str, str], Path]


def use_copy(to: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copy both folders to ``to``, and let tables be read from there."""
    for module in (library, table):
        copy = to / module.FOLDER.name
        shutil.copytree(module.FOLDER, copy, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
        monkeypatch.setattr(module, "FOLDER", copy)
    return to


@pytest.fixture
def edit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Edit:
    """edit(file, old, new): replace the one ``old`` in a copy of the data, which tables are then read from."""
    copy = use_copy(tmp_path / "tables", monkeypatch)

    def replace(file: str, old: str, new: str) -> Path:
        (path,) = copy.glob(f"*/{file}")
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{old!r} occurs {text.count(old)} times in {file}"
        path.write_bytes(text.replace(old, new).encode())
        return path

    return replace
