"""What all tests share."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from paper_repro.runs import child
from tests import fork_server
from tests.made_up import make_rnn_runs, make_runs
from tests.tables_copy import edit

__all__ = ["edit", "make_rnn_runs", "make_runs"]

torch.set_num_threads(1)
IN_MEMORY, ROOM_BYTES = Path("/dev/shm"), 8 << 30


def pytest_configure(config: pytest.Config) -> None:
    """Temporary folders are in memory, where it has room and nobody has said otherwise: tests write many small files,
    which on a disk takes a fifth of their time.
    """
    asked = os.environ.get("TMPDIR") or config.option.basetemp
    if not asked and os.access(IN_MEMORY, os.W_OK) and shutil.disk_usage(IN_MEMORY).free >= ROOM_BYTES:
        os.environ["TMPDIR"] = str(IN_MEMORY)  # other processes inherit it
        tempfile.tempdir = None  # asked for anew


@pytest.fixture(scope="session", autouse=True)
def forked_children() -> Iterator[None]:
    """Children are forked. ``tests/runs/test_child.py`` starts their commands in a fresh Python."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(child, "subprocess", SimpleNamespace(**{**vars(subprocess), "Popen": fork_server.popen}))
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked ``gpu`` skip where there is none."""
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs an NVIDIA GPU"))
