"""Made-up runs in the form in which training leaves them, so that nothing has to be trained here."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from paper_repro import tables
from paper_repro.evidence import evidence as ev
from paper_repro.evidence import results
from paper_repro.evidence.evidence import Evidence
from paper_repro.record import Layer, Point, Result, Size
from paper_repro.spec import Spec
from tests import made_up_rnn as rnn
from tests.made_up_record import finished, leave

MakeRuns = Callable[..., list[Path]]


def fake_run(
    directory: Path, table: str, row: tables.Row, spec: Spec, recorded: bool = False, **changes: object
) -> Path:
    """One finished run of made-up but consistent numbers: sparsity at the recipe's target, thresholds that rise.
    ``recorded``: with the balance of its thresholds, where it has any.
    """
    is_str, seed = row.method == "str", spec.seed
    target = tables.load(table).tier("smoke").rows[row.id].target_sparsity_pct or (50.0 if is_str else 0.0)
    names = list(next(iter(tables.budgets(table).values())))
    layers = _layers(names, target, is_str, recorded)
    size = _size(layers)
    result = finished(
        spec,
        **size.model_dump(),
        top1_pct=89.0
        - max(0.0, target - 80) * (0.2 if is_str else 0.5)
        + 0.13 * seed
        + (0.05 if is_str else 0.0) * seed**2,
        val_loss=0.81,
        train_loss=0.92,
        forecast_onset_epoch=0.2 * spec.epochs if is_str else None,
        onset_epoch=0.25 * spec.epochs if is_str else None,
    )
    result = Result.model_validate(result.model_dump() | changes)
    history = [_point(step, names, spec.epochs, size.sparsity_pct or 0.0, is_str, recorded) for step in range(1, 41)]
    return leave(directory, spec, result, layers, history=history)


def _layers(names: Sequence[str], target: float, is_str: bool, recorded: bool) -> list[Layer]:
    """Sparser at first and denser at last for STR, on target overall."""
    sizes = [400 + 40 * index for index in range(len(names))]
    slope = (100 - target) * 0.5 if is_str else 0.0
    middle = sum(size * index for index, size in enumerate(sizes)) / sum(sizes)
    layers = []
    for index, (name, params) in enumerate(zip(names, sizes, strict=True)):
        left = round(params * (1 - (target + slope * (middle - index) / middle) / 100))
        values = {"layer": name, "params": params, "macs": params * (2 * len(names) - index)}
        values |= {"sparsity_pct": 100 * (1 - left / params), "threshold": 0.01 + 0.001 * index if is_str else None}
        balance = {"kept_l1": 0.05 * left, "balance": 1 + index / 100} if recorded and is_str else {}
        layers.append(Layer.model_validate(values | balance))
    return layers


def _size(layers: Sequence[Layer]) -> Size:
    def sparsity_pct(some: Sequence[Layer]) -> float:
        return 100 * sum(x.params * x.sparsity_pct / 100 for x in some) / sum(x.params for x in some)

    params, macs = sum(layer.params for layer in layers), sum(layer.macs for layer in layers)
    nonzero = sum(round(layer.params * (1 - layer.sparsity_pct / 100)) for layer in layers)
    return Size(
        sparsity_pct=100 * (1 - nonzero / params),
        backbone_sparsity_pct=sparsity_pct(layers[:-1]),
        params_m=params / 1e6,
        nonzero_params_m=nonzero / 1e6,
        macs_m=macs / 1e6,
        sparse_macs_m=sum(layer.macs * (1 - layer.sparsity_pct / 100) for layer in layers) / 1e6,
    )


def _point(step: int, names: Sequence[str], epochs: int, overall: float, is_str: bool, recorded: bool) -> Point:
    """The ``step``-th of 40 points of the history; sparsity begins after the 8th."""
    done = max(0.0, (step - 8) / 32)
    rising = 1e-5 * math.exp(7 * step / 40)
    thresholds = {name: rising * (1 + i / 50) for i, name in enumerate(names)} if is_str else {}
    balance = {name: (40.0 - step, step / 40 * (1 + i)) for i, name in enumerate(thresholds)} if recorded else {}
    return Point(
        epoch=epochs * step / 40,
        lr=0.1,
        train_loss=2 - done,
        sparsity_pct=overall * done**0.5,
        thresholds=thresholds,
        balance=balance,
    )


def fake_runs(
    directory: Path,
    table: str = "resnet50",
    seeds: Iterable[int] = (0,),
    rows: Iterable[str] | None = None,
    tier: str = "smoke",
    **changes: Any,
) -> list[Path]:
    """The folders of finished runs of these rows (None: of all)."""
    wanted = None if rows is None else set(rows)
    return [
        fake_run(directory, table, row, spec, **changes)
        for row, spec in tables.load(table).specs(tier, seeds)
        if wanted is None or row.id in wanted
    ]


@pytest.fixture
def make_runs(tmp_path: Path) -> MakeRuns:
    """make_runs(table, seeds=..., rows=None for all, tier="smoke", **values) -> run directories."""
    return partial(fake_runs, tmp_path / "runs")


def load(results_dir: Path, table: str = "resnet50", **given: Any) -> Evidence:
    """What `evidence.load` makes of made-up runs, given as to ``fake_runs``; its frames are the caller's own. The runs
    that several tests ask for are made once and are gone again: ``results_dir`` is empty.
    """
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    made = _loaded(table, tuple(sorted(values.items())))
    frames = {item.name: getattr(made, item.name) for item in fields(made)}
    copies = {name: frame.copy() for name, frame in frames.items() if isinstance(frame, pd.DataFrame)}
    return replace(made, results_dir=results_dir, **copies)


@cache
def _loaded(table: str, given: tuple[tuple[str, Any], ...]) -> Evidence:
    with tempfile.TemporaryDirectory() as folder:
        results.collect(table, "smoke", fake_runs(Path(folder, "runs"), table, **dict(given)), Path(folder, "results"))
        return ev.load(table, "smoke", Path(folder, "results"))


@pytest.fixture
def make_rnn_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeRuns:
    """make_rnn_runs(seeds=..., rows=None for all, tier=..., stand_in=..., **values) -> run directories of Table 3, each
    once; the table has recipes of its own here.
    """
    rnn.use_copy(tmp_path / "tables", monkeypatch)

    def make(
        seeds: Iterable[int] = (0,),
        rows: Iterable[str] | None = None,
        tier: str = "paper",
        stand_in: bool = False,
        **changes: object,
    ) -> list[Path]:
        wanted = None if rows is None else set(rows)
        pairs = {
            spec.name: (row, spec) for row, spec in rnn.specs(tier, seeds, stand_in) if not wanted or row.id in wanted
        }
        return [rnn.fake_run(tmp_path / "runs", row, spec, **changes) for row, spec in pairs.values()]

    return make


def write_audit(
    results_dir: Path, lines: Iterable[tuple[str, str, str, float, str, str]], table: str = "resnet50"
) -> Path:
    """An audit.csv of (row, quantity, printed, recomputed, verdict, note) lines."""
    records = [
        {
            "table": tables.load(table).paper_table,
            "row": row,
            "quantity": quantity,
            "unit": "%",
            "printed": printed,
            "recomputed": recomputed,
            "difference": 0.0,
            "verdict": str(verdict),
            "convention": "",
            "note": note,
        }
        for row, quantity, printed, recomputed, verdict, note in lines
    ]
    return results.write(pd.DataFrame(records), results.path(results_dir, table, "audit", "audit"), "audit")
