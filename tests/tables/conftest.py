"""A copy of the reference data that a test may spoil."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from paper_repro.tables import loader

Edit = Callable[[str, str, str], Path]


@pytest.fixture
def edit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Edit:
    """edit(file, old, new): replace the one ``old`` in a copy of the data, which the loader then reads."""
    copy = tmp_path / "tables"
    shutil.copytree(loader.DATA, copy, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    monkeypatch.setattr(loader, "DATA", copy)

    def replace(file: str, old: str, new: str) -> Path:
        path = copy / file
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{old!r} occurs {text.count(old)} times in {file}"
        path.write_bytes(text.replace(old, new).encode())
        return path

    return replace
