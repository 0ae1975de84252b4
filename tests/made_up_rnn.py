"""Made-up runs of Table 3: networks that pass through several ranks, and are kept at some of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from paper_repro import tables
from paper_repro.record import Epoch, Layer, Point, Provenance, Size
from paper_repro.spec import Spec
from tests import tables_copy
from tests.made_up_record import finished, leave

PROTOCOL = """
epochs = 6
batch_size = 100
lr = 0.01
momentum = 0.9
warmup_epochs = 0
schedule = "epoch"
label_smoothing = 0.0
weight_decay = 0.0
tolerance_pct = 0.5
printed_hyperparameters = true
methods.str-rank.model_args = { rank_w = 9, rank_u = 80 }
methods.str-rank.method_args = { keep = [[9, 8], [9, 7], [8, 7], [12, 40]] }
rows = [
    { row = "har2-full" },
    { row = "har2-low-9-8", model_args = { rank_w = 9, rank_u = 8 } },
    { row = "har2-low-9-7", model_args = { rank_w = 9, rank_u = 7 } },
    { row = "har2-low-8-7", model_args = { rank_w = 8, rank_u = 7 } },
    { row = "har2-str-9-8" },
    { row = "har2-str-9-7" },
    { row = "har2-str-8-7" },
"""
GOOGLE = """
    { row = "google12-low-12-40", dataset = "google12", model_args = { rank_w = 12, rank_u = 40 } },
    { row = "google12-str-12-40", dataset = "google12", model_args = { rank_w = 32, rank_u = 99 } },
"""
TIERS = f"""
[tiers.smoke]
dataset = "watch"
{PROTOCOL}]

[tiers.paper]
dataset = "har2"
stand_ins = {{ har2 = "har2_rebuilt" }}
{PROTOCOL}{GOOGLE}]
"""
RANKS = {"har2": [(9, 80), (9, 20), (9, 8), (9, 8), (9, 7), (9, 7)], "google12": [(12, 40)] * 6}  # of STR, by epoch
LEAD = {"dense": 2.0, "str-rank": 1.0, "low-rank": 0.0}  # points of accuracy


def use_copy(to: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of the tables, in which Table 3 has recipes that are small, and stay as they are."""
    file = tables_copy.use_copy(to, monkeypatch) / "experiments" / "rnn.toml"
    head = file.read_text(encoding="utf-8").split("\n[tiers")[0]
    file.write_text(f"{head}\n{TIERS}", encoding="utf-8")


def specs(tier: str, seeds: Iterable[int], stand_in: bool = False) -> list[tuple[tables.Row, Spec]]:
    plan = tables.load("rnn")
    return plan.specs(tier, seeds, plan.tier(tier).stand_ins if stand_in else {})


def network(ranks: tuple[int, int] | None, hidden: int, inputs: int, steps: int) -> tuple[Size, list[Layer]]:
    """Size and layers of a network, as a run measures them."""
    sizes = {"w": inputs * hidden, "u": hidden * hidden}
    if ranks is not None:
        sizes = {"w.down": inputs * ranks[0], "w.up": hidden * ranks[0]}
        sizes |= {"u.down": hidden * ranks[1], "u.up": hidden * ranks[1]}
    layers = [
        Layer(layer=name, params=size, macs=steps * size, sparsity_pct=0.0, threshold=None)
        for name, size in sizes.items()
    ]
    params = sum(sizes.values()) / 1e6
    macs = steps * params
    sparsity = {"sparsity_pct": 0.0, "backbone_sparsity_pct": 0.0}
    return Size(**sparsity, params_m=params, nonzero_params_m=params, macs_m=macs, sparse_macs_m=macs), layers


def fake_run(directory: Path, row: tables.Row, spec: Spec, **changes: object) -> Path:
    """One finished run. Accuracy falls by 0.1 with every epoch after the first, so that the best is never the last."""
    shape = (100, 32, 99) if row.dataset == "google12" else (80, 9, 128)
    if row.method == "str-rank":
        by_epoch: list[Any] = list(RANKS[row.dataset])
    else:
        by_epoch = [tuple(map(int, row.ranks.split("/"))) if row.ranks else None] * spec.epochs
    spread = 0.03 * spec.seed**2 if row.method == "str-rank" else 0.0
    epochs, kept = [], {}
    for epoch, ranks in enumerate(by_epoch, 1):
        top1_pct = 93.0 + LEAD[row.method] - 0.1 * epoch + 0.2 * spec.seed + spread
        named = {} if ranks is None else dict(zip("wu", ranks, strict=True))
        epochs.append(Epoch(epoch=epoch, val_top1_pct=top1_pct, ranks=named))
        size, layers = network(ranks, *shape)
        measured = {"top1_pct": top1_pct, "val_loss": 0.2, **size.model_dump()}
        if ranks is not None and list(ranks) in spec.method_args.get("keep", []):
            kept["/".join(map(str, ranks))] = {"epoch": epoch, "result": measured, "layers": layers}
    result = finished(spec, **{**measured, "train_loss": 0.1, "seconds": 60.0, **changes})
    history = [
        Point(epoch=epoch, lr=0.01, train_loss=0.5, sparsity_pct=0.0, thresholds={})
        for epoch in range(1, spec.epochs + 1)
    ]
    made_by = Provenance(commit="0" * 40, dirty="false", torch="2.0", device="cpu", threads=1)
    return leave(directory, spec, result, layers, history=history, epochs=epochs, kept=kept, provenance=made_by)
