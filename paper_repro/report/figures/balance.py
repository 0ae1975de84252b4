"""The balance of thresholds (``methods/balance.py``): what layers hold, and how near to balance they are."""

from __future__ import annotations

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_repro.evidence.evidence import Evidence
from paper_repro.report.balance_report import NEAR, recorded, watched
from paper_repro.report.figures import style as st
from paper_repro.report.figures.registry import figure

BLUE, CIRCLE = st.LOOKS["str"].colour, st.LOOKS["str"].marker
PANELS = 3
LOWEST_RATIO = 0.01  # below it a threshold is still 0


def _shown(frame: pd.DataFrame) -> list[str]:
    """The rows that get a panel, evenly from first to last of those in a frame."""
    return st.evenly(list(dict.fromkeys(frame["row"])), PANELS)


@figure("balance_l1", lambda evidence: len(evidence.balance) > 0 or len(recorded(evidence)) > 0)
def balance_l1(evidence: Evidence) -> Figure:
    """L1 norm of each layer's kept weights over their number: implied by the paper's thresholds, and measured in runs,
    with a thin line to what the run's own threshold implies. A balanced layer has no such line.
    """
    layers, paper = recorded(evidence), evidence.balance
    rows = _shown(layers)
    fig, axes = st.grid(max(len(rows), 1), PANELS, 2.6, sharex=True, sharey=True)
    for axis in axes:
        axis.plot(
            paper["kept_weights"], paper["implied_l1"], color=st.PAPER_GREY, marker="s", zorder=2,
            **st.REPORTED | st.POINTS | {"markersize": 3, "markeredgewidth": 0.7},
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
    st.label_axes(fig, axes, "Weights that a layer keeps (log)", "L1 norm of these weights (log)")
    handles = []
    if len(paper):
        label = f"Implied by the paper's Figure 3 and Table 6 ({len(paper)} layers)"
        handles.append(st.handle(label, st.PAPER_GREY, "s", st.REPORTED | st.POINTS))
    if rows:
        handles.append(st.handle("Measured", BLUE, CIRCLE, st.REPRODUCED | st.POINTS))
        label = "To what its own threshold implies"
        handles.append(st.key(label, color=BLUE, marker="_", markersize=6, linewidth=0.8))
    handles.append(st.key("Mean |w| of a kept weight", color="#999999", linestyle=":"))
    return st.finish(fig, evidence, "what layers keep, and what their thresholds imply", handles)


def _constant_means(axis: Axes) -> None:
    """Dotted diagonals on which the mean |w| is the same, each with its value near where it leaves the axes."""
    (left, right), (bottom, top) = axis.get_xlim(), axis.get_ylim()
    for mean in (0.001, 0.01, 0.1, 1.0):
        x = np.array([max(left, bottom / mean), min(right, top / mean)])
        if x[0] < x[1]:
            axis.plot(x, mean * x, color="#999999", linestyle=":", linewidth=0.8, zorder=0.5)
            axis.annotate(
                f"{mean:g}", (x[1], mean * x[1]), textcoords="offset points", xytext=(1, 1), color="#666666",
                fontsize=st.SMALL,
            )  # fmt: skip
    axis.set(xlim=(left, right), ylim=(bottom, top))


@figure("balance_over_training", lambda evidence: len(watched(evidence)) > 0)
def balance_over_training(evidence: Evidence) -> Figure:
    """The ratio slope^2 g'(u) L1 / |u| while a run trains: median over layers, from the smallest to the largest as a
    band; 1 is balance.
    """
    history = st.with_share_done(watched(evidence), evidence)
    rows = _shown(history)
    fig, axes = st.grid(max(len(rows), 1), PANELS, 2.6, sharex=True, sharey=True)
    for axis, row in zip(axes, rows, strict=False):
        own = history[history["row"] == row]
        _draw_ratio(axis, own, evidence, row)
        axis.set_title(f"{row} (n = {own['seed'].nunique()})")
    top = max(10.0, 1.5 * float(history["balance_max"].max())) if len(history) else 10.0
    axes[0].set(yscale="log", ylim=(LOWEST_RATIO, top), xlim=(-1, 101))
    for axis in axes:
        axis.axhspan(1 / NEAR, NEAR, color="#DDDDDD", alpha=0.6, linewidth=0, zorder=0)
        axis.axhline(1.0, color="black", linestyle=":", linewidth=1.0, zorder=2)
    st.label_axes(fig, axes, "Training done (% of all epochs)", "slope² g'(u) L1 / |u| (log scale)")
    handles = [
        st.handle("Median over the layers that keep weights", BLUE, CIRCLE, st.REPRODUCED),
        st.area("All of these layers", color=BLUE, alpha=0.15),
        st.key("1: balanced", color="black", linestyle=":"),
        st.area(f"Within a factor {NEAR:g} of balance", color="#DDDDDD"),
        st.key("First sparsity", color=BLUE, marker=6, markersize=7, linestyle="none"),
    ]
    return st.finish(fig, evidence, "balance of thresholds during training", handles)


def _draw_ratio(axis: Axes, own: pd.DataFrame, evidence: Evidence, row: str) -> None:
    """Mean over seeds of each record's median, smallest and largest ratio; and when sparsity began."""
    columns = ["balance_min", "balance_median", "balance_max"]
    mean = own.groupby("done_pct", as_index=False)[columns].mean()
    mean[columns] = mean[columns].clip(lower=LOWEST_RATIO / 10)
    axis.fill_between(mean["done_pct"], mean["balance_min"], mean["balance_max"], color=BLUE, alpha=0.15, linewidth=0)
    sns.lineplot(
        mean, x="done_pct", y="balance_median", ax=axis, color=BLUE, marker=CIRCLE, markeredgewidth=0, zorder=3,
        markevery=max(1, len(mean) // 8), **st.REPRODUCED,
    )  # fmt: skip
    axis.set(xlabel="", ylabel="")
    share = st.share_done(evidence, row, "onset_epoch")
    if share is not None:
        axis.plot([share], [LOWEST_RATIO], marker=6, color=BLUE, markersize=7, clip_on=False, zorder=5)
