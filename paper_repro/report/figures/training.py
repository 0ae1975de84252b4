"""Sparsity and thresholds while a network trains, with the paper's Figures 1 and 2 behind them."""

from __future__ import annotations

from itertools import cycle
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_repro import tables
from paper_repro.evidence.decay import alone_since
from paper_repro.evidence.evidence import Evidence
from paper_repro.evidence.layers import empty_layers
from paper_repro.report.figures import style as st
from paper_repro.report.figures.registry import figure

MOST_ROWS = 7  # that one can tell apart, beside the paper's
# below this nothing is pruned, and a log scale would show little else
SMALLEST_THRESHOLD = 1e-7


def curve(evidence: Evidence, name: str) -> pd.DataFrame:
    """A digitised curve of the paper, ``x`` in percent of training; a table without figures has none."""
    points = [] if evidence.table.figure_layer is None else tables.curve(evidence.table.name, name)
    return pd.DataFrame([(x, y) for x, y in points], columns=["x", "y"])


@figure(
    "sparsity_over_epochs",
    lambda evidence: len(evidence.history) > 0 or len(curve(evidence, "fig2_sparsity")) > 0,
)
def sparsity_over_epochs(evidence: Evidence) -> Figure:
    """Overall sparsity and a threshold over the course of training, the paper's Figures 1 and 2 behind them.

    The threshold is that of the layer in Figure 1, or the median over layers for a table without that figure: a line
    for each run. Of a layer that ends empty it is dotted from where weight decay alone moves s, which nothing learns.
    Of many rows, one stands for each regime.
    """
    layer = evidence.table.figure_layer
    threshold = "threshold_median" if layer is None else "threshold_figure_layer"
    rows = [row for row in evidence.trained_rows if evidence.table.row(row).is_str]
    rows = few_rows(evidence, [row for row in rows if evidence.history["row"].eq(row).any()])
    history = st.with_share_done(evidence.history[evidence.history["row"].isin(rows)], evidence)
    thresholds = [threshold, "threshold_min", "threshold_max"]
    history[thresholds] = history[thresholds].where(history[thresholds] > SMALLEST_THRESHOLD)
    colours = dict(zip(rows, st.shades(len(rows)), strict=True))
    fig = st.new_figure(6.2)
    top, bottom = fig.subplots(2, 1, sharex=True)
    handles = []
    if rows:
        _draw(top, history, "sparsity_pct", colours)
        handles.append(_draw_onsets(top, evidence, rows, colours))
        handles.append(_draw_range(bottom, evidence, history, _middle(evidence, rows)))
        handles += _draw_thresholds(bottom, evidence, history, threshold, colours)
    handles += _draw_paper(top, bottom, evidence)
    top.set(ylabel="Overall sparsity (%)", ylim=(-4, 102), xlim=(-1, 101))
    here = f"{st.trained_epochs(evidence)} here, 100 in the paper" if rows else "100 in the paper"
    bottom.set(xlabel=f"Training done (% of all epochs; {here})", yscale="log")
    bottom.set_ylabel(_label(evidence, rows))
    bottom.set_ylim(bottom=SMALLEST_THRESHOLD)
    return st.finish(fig, evidence, "sparsity and threshold during training", handles)


def few_rows(evidence: Evidence, rows: list[str]) -> list[str]:
    """The rows, or where these are more than one can tell apart, that of each regime which has the most seeds."""
    if len(rows) <= MOST_ROWS:
        return rows
    most_seeds_first = sorted(rows, key=lambda row: -len(evidence.row_runs(row)))
    of_regime: dict[float | None, str] = {}
    for row in most_seeds_first:
        of_regime.setdefault(evidence.table.row(row).regime_pct, row)
    return [row for row in rows if row in of_regime.values()]


