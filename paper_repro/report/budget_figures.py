"""Figures of learnt budgets beside the published ones: what they cost, and how alike they are layer by layer."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator

from paper_repro import tables
from paper_repro.evidence.evidence import Evidence
from paper_repro.paper.printed import LayerRow
from paper_repro.report.drawing import (
    REPORTED,
    REPRODUCED,
    finish,
    handle,
    new_figure,
    plain_ticks,
    sparsity_axis,
    style,
    style_of,
)
from paper_repro.tables import layer_rows

SMALLEST_DENSITY = 1e-4  # where a layer without weights is drawn, on a log scale
PAPER_GREY = "#555555"


def published_str(evidence: Evidence) -> dict[str, dict[str, float]]:
    """The paper's budgets of the rows of this table that are STR's."""
    rows = {row.id for row in evidence.table.rows if row.method == "str"}
    return {name: dict(budget) for name, budget in tables.budgets(evidence.table.name).items() if name in rows}


def nearest_published(evidence: Evidence, sparsity_pct: float) -> str | None:
    """The published STR budget whose printed sparsity is the nearest; None for a table without."""

    def distance(name: str) -> float:
        return abs((evidence.table.row(name).reported.sparsity_pct or 0.0) - sparsity_pct)

    return min(published_str(evidence), key=distance, default=None)


def macs_against_uniform(evidence: Evidence) -> Figure:
    """Multiply-adds as a share of what a uniform budget of the same sparsity needs: the paper's budgets; the trained
    networks; and the trained densities on the paper's full-size layers, whose multiply-adds lie elsewhere.
    """
    full = layer_rows(evidence.table.name)
    with style():
        figure = new_figure(8.5, 5.6)
        axis = figure.subplots()
        axis.axhline(1.0, color="black", linestyle=":", linewidth=1.3)
        reported = [_cost(_full_size(budget, full)) for budget in published_str(evidence).values()]
        x, y = np.array(sorted(reported)).T
        axis.plot(x, y, color=PAPER_GREY, marker="s", **REPORTED)
        handles = [
            handle("Reported: the paper's STR budgets", PAPER_GREY, "s", REPORTED),
            Line2D([], [], color="black", linestyle=":", linewidth=1.3, label="Uniform budget"),
        ]
        runs = [(row, layers) for row, _, layers in evidence.run_budgets("str")]
        if runs:
            colour, marker = style_of("str")
            alone = {"linestyle": "none"}
            for label, shape, origin, points in (
                ("Reproduced STR: the trained networks", marker, REPRODUCED, [_cost(layers) for _, layers in runs]),
                (
                    "their densities on the paper's full-size layers",
                    "D",
                    REPORTED,
                    [_cost(_full_size(dict(zip(b["layer"], b["sparsity_pct"], strict=True)), full)) for _, b in runs],
                ),
            ):
                x, y = np.array(points).T
                axis.plot(x, y, color=colour, marker=shape, zorder=3, **origin | alone)
                handles.append(handle(label, colour, shape, origin | alone))
        axis.set_xlabel("Sparsity of the weights (%; log scale of what is left)")
        axis.set_ylabel("MACs / MACs of a uniform budget (log scale)")
        sparsity_axis(axis)
        axis.set_xlim(left=min([*(value for value, _ in reported), 78.0]) - 4)
        axis.set_yscale("log")
        plain_ticks(axis.yaxis, FixedLocator([0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0]))
        finish(figure, evidence, "multiply-adds of STR's budgets against uniform ones", handles, columns=2)
    return figure


def densities_against_paper(evidence: Evidence) -> Figure:
    """Every layer's density here over its density in the paper's model of the nearest sparsity, with the correlation of
    logarithms over the layers that keep weights; empty layers lie on the lower edge.
    """
    runs: dict[str, list[pd.DataFrame]] = {}
    for row, _, layers in evidence.run_budgets("str"):
        runs.setdefault(row, []).append(layers)
    shown = [row for row in runs if evidence.summary(row, "sparsity_pct") is not None]
    columns = min(3, max(1, len(shown)))
    lines = max(1, -(-len(shown) // columns))
    with style():
        figure = new_figure(max(7.5, 3.9 * columns), 3.7 * lines + 1.2)
        axes = list(figure.subplots(lines, columns, squeeze=False).flat)
        for axis, row in zip(axes, shown, strict=False):
            _draw_densities(axis, evidence, row, runs[row])
        for axis in axes[len(shown) :]:
            axis.set_visible(False)
        handles = [
            handle("a layer (mean over seeds)", *style_of("str"), REPRODUCED | {"linestyle": "none"}),
            Line2D([], [], color="black", linestyle=":", linewidth=1.3, label="the paper's density"),
        ]
        finish(figure, evidence, "densities of the layers against the paper's", handles, columns=2)
    return figure


def _draw_densities(axis: Axes, evidence: Evidence, row: str, seeds: list[pd.DataFrame]) -> None:
    measured = evidence.summary(row, "sparsity_pct")
    assert measured is not None
    near = nearest_published(evidence, measured.mean)
    assert near is not None
    theirs = published_str(evidence)[near]
    paper = np.array([1.0 - theirs[layer] / 100.0 for layer in seeds[0]["layer"]])
    here = 1.0 - np.mean([frame["sparsity_pct"].to_numpy() for frame in seeds], axis=0) / 100.0
    alive = (here > 0) & (paper > 0)
    r = float(np.corrcoef(np.log(here[alive]), np.log(paper[alive]))[0, 1]) if alive.sum() > 2 else float("nan")
    colour, marker = style_of("str")
    axis.plot([SMALLEST_DENSITY, 1], [SMALLEST_DENSITY, 1], color="black", linestyle=":", linewidth=1.3)
    axis.scatter(
        np.maximum(paper, SMALLEST_DENSITY),
        np.maximum(here, SMALLEST_DENSITY),
        color=colour,
        marker=marker,
        s=18,
        alpha=0.8,
        linewidth=0,
        zorder=3,
        clip_on=False,
    )
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlim(SMALLEST_DENSITY, 1.1)
    axis.set_ylim(SMALLEST_DENSITY, 1.1)
    axis.set_xlabel(f"Share of weights kept, paper ({near})", fontsize=9)
    axis.set_ylabel("Share of weights kept, here", fontsize=9)
    empty = int((here == 0).sum())
    title = f"{row}: {measured.mean:.2f} % (n = {len(seeds)}), r = {r:.2f}"
    axis.set_title(title + (f", {empty} empty" if empty else ""), fontsize=9.5)


def _full_size(budget: Mapping[str, float], counts: Mapping[str, LayerRow]) -> pd.DataFrame:
    """A budget on the full-size layers of the same names."""
    return pd.DataFrame(
        {
            "params": [counts[layer].params for layer in budget],
            "macs": [counts[layer].macs for layer in budget],
            "sparsity_pct": list(budget.values()),
        }
    )


def _cost(layers: pd.DataFrame) -> tuple[float, float]:
    """(overall sparsity in percent, MACs as a share of those of a uniform budget at that sparsity)."""
    density = 1.0 - layers["sparsity_pct"] / 100.0
    kept = float((layers["params"] * density).sum() / layers["params"].sum())
    macs = float((layers["macs"] * density).sum() / layers["macs"].sum())
    return 100.0 * (1.0 - kept), macs / kept if kept else 1.0
