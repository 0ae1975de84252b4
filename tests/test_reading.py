"""What is read from files: once while they stay as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from paper_repro import reading
from paper_repro.errors import UserError


def test_a_file_is_read_once_until_it_changes(tmp_path: Path) -> None:
    """And one that is missing is so again, in the words of whoever reads it."""
    file, read = tmp_path / "a.csv", []

    @reading.once
    def text(path: Path, ending: str) -> str:
        read.append(path)
        return reading.read_text(path) + ending

    for _ in range(2):
        with pytest.raises(UserError, match="is missing; restore it from git"):
            text(file, "!")
    file.write_text("one", encoding="utf-8")
    assert [text(file, "!"), text(file, "!"), text(file, "?")] == ["one!", "one!", "one?"]
    file.write_text("another", encoding="utf-8")
    assert text(file, "!") == "another!"
    assert len(read) == 5  # two that failed, two endings, and what was changed