def _draw(axis: Axes, history: pd.DataFrame, column: str, colours: dict[str, Any]) -> None:
    """A line per row, the mean over seeds, with the range over seeds as a band; the row's name where it ends."""
    known = history.dropna(subset=[column])
    every = max(1, known["done_pct"].nunique() // 10)
    sns.lineplot(
        known, x="done_pct", y=column, hue="row", style="row", hue_order=list(colours), style_order=list(colours),
        palette=list(colours.values()), markers=list(st.MARKERS[: len(colours)]), dashes=False, legend=False, ax=axis,
        errorbar=("pi", 100), err_kws={"alpha": 0.18, "linewidth": 0}, markevery=every, markeredgewidth=0, zorder=3,
        **{**st.REPRODUCED, "markersize": 4},
    )  # fmt: skip
    for row, lines in known.groupby("row"):
        ends = lines[lines["done_pct"] == lines["done_pct"].max()]
        st.label_end(axis, f"{row} (n = {lines['seed'].nunique()})", 100.0, ends[column].mean(), colours[str(row)])


def _draw_thresholds(
    axis: Axes, evidence: Evidence, history: pd.DataFrame, column: str, colours: dict[str, Any]
) -> list[st.Handle]:
    """A line per run; the row's name where those end that are learned to the end. What was not learned is dotted."""
    alone: dict[str, Any] = {"linestyle": ":", "linewidth": 1.0}
    known = history.dropna(subset=[column])
    dotted = False
    for marker, (row, colour) in zip(cycle(st.MARKERS), colours.items(), strict=False):
        ends: dict[bool, list[float]] = {True: [], False: []}
        for seed, run in known[known["row"] == row].groupby("seed"):
            since = alone_since(evidence, row, int(str(seed)))
            learned, after = run[run["epoch"] <= since], run[run["epoch"] >= since]
            axis.plot(
                learned["done_pct"], learned[column], color=colour, marker=marker, markeredgewidth=0, zorder=3,
                markevery=max(1, len(run) // 10), **{**st.REPRODUCED, "linewidth": 1.0, "markersize": 3.5},
            )  # fmt: skip
            axis.plot(after["done_pct"], after[column], color=colour, zorder=3, gid="not learned", **alone)
            dotted = dotted or len(after) > 0
            ends[not len(after)].append(run[column].iloc[-1])
        if end := ends[True] or ends[False]:
            count = len(ends[True]) + len(ends[False])
            st.label_end(axis, f"{row} (n = {count})", 100.0, sum(end) / len(end), colour)
    label = "Layer ends empty: weight decay alone moves s"
    return [st.key(label, color="#333333", **alone)] if dotted else []


def _label(evidence: Evidence, rows: list[str]) -> str:
    """What the thresholds are of: g(slope * s) of one layer, or the median over all."""
    plan, layer = evidence.plan, evidence.table.figure_layer
    slopes = {float(plan.rows[row].spec.method_args.get("slope", 1.0)) for row in rows} if plan else set()
    inside = f"{slopes.pop():g} s" if len(slopes) == 1 else "slope s" if slopes else "s"
    inside = "s" if inside == "1 s" else inside
    paper = "; g(s) in the paper" if inside != "s" and len(curve(evidence, "fig1_threshold")) else ""
    here = "each run; " if rows else ""
    return f"Threshold g({inside}), {layer or 'median over layers'}\n({here}log scale{paper})"


def _draw_onsets(axis: Axes, evidence: Evidence, rows: list[str], colours: dict[str, Any]) -> st.Handle:
    """The forecast onset of each row, as a triangle below the axis."""
    pointer: dict[str, Any] = {"marker": 6, "markersize": 7, "linestyle": "none"}
    for row in rows:
        share = st.share_done(evidence, row, "forecast_onset_epoch")
        if share is not None:
            axis.plot([share], [-4], color=colours[row], clip_on=False, zorder=5, **pointer)
    return st.key("Forecast onset, made before training", color="black", **pointer)


def _middle(evidence: Evidence, rows: list[str]) -> str:
    """The row of the paper's figures where it was run, or the middle one."""
    return evidence.table.figure_row if evidence.table.figure_row in rows else rows[len(rows) // 2]


def _draw_range(axis: Axes, evidence: Evidence, history: pd.DataFrame, row: str) -> st.Handle:
    """From the smallest to the largest threshold over layers, for one row."""
    known = history[history["row"] == row].dropna(subset=["threshold_min", "threshold_max"])
    mean = known.groupby("done_pct")[["threshold_min", "threshold_max"]].mean()
    axis.fill_between(
        mean.index.to_numpy(), mean["threshold_min"], mean["threshold_max"], color="#999999", alpha=0.2, linewidth=0
    )
    empty = ", empty ones included" if empty_layers(evidence, row) else ""
    return st.area(f"Range over the layers of {row}{empty}", color="#999999", alpha=0.35, linewidth=0)


def _draw_paper(top: Axes, bottom: Axes, evidence: Evidence) -> list[st.Handle]:
    for axis, name in ((top, "fig2_sparsity"), (bottom, "fig1_threshold")):
        points = curve(evidence, name)
        points = points[(points["y"] > 0) | (axis is top)]
        axis.plot(points["x"], points["y"], color=st.PAPER_GREY, marker="s", markevery=4, zorder=1.5, **st.REPORTED)
    if evidence.table.figure_row is None:
        return []
    sparsity = evidence.table.row(evidence.table.figure_row).reported.sparsity_pct
    return [st.handle(f"Reported: {sparsity:g} %, ImageNet-1K (Figures 1, 2)", st.PAPER_GREY, "s", st.REPORTED)]
