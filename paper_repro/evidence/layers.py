"""Budgets layer by layer: of the trained networks and as the papers publish them, and what they cost."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from paper_repro import tables
from paper_repro.evidence.evidence import Evidence
from paper_repro.experiments.claims import Rows

STR = Rows(methods=("str",))
# The paper's regimes of 80, 90 and 95 % are a factor 2 apart in density. A budget further off than half of that, on a
# log scale, is one of another regime.
NEAR = math.sqrt(2.0)
LEAST_PCT = 1e-4  # density of an empty network, which has no logarithm


def budgets(evidence: Evidence, rows: Rows | None, printed: bool) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """({row, and the seed of a trained network}, layers in forward order with their dense counts) of some rows, or of
    every published budget, those of no row of the table included.
    """
    chosen = {row.id for row in evidence.table.rows if rows is None or rows.of(row)}
    if printed:
        for name, budget in tables.budgets(evidence.table.name).items():
            if rows is None or name in chosen:
                layers = pd.DataFrame({"layer": list(budget), "sparsity_pct": list(budget.values())})
                yield {"row": name}, at_full_size(evidence.table.name, layers)
        return
    for id in (id for id in evidence.trained_rows if id in chosen):
        for seed, layers in trained(evidence, id).items():
            yield {"row": id, "seed": seed}, layers


def trained(evidence: Evidence, row: str) -> dict[int, pd.DataFrame]:
    """Seed -> the layers of the row's run, in forward order."""
    places = evidence.lines_of_budgets.get(row, {})
    return {seed: evidence.budgets.iloc[lines].reset_index(drop=True) for seed, lines in places.items()}


def at_full_size(table: str, layers: pd.DataFrame) -> pd.DataFrame:
    """The layers with the weights and MACs of a table's full-size network; without lines where it has other layers."""
    counts = tables.layer_rows(table)
    if not set(layers["layer"]) <= counts.keys():
        return layers.iloc[:0]
    return layers.assign(
        params=[counts[name].params for name in layers["layer"]], macs=[counts[name].macs for name in layers["layer"]]
    )


def backbone(layers: pd.DataFrame) -> pd.DataFrame:
    """All layers but the classifier, which comes last. With 1,000 classes it has many weights and next to no MACs: a
    budget that keeps it dense has sparser layers elsewhere, and so needs few MACs for its overall sparsity. With ten
    classes the classifier has too few weights for that.
    """
    return layers.iloc[:-1]


def under_published(evidence: Evidence, layers: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """A network under each published STR budget instead of its own, by row; nothing where it has other layers."""
    return {
        row: layers.assign(sparsity_pct=[budget[name] for name in layers["layer"]])
        for row, budget in published_str(evidence).items()
        if set(layers["layer"]) <= budget.keys()
    }


def published_over_uniform(evidence: Evidence, layers: pd.DataFrame) -> float:
    """What the paper's densities need on this network at its sparsity, as a multiple of a uniform budget: between the
    published budgets that end sparser and denser on it, linear in the logarithms of density and ratio; beyond them that
    of the nearest. NaN where the paper has other layers.
    """
    costs = pd.DataFrame(map(against_uniform, under_published(evidence, layers).values()))
    if costs.empty:
        return float("nan")
    costs = costs.sort_values("sparsity_pct", ascending=False)
    kept = np.log(np.maximum(100.0 - costs["sparsity_pct"], LEAST_PCT))
    at = math.log(max(100.0 - sparsity_pct(layers), LEAST_PCT))
    return math.exp(np.interp(at, kept, np.log(costs["ratio"])))


def full_size_macs(evidence: Evidence, row: str) -> dict[int, float]:
    """Seed -> millions of MACs that the full-size network would have under the densities of the row's run."""
    weighed = {seed: at_full_size(evidence.table.name, layers) for seed, layers in trained(evidence, row).items()}
    return {seed: macs_left(layers) / 1e6 for seed, layers in weighed.items() if len(layers)}


def published_str(evidence: Evidence) -> dict[str, dict[str, float]]:
    """The paper's budgets that are STR's, by row of the table that prints them."""
    rows = {row.id for row in tables.load(evidence.table.budgets_of).rows if row.is_str}
    return {name: dict(budget) for name, budget in tables.budgets(evidence.table.name).items() if name in rows}


def nearest_published(evidence: Evidence, sparsity_pct: float) -> tuple[str, dict[str, float]]:
    """The published STR budget whose printed density is the nearest on a log scale, by its row; "" and no layers where
    none is within a factor ``NEAR``.
    """

    def distance(row: str) -> float:
        printed_pct = tables.load(evidence.table.budgets_of).row(row).reported.sparsity_pct or 0.0
        return abs(math.log(max(100.0 - printed_pct, LEAST_PCT) / max(100.0 - sparsity_pct, LEAST_PCT)))

    published = published_str(evidence)
    nearest = min(published, key=distance, default="")
    return (nearest, published[nearest]) if nearest and distance(nearest) <= math.log(NEAR) else ("", {})


def empty_layers(evidence: Evidence, row: str) -> dict[int, list[str]]:
    """Seed -> the layers of the row's run of which no weight is left, in order; only seeds that have any."""
    gone = {seed: layers["layer"][layers["sparsity_pct"].eq(100.0)] for seed, layers in trained(evidence, row).items()}
    return {seed: list(layers) for seed, layers in gone.items() if len(layers)}


def empty_by_seed(evidence: Evidence, row: str) -> list[int]:
    """How many layers of each of a row's runs ended empty."""
    empty = empty_layers(evidence, row)
    return [len(empty.get(seed, ())) for seed in evidence.row_runs(row)["seed"]]


def agreement(layers: pd.DataFrame, published: Mapping[str, float]) -> tuple[pd.Series, pd.Series, float]:
    """The density of each layer, mean over seeds; that of a published budget; and the correlation of their logarithms
    over the layers that keep weights in both. A layer that is empty in every seed keeps none.
    """
    here = 1.0 - layers.groupby("layer", sort=False)["sparsity_pct"].mean() / 100.0
    paper = 1.0 - pd.Series(published)[here.index] / 100.0
    kept = (here > 0) & (paper > 0)
    r = float(np.corrcoef(np.log(here[kept]), np.log(paper[kept]))[0, 1]) if kept.sum() > 2 else float("nan")
    return here, paper, r


def sparsity_pct(layers: pd.DataFrame) -> float:
    """Share of zeros among all weights of some layers, in percent."""
    return float((layers["params"] * layers["sparsity_pct"]).sum() / layers["params"].sum())


def macs_left(layers: pd.DataFrame) -> float:
    """MACs of the weights that are not zero."""
    return float((layers["macs"] * (1 - layers["sparsity_pct"] / 100)).sum())


def against_uniform(layers: pd.DataFrame) -> dict[str, float]:
    """MACs under the budget against the same overall sparsity in every layer, in millions."""
    overall, sparse = sparsity_pct(layers), macs_left(layers)
    uniform = float(layers["macs"].sum()) * (1 - overall / 100)
    return {
        "sparsity_pct": overall,
        "macs_m": sparse / 1e6,
        "uniform_macs_m": uniform / 1e6,
        "ratio": sparse / uniform if uniform else 1.0,
    }
