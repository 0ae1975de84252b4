"""What the data sets share before anything is found or fetched: the claim on their folder."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import filelock
import pytest

from paper_repro.data import cifar10, fashion_mnist, google12, har2, sources, watch
from paper_repro.errors import UserError


@pytest.mark.parametrize("dataset", [cifar10, fashion_mnist, google12, har2, watch], ids=lambda module: module.__name__)
def test_a_folder_that_cannot_be_locked_is_named_with_the_room_it_takes(
    dataset: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
    with pytest.raises(UserError, match=full), sources.claimed(tmp_path / "set", "a set", needs_mb=1234):
        raise OSError(28, "No space left on device")
    with pytest.raises(UserError, match=r"^as it is$"), sources.claimed(tmp_path / "set", "a set", needs_mb=1):
        raise UserError("as it is")
    with filelock.FileLock(tmp_path / "set" / ".lock", timeout=0):
        pass
