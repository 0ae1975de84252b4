"""The command line on a table whose tier smoke is four tiny runs of STR: what the tests call, and what the tasks of a
cluster call then. ``SECONDS_PER_STEP`` slows the training down.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType

import pytest

from paper_repro import cli, tables
from paper_repro.runs import launch, slurm
from paper_repro.spec import Spec
from tests.training.tiny import SPEC, install

ROWS = ("str-79.55", "str-90.23", "str-95.03", "str-98.05")
WORKER = (sys.executable, "-m", "tests.training.tiny_worker")
COMMAND = ("-m", "tests.slurm.command")


def specs(
    table: tables.Table, tier: str, seeds: Iterable[int], stand_ins: Mapping[str, str] = MappingProxyType({})
) -> list[tuple[tables.Row, Spec]]:
    """In place of ``Table.specs``."""
    return [
        (table.row(row), replace(SPEC, weight_decay=0.08 + 0.001 * index, seed=seed))
        for index, row in enumerate(ROWS)
        for seed in seeds
    ]


def set_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process: tiny data, tiny runs, and tasks that have both too."""
    install(monkeypatch)
    monkeypatch.setattr(tables.Table, "specs", specs)
    monkeypatch.setattr(launch, "WORKER", WORKER)
    monkeypatch.setattr(slurm, "COMMAND", COMMAND)


if __name__ == "__main__":
    set_up(pytest.MonkeyPatch())
    cli.main()
