"""Figures of the balance of thresholds (``methods/balance.py``): what layers hold, and how near to balance they are."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from paper_repro.evidence.evidence import Evidence
from paper_repro.report.balance_report import NEAR, recorded, watched
from paper_repro.report.drawing import REPORTED, ROW_COLOURS, evenly, finish, handle, new_figure, style, trained_epochs

SHOWN_ROWS = 3  # more of them hide each other
MARKERS = ("o", "^", "D")
GREY = "#555555"
LOWEST_RATIO = 0.01  # below it a threshold sleeps


def balance_l1(evidence: Evidence) -> Figure:
    """L1 norm of each layer's kept weights over their number: implied by the paper's thresholds, and measured in runs,
    with a thin line to what the run's own threshold implies. A balanced layer has no such line.
    """
    layers = recorded(evidence)
    rows = _shown(layers)
    with style():
        figure = new_figure(9.0, 7.4)
        axis = figure.subplots()
        handles: list[Line2D | Patch] = []
        if len(evidence.balance):
            paper = evidence.balance
            axis.plot(
                paper["kept_weights"], paper["implied_l1"], color=GREY, marker="s", zorder=2,
                **{**REPORTED, "linestyle": "none", "markersize": 6},
            )  # fmt: skip
            label = f"Implied by the paper's Figure 3 and Table 6 ({len(paper)} layers, 90.23 %)"
            handles.append(handle(label, GREY, "s", {**REPORTED, "linestyle": "none"}))
        for index, row in enumerate(rows):
            own = layers[layers["row"] == row]
            own = own[own["seed"] == own["seed"].min()]
            colour, marker = ROW_COLOURS[index % len(ROW_COLOURS)], MARKERS[index % len(MARKERS)]
            x = own["kept_weights"].to_numpy()
            axis.vlines(x, own["kept_l1"], own["implied_l1"], color=colour, linewidth=0.7, alpha=0.35, zorder=1)
            axis.plot(x, own["implied_l1"].to_numpy(), "_", color=colour, markersize=6, alpha=0.6, zorder=1)
            axis.plot(x, own["kept_l1"].to_numpy(), marker, color=colour, markersize=4.5, zorder=3)
            label = f"Measured in {row}, seed {own['seed'].iloc[0]} ({len(own)} layers that keep weights)"
            handles.append(Line2D([], [], color=colour, marker=marker, markersize=6, linestyle="none", label=label))
        if rows:
            label = "From the measured L1 to the one that the run's own threshold implies"
            handles.append(Line2D([], [], color=GREY, marker="_", markersize=7, linewidth=0.8, label=label))
        axis.set_xscale("log")
        axis.set_yscale("log")
        _constant_means(axis)
        axis.set_xlabel("Weights that the layer keeps (log scale)")
        axis.set_ylabel("L1 norm of the layer's kept raw weights (log scale)")
        handles.append(Line2D([], [], color="#BBBBBB", linestyle=":", label="Mean |w| of a kept weight"))
        what = "what layers keep, and what their thresholds imply"
        finish(figure, evidence, what, handles, columns=1)
    return figure


def balance_over_training(evidence: Evidence) -> Figure:
    """The ratio slope^2 g'(u) L1 / |u| while a run trains: median over layers, from the smallest to the largest as a
    band; 1 is balance.
    """
    history = watched(evidence)
    rows = _shown(history)
    with style():
        figure = new_figure(9.5, 7.0)
        axis = figure.subplots()
        axis.set_yscale("log")
        axis.axhspan(1 / NEAR, NEAR, color="#DDDDDD", alpha=0.6, linewidth=0, zorder=0)
        axis.axhline(1.0, color="black", linestyle=":", linewidth=1.3, zorder=2)
        handles: list[Line2D | Patch] = []
        for index, row in enumerate(rows):
            colour, marker = ROW_COLOURS[index % len(ROW_COLOURS)], MARKERS[index % len(MARKERS)]
            own = history[history["row"] == row]
            _draw_ratio(axis, own, evidence, row, colour, marker)
            label = f"{row}: median over layers that keep weights (n = {own['seed'].nunique()}; band: all of them)"
            handles.append(Line2D([], [], color=colour, marker=marker, markersize=5, label=label))
        top = max(10.0, 1.5 * float(history["balance_max"].max())) if len(history) else 10.0
        axis.set_ylim(LOWEST_RATIO, top)
        axis.set_xlim(-1, 101)
        axis.set_xlabel(f"Training done (% of all epochs; {trained_epochs(evidence)})")
        axis.set_ylabel("slope² g'(u) L1 / |u| (log scale)")
        handles += [
            Line2D([], [], color="black", linestyle=":", label="1: the threshold is balanced"),
            Patch(color="#DDDDDD", label=f"Within a factor {NEAR:g} of balance"),
            Line2D(
                [], [], color="black", marker=6, markersize=9, linestyle="none",
                label="First sparsity (mean over seeds)",
            ),
        ]  # fmt: skip
        what = "balance of thresholds during training"
        finish(figure, evidence, what, handles, columns=1)
    return figure


def _shown(frame: pd.DataFrame) -> list[str]:
    """At most so many of the rows that stand in a frame, evenly from first to last."""
    return evenly(list(dict.fromkeys(frame["row"])), SHOWN_ROWS)


def _constant_means(axis: Axes) -> None:
    """Dotted diagonals on which the mean |w| is the same, each with its value where it leaves the axes."""
    (left, right), (bottom, top) = axis.get_xlim(), axis.get_ylim()
    for mean in (0.001, 0.01, 0.1, 1.0):
        x = np.array([max(left, bottom / mean), min(right, top / mean)])
        if x[0] < x[1]:
            axis.plot(x, mean * x, color="#BBBBBB", linestyle=":", linewidth=1.0, zorder=0.5)
            axis.annotate(
                f"{mean:g}", (x[1], mean * x[1]), textcoords="offset points", xytext=(2, 2), color="#888888", fontsize=8
            )
    axis.set_xlim(left, right)
    axis.set_ylim(bottom, top)


def _draw_ratio(axis: Axes, own: pd.DataFrame, evidence: Evidence, row: str, colour: str, marker: str) -> None:
    """Mean over seeds of each record's median, smallest and largest ratio; and when sparsity began."""
    epochs = float(evidence.row_runs(row)["epochs"].iloc[0])
    mean = own.groupby("epoch")[["balance_min", "balance_median", "balance_max"]].mean()
    x = 100.0 * mean.index.to_numpy(dtype=float) / epochs
    low, middle, high = (mean[name].clip(lower=LOWEST_RATIO / 10).to_numpy() for name in mean)
    axis.fill_between(x, low, high, color=colour, alpha=0.12, linewidth=0)
    axis.plot(
        x, middle, color=colour, marker=marker, markersize=5, linewidth=1.6, markevery=max(1, len(x) // 10), zorder=3
    )
    onset = evidence.summary(row, "onset_epoch")
    if onset is not None:
        place = [100 * onset.mean / epochs]
        axis.plot(place, [LOWEST_RATIO], marker=6, color=colour, markersize=10, clip_on=False, zorder=5)
