"""What must not change by accident: run names, results, audits, figures, help texts and exit codes.

A change that is meant is made with ``REPIN=1 pytest tests/test_pins.py``, in a commit that says what changed and why.
"""

from __future__ import annotations

import hashlib
import io
import os
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import numpy as np
import pytest
from PIL import Image

from paper_repro import cli, tables
from paper_repro.evidence import evidence as ev
from paper_repro.evidence import results
from paper_repro.evidence.evidence import Evidence
from paper_repro.report import figures
from paper_repro.report.figures.registry import DPI
from paper_repro.tables import CHECKPOINT
from tests import made_up_rnn as rnn
from tests.legible import has_few_series, is_legible_as_drawn
from tests.made_up import fake_run

ROOT = Path(__file__).parents[1]
PINS = Path(__file__).with_name("pins")


def pinned(name: str, now: str) -> str:
    """The pinned text of that name; ``now`` itself where pins are being renewed."""
    file = PINS / name
    if os.environ.get("REPIN"):
        file.write_text(now, encoding="utf-8")
    return file.read_text(encoding="utf-8")


def test_runs_keep_their_names() -> None:
    lines = ["table,tier,row,run"]
    for table in map(tables.load, tables.names()):
        for tier in (tier for tier in table.tiers if tier != CHECKPOINT):
            lines += [f"{table.name},{tier},{row.id},{spec.name}" for row, spec in table.specs(tier, [0])]
    now = "\n".join(lines) + "\n"
    assert now.splitlines() == pinned("run_names.csv", now).splitlines()


def test_runs_give_the_same_results_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [
        fake_run(tmp_path / "runs", "resnet50", row, spec, recorded=True)
        for row, spec in tables.load("resnet50").specs("smoke", [0, 1])
    ]
    results.collect("resnet50", "smoke", dict.fromkeys(runs), tmp_path / "results")
    rnn.use_copy(tmp_path / "tables", monkeypatch)  # Table 3 has recipes of its own here
    runs = [rnn.fake_run(tmp_path / "runs", row, spec) for row, spec in rnn.specs("paper", [0, 1], False)]
    results.collect("rnn", "paper", dict.fromkeys(runs), tmp_path / "results")
    files = sorted((tmp_path / "results").rglob("*.csv"))
    now = "".join(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {'/'.join(file.parts[-2:])}\n" for file in files)
    assert len(files) == 7
    assert now.splitlines() == pinned("results.sha256", now).splitlines()


@pytest.mark.parametrize("name", [name for name in tables.names() if tables.load(name).audited])
def test_the_audit_writes_the_committed_file(name: str, tmp_path: Path) -> None:
    from paper_repro.audit.whole_table import save
    from paper_repro.workflows.audit import audited

    committed = ROOT / "results" / name / "audit.csv"
    written = save(audited(name, ROOT / "results" / "errata.csv"), tmp_path / "audit.csv")
    assert written.read_bytes() == committed.read_bytes()


def committed_figures() -> Iterator[tuple[str, str, str]]:
    """(table, tier, figure) of every picture in the repository."""
    for file in sorted((ROOT / "results").glob("*/figures/*.png")):
        tier, _, name = file.stem.partition("_")
        yield file.parts[-3], tier, name


@cache
def committed_evidence(table: str, tier: str) -> Evidence:
    return ev.load(table, tier, ROOT / "results")


@pytest.mark.parametrize("table, tier, name", list(committed_figures()))
def test_committed_figures_are_legible_and_drawn_again_pixel_for_pixel(table: str, tier: str, name: str) -> None:
    committed = ROOT / "results" / table / "figures" / f"{tier}_{name}.png"
    figure = figures.draw(committed_evidence(table, tier), name)
    drawn = io.BytesIO(figures.png(figure))
    assert np.array_equal(np.asarray(Image.open(drawn)), np.asarray(Image.open(committed)))
    figure.set_dpi(DPI)
    is_legible_as_drawn(figure)
    if name != "ranks_over_epochs":  # of Table 3, where each line is named at its end
        has_few_series(figure)


def verbs(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from verbs(command, (*path, name))
        else:
            yield (*path, name)


def code_and_output(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    monkeypatch.setattr(sys, "argv", ["paper-repro", *arguments])
    with pytest.raises(SystemExit) as done:
        cli.main()
    out = capsys.readouterr().out.replace("python -m pytest.paper-repro", "paper-repro")  # as pytest is started
    return f"$ {' '.join(['paper-repro', *arguments])}\n{out}exit code {int(done.value.code or 0)}\n\n"


def test_every_verb_keeps_its_help(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    now = "".join(code_and_output(capsys, monkeypatch, *path, "--help") for path in verbs(cli.cli))
    assert now.splitlines() == pinned("help.txt", now).splitlines()


def test_exit_codes(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATA_ROOT", raising=False)
    (tmp_path / "file").touch()
    cases = (
        "", "list", "data", "audit resnet50", "audit resnt50", "plan resnet50", "plan resnet50 --tier smok",
        "plan resnet50 --rows nosuch",
        "plan resnet50 --tier paper --max-gpu-hours 1", "run", "run resnet50 --tier audit",
        "run resnet50 --tier paper", "run resnet50 --only nosuch", "submit", "submit resnet50 --tier audit",
        "status resnet50 --tier small", "status resnet50 --tier checkpoint", "reproduce resnet50 --tier audit",
        "reproduce rnn --autocast bf16", "regress",
        "regress nosuch", "regress gmp --method-args x", "check --results nowhere", "data nosuch",
        "data imagenet --root .",
        "checkpoint import file", "checkpoint import nowhere", "checkpoint export nowhere", "nosuch",
    )  # fmt: skip
    lines = [code_and_output(capsys, monkeypatch, *case.split()).splitlines() for case in cases]
    now = "\n".join(f"{said[0]}: {said[-2]}" for said in lines) + "\n"
    assert now.splitlines() == pinned("exit_codes.txt", now).splitlines()
