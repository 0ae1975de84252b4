"""What all tests share."""

from __future__ import annotations

import pytest
import torch

from tests.made_up import make_rnn_runs, make_runs
from tests.tables_copy import edit

__all__ = ["edit", "make_rnn_runs", "make_runs"]

torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked ``gpu`` skip where there is none."""
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs an NVIDIA GPU"))
