"""The balance of thresholds (``methods/balance.py``): what layers hold, and how near to balance they are."""

from __future__ import annotations

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from paper_repro.evidence.evidence import Evidence
from paper_repro.report.balance_report import NEAR, recorded, watched
from paper_repro.report.figures.registry import figure, printed_or_run
from paper_repro.report.figures.style import (
    LOOKS,
    PAPER_GREY,
    POINTS,
    REPORTED,
    REPRODUCED,
    SMALL,
    evenly,
    finish,
    grid,
    handle,
    label_axes,
    with_share_done,
)

BLUE, CIRCLE = LOOKS["str"].colour, LOOKS["str"].marker
PANELS = 3
LOWEST_RATIO = 0.01  # below it a threshold sleeps


def _shown(frame: pd.DataFrame) -> list[str]:
    """The rows that get a panel, evenly from first to last of those in a frame."""
    return evenly(list(dict.fromkeys(frame["row"])), PANELS)


@figure("balance_l1", printed_or_run(lambda evidence: len(evidence.balance) > 0 or len(recorded(evidence)) > 0))
def balance_l1(evidence: Evidence) -> Figure:
    """L1 norm of each layer's kept weights over their number: implied by the paper's thresholds, and measured in runs,
    with a thin line to what the run's own threshold implies. A balanced layer has no such line.
    """
    layers, paper = recorded(evidence), evidence.balance
    rows = _shown(layers)
    fig, axes = grid(max(len(rows), 1), PANELS, 2.6, sharex=True, sharey=True)
    for axis in axes:
        axis.plot(
            paper["kept_weights"], paper["implied_l1"], color=PAPER_GREY, marker="s", zorder=2,
            **REPORTED | POINTS | {"markersize": 3, "markeredgewidth": 0.7},
        )  # fmt: skip
    for axis, row in zip(axes, rows, strict=False):
        own = layers[layers["row"] == row]
        own = own[own["seed"] == own["seed"].min()]
        x = own["kept_weights"].to_numpy()
        axis.vlines(x, own["kept_l1"], own["implied_l1"], color=BLUE, linewidth=0.6, alpha=0.4, zorder=1)
        axis.plot(x, own["implied_l1"].to_numpy(), "_", color=BLUE, markersize=4, alpha=0.7, zorder=1)
        axis.plot(x, own["kept_l1"].to_numpy(), CIRCLE, color=BLUE, markersize=3, zorder=3)
        axis.set_title(f"{row}, seed {own['seed'].iloc[0]}\n{len(own)} layers keep weights", pad=11)
    if rows or len(paper):
        axes[0].set(xscale="log", yscale="log")
        for axis in axes:
            _constant_means(axis)
    label_axes(fig, axes, "Weights that a layer keeps (log)", "L1 norm of these weights (log)")
    handles: list[Line2D | Patch] = []
    if len(paper):
        label = f"Implied by the paper's Figure 3 and Table 6 ({len(paper)} layers)"
        handles.append(handle(label, PAPER_GREY, "s", REPORTED | POINTS))
    if rows:
        handles.append(handle("Measured", BLUE, CIRCLE, REPRODUCED | POINTS))
        label = "To what its own threshold implies"
        handles.append(Line2D([], [], color=BLUE, marker="_", markersize=6, linewidth=0.8, label=label))
    handles.append(Line2D([], [], color="#999999", linestyle=":", label="Mean |w| of a kept weight"))
    return finish(fig, evidence, "what layers keep, and what their thresholds imply", handles)


def _constant_means(axis: Axes) -> None:
    """Dotted diagonals on which the mean |w| is the same, each with its value near where it leaves the axes."""
    (left, right), (bottom, top) = axis.get_xlim(), axis.get_ylim()
    for mean in (0.001, 0.01, 0.1, 1.0):
        x = np.array([max(left, bottom / mean), min(right, top / mean)])
        if x[0] < x[1]:
            axis.plot(x, mean * x, color="#999999", linestyle=":", linewidth=0.8, zorder=0.5)
            axis.annotate(
                f"{mean:g}", (x[1], mean * x[1]), textcoords="offset points", xytext=(1, 1), color="#666666",
                fontsize=SMALL,
            )  # fmt: skip
    axis.set(xlim=(left, right), ylim=(bottom, top))


@figure("balance_over_training", printed_or_run(lambda evidence: len(watched(evidence)) > 0))
def balance_over_training(evidence: Evidence) -> Figure:
    """The ratio slope^2 g'(u) L1 / |u| while a run trains: median over layers, from the smallest to the largest as a
    band; 1 is balance.
    """
    history = with_share_done(watched(evidence), evidence)
    rows = _shown(history)
    fig, axes = grid(max(len(rows), 1), PANELS, 2.6, sharex=True, sharey=True)
    for axis, row in zip(axes, rows, strict=False):
        own = history[history["row"] == row]
        _draw_ratio(axis, own, evidence, row)
        axis.set_title(f"{row} (n = {own['seed'].nunique()})")
    top = max(10.0, 1.5 * float(history["balance_max"].max())) if len(history) else 10.0
    axes[0].set(yscale="log", ylim=(LOWEST_RATIO, top), xlim=(-1, 101))
    for axis in axes:
        axis.axhspan(1 / NEAR, NEAR, color="#DDDDDD", alpha=0.6, linewidth=0, zorder=0)
        axis.axhline(1.0, color="black", linestyle=":", linewidth=1.0, zorder=2)
    label_axes(fig, axes, "Training done (% of all epochs)", "slope² g'(u) L1 / |u| (log scale)")
    handles: list[Line2D | Patch] = [
        handle("Median over the layers that keep weights", BLUE, CIRCLE, REPRODUCED),
        Patch(color=BLUE, alpha=0.15, label="All of these layers"),
        Line2D([], [], color="black", linestyle=":", label="1: balanced"),
        Patch(color="#DDDDDD", label=f"Within a factor {NEAR:g} of balance"),
        Line2D([], [], color=BLUE, marker=6, markersize=7, linestyle="none", label="First sparsity"),
    ]
    return finish(fig, evidence, "balance of thresholds during training", handles)


def _draw_ratio(axis: Axes, own: pd.DataFrame, evidence: Evidence, row: str) -> None:
    """Mean over seeds of each record's median, smallest and largest ratio; and when sparsity began."""
    columns = ["balance_min", "balance_median", "balance_max"]
    mean = own.groupby("done_pct", as_index=False)[columns].mean()
    mean[columns] = mean[columns].clip(lower=LOWEST_RATIO / 10)
    axis.fill_between(mean["done_pct"], mean["balance_min"], mean["balance_max"], color=BLUE, alpha=0.15, linewidth=0)
    sns.lineplot(
        mean, x="done_pct", y="balance_median", ax=axis, color=BLUE, marker=CIRCLE, markeredgewidth=0, zorder=3,
        markevery=max(1, len(mean) // 8), **REPRODUCED,
    )  # fmt: skip
    axis.set(xlabel="", ylabel="")
    onset = evidence.summary(row, "onset_epoch")
    if onset is not None:
        share = 100 * onset.mean / float(evidence.row_runs(row)["epochs"].iloc[0])
        axis.plot([share], [LOWEST_RATIO], marker=6, color=BLUE, markersize=7, clip_on=False, zorder=5)
