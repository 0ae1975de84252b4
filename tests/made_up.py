"""Made-up runs in the form in which training leaves them, so that nothing has to be trained here."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path

import pandas as pd
import pytest

from paper_repro import tables
from paper_repro.evidence import results
from paper_repro.spec import Spec
from tests import made_up_rnn as rnn

MakeRuns = Callable[..., list[Path]]


def fake_run(
    directory: Path, table: str, row: tables.Row, spec: Spec, recorded: bool = False, **changes: object
) -> Path:
    """One finished run of made-up but consistent numbers: 8 layers, sparsity at the recipe's target, thresholds
    that rise. ``recorded``: with the balance of its thresholds, where it has any.
    """
    plan = tables.load(table).tier("smoke").rows[row.id]
    target, seed = plan.target_sparsity_pct or 0.0, spec.seed
    names = list(next(iter(tables.budgets(table).values())))
    sizes = [400 + 40 * index for index in range(len(names))]
    slope = (100 - target) * 0.5 if row.method == "str" else 0.0
    middle = sum(size * index for index, size in enumerate(sizes)) / sum(sizes)
    layers, nonzero = [], 0
    for index, (name, params) in enumerate(zip(names, sizes, strict=True)):
        sparsity = target + slope * (middle - index) / middle  # sparser at first, denser at last, on target overall
        left = round(params * (1 - sparsity / 100))
        nonzero += left
        layers.append(
            {
                "layer": name,
                "params": params,
                "macs": params * (2 * len(names) - index),
                "sparsity_pct": 100 * (1 - left / params),
                "threshold": 0.01 + 0.001 * index if row.method == "str" else None,
                **({"kept_l1": 0.05 * left, "balance": 1 + index / 100} if recorded and row.method == "str" else {}),
            }
        )
    params, macs = sum(layer["params"] for layer in layers), sum(layer["macs"] for layer in layers)
    overall = 100 * (1 - nonzero / params)
    backbone = layers[:-1]
    sparse_macs = sum(layer["macs"] * (1 - layer["sparsity_pct"] / 100) for layer in layers)
    history = []
    for step in range(1, 41):
        epoch = spec.epochs * step / 40
        done = max(0.0, (step - 8) / 32)
        thresholds = (
            {n: 1e-5 * math.exp(7 * step / 40) * (1 + i / 50) for i, n in enumerate(names)}
            if row.method == "str"
            else {}
        )
        history.append(
            {
                "epoch": epoch,
                "lr": 0.1,
                "train_loss": 2 - done,
                "sparsity_pct": overall * done**0.5,
                "thresholds": thresholds,
                **(
                    {"balance": {n: [40 - step, step / 40 * (1 + i)] for i, n in enumerate(thresholds)}}
                    if recorded
                    else {}
                ),
            }
        )
    is_str = row.method == "str"
    result = {
        "status": "finished",
        "top1_pct": 89.0
        - max(0.0, target - 80) * (0.2 if is_str else 0.5)
        + 0.13 * seed
        + (0.05 if is_str else 0.0) * seed**2,
        "val_loss": 0.81,
        "train_loss": 0.92,
        "sparsity_pct": overall,
        "backbone_sparsity_pct": 100
        * sum(x["params"] * x["sparsity_pct"] / 100 for x in backbone)
        / sum(x["params"] for x in backbone),
        "params_m": params / 1e6,
        "nonzero_params_m": nonzero / 1e6,
        "macs_m": macs / 1e6,
        "sparse_macs_m": sparse_macs / 1e6,
        "forecast_onset_epoch": 0.2 * spec.epochs if is_str else None,
        "onset_epoch": 0.25 * spec.epochs if is_str else None,
        "epochs": spec.epochs,
        "dataset": spec.dataset,
        "dataset_sha256": "ab" * 32,
        "seconds": 61.25,
        **changes,
    }
    if result["status"] == "diverged":
        result |= {"top1_pct": None, "val_loss": None, "params_m": None, "nonzero_params_m": None, "macs_m": None}
        result |= {"sparse_macs_m": None, "sparsity_pct": None, "backbone_sparsity_pct": None}
        layers = []
    content = {
        "schema": 1,
        "spec": spec.to_dict(),
        "result": result,
        "layers": layers,
        "history": history,
        "provenance": {
            "commit": "0123456789" * 4,
            "dirty": "false",
            "torch": "2.0",
            "python": "3.11",
            "device": "cpu",
            "cpu": "Test CPU",
            "threads": 1,
            "platform": "Linux x86_64",
        },
    }
    folder = directory / spec.name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "result.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


@pytest.fixture
def make_runs(tmp_path: Path) -> MakeRuns:
    """make_runs(table, seeds=..., rows=None for all, **values) -> run directories at tier smoke."""

    def make(
        table: str = "resnet50", seeds: Iterable[int] = (0,), rows: Iterable[str] | None = None, **changes: object
    ) -> list[Path]:
        wanted = None if rows is None else set(rows)
        return [
            fake_run(tmp_path / "runs", table, row, spec, **changes)
            for row, spec in tables.load(table).specs("smoke", seeds)
            if wanted is None or row.id in wanted
        ]

    return make


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
