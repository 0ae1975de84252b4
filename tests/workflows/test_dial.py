"""The dial of a method is found by the sparsity that its runs end at."""

from __future__ import annotations

import math
import runpy
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from paper_repro import record, tables
from paper_repro.errors import UserError
from paper_repro.evidence import provenance
from paper_repro.methods import plugins
from paper_repro.runs import launch
from paper_repro.terminal import Console
from paper_repro.workflows import dial, presets, regress
from paper_repro.workflows.dial import DIALS, RUNS, end, find, secant
from paper_repro.workflows.job import Job
from tests.runs.in_this_process import LaunchHere
from tests.training.tiny import SPEC, install


def test_the_secant_is_exact_on_log_odds() -> None:
    def ends(value: float) -> float:
        return 100.0 / (1.0 + math.exp(-(3.0 + 2.0 * math.log(value))))

    known = {value: ends(value) for value in (0.5, 2.0)}
    assert ends(secant(known, 95.0)) == pytest.approx(95.0, abs=0.05)
    falling = {value: 100.0 / (1.0 + math.exp(3.0 * value)) for value in (-0.5, -1.5)}  # a dial that is negative
    assert secant(falling, 95.0) == pytest.approx(-math.log(19.0) / 3.0, abs=1e-2)
    with pytest.raises(UserError, match="the same sparsity"):
        secant({0.1: 90.0, 0.2: 90.0}, 95.0)


def test_runs_end_when_one_is_near_and_serve_the_next_row() -> None:
    tried: list[float] = []

    def ends_at(value: float) -> float:
        tried.append(value)
        return 100.0 * (1.0 - math.exp(-value))

    known: dict[float, float] = {}
    first = find(ends_at, known, 1.0, 2.0, 90.0)
    assert abs(known[first] - 90.0) <= 0.7 and tried[:2] == [1.0, 2.0]
    before = len(tried)
    assert find(ends_at, known, first, 2.0, 90.0) == first and len(tried) == before
    assert abs(known[find(ends_at, known, first, 2.0, 98.0)] - 98.0) <= 0.3
    with pytest.raises(UserError, match="no value ends near 95 %"):
        find(lambda value: 10.0 + value, {}, 1.0, 2.0, 95.0)


def test_the_last_run_counts_too() -> None:
    tried: list[float] = []

    def ends_at(value: float) -> float:
        tried.append(value)
        return 95.0 if len(tried) == RUNS else 10.0 + len(tried)

    assert find(ends_at, {}, 1.0, 2.0, 95.0) == tried[-1] and len(tried) == RUNS


@pytest.mark.parametrize("module", [dial, presets])
def test_a_mistake_ends_in_a_sentence(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [module.__name__, "resnt50", "smoke", "lats"][: 3 + (module is dial)])
    with pytest.raises(SystemExit) as done:
        runpy.run_path(module.__file__ or "", run_name="__main__")
    said = capsys.readouterr().err
    assert done.value.code == 2 and said.startswith("error: ") and "Did you mean 'resnet50'" in said
    assert said.count("\n") == 1


def test_every_row_that_asks_for_no_sparsity_has_a_dial() -> None:
    for row, spec in tables.load("successors").specs("smoke", [0]):
        if row.method not in ("dense", "str") and "sparsity_pct" not in spec.method_args:
            assert DIALS[row.method][0] in spec.method_args, row.id


def test_a_run_of_a_dial_is_kept_like_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its provenance, so that the row which takes its value is trained already."""
    install(monkeypatch)
    monkeypatch.setattr(launch, "Launch", LaunchHere)
    job = Job("successors", "smoke", runs=tmp_path, data_root=tmp_path)
    sparsity_pct = end(SPEC, job, Console())
    kept = record.read(tmp_path / SPEC.name)
    assert kept.result.sparsity_pct == sparsity_pct
    assert (kept.provenance.commit, kept.provenance.dirty) == provenance.code_version()


AT_THE_ROWS = ("str-90.23", "str-95.03", "str-98.05")


@pytest.mark.parametrize("name", DIALS)
def test_regress_takes_what_the_rows_have(name: str) -> None:
    """A comparison with STR trains the rows' runs, so that what is finished of the table is not trained again."""
    question = regress.Question(name, Job("resnet50", seeds=1, rows=AT_THE_ROWS))
    runs = question.method_runs(plugins.find(name), "")
    of_table = [spec.name for row, spec in tables.load("successors").specs("smoke", [0]) if row.method == name]
    assert [spec.name for _, spec in runs] == of_table and len(of_table) == 3
    given = {"weight_decay": 0.5, "method_args": {DIALS[name][0]: 0.25}}
    for _, spec in replace(question, **given).method_runs(plugins.find(name), ""):
        assert spec.weight_decay == 0.5 and spec.method_args[DIALS[name][0]] == 0.25


@pytest.mark.parametrize(
    ("method", "job", "says"),
    [
        ("lats", Job("resnet50"), r"its rows end at 90, 95, 98 %, not at 80, 99 %: name STR's rows at the former"),
        ("dense", Job("resnet50"), r"no row of tier smoke says with what it ends at 80, 90"),
        ("lats", Job("resnet50", model="examples/my_unet.py"), r"on a network of yours"),
    ],
)
def test_regimes_that_no_row_ends_at(method: str, job: Job, says: str) -> None:
    with pytest.raises(UserError, match=says):
        regress.Question(method, job).method_runs(plugins.find(method), "")
