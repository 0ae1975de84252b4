"""One line per row: what each change to a recipe does to accuracy and to budgets, and each budget to a method."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_repro.data.catalog import dataset
from paper_repro.evidence import statistics
from paper_repro.evidence.contrast import paired
from paper_repro.evidence.evidence import Evidence
from paper_repro.evidence.layers import against_uniform, empty_by_seed, published_over_uniform, trained
from paper_repro.report.figures import points as pt
from paper_repro.report.figures import style as st
from paper_repro.report.figures.registry import NO_RUNS, figure, was_run
from paper_repro.tables import Row


@figure("accuracy_by_budget")
def accuracy_by_budget(evidence: Evidence) -> Figure:
    """Accuracy of a method under the uniform, the ERK and STR's budgets, at each regime: as printed, and here."""
    frame = pt.points(evidence).dropna(subset=["sparsity_pct", "macs_m"])
    rows = evidence.table.rows
    origins, titles = pt.origins(frame), pt.titles(evidence)
    fig = st.new_figure(0.3 * len(rows) + 1.5)
    panels = fig.subplots(1, len(origins), sharey=True, squeeze=False)[0]
    places = {row.id: place for place, row in enumerate(rows)}
    for axis, origin in zip(panels, origins, strict=True):
        for _, point in frame[frame["origin"] == origin].iterrows():
            _draw_point(axis, point, places[point["row"]])
        low, high = axis.get_xlim()
        axis.set_xlim(low, high + 0.75 * (high - low))  # room for what stands beside the points
        axis.set_title(titles[origin])
        axis.grid(False, axis="y")
        axis.set_xlabel("Top-1 accuracy (%)")
    for place, (above, below) in enumerate(pairwise((row.method, row.regime_pct) for row in rows)):
        if above != below:
            for axis in panels:
                axis.axhline(place + 0.5, color="#CCCCCC", linewidth=0.7)
    panels[0].set_yticks(range(len(rows)), [f"{st.look(row.series).name}, {row.regime_pct:g} %" for row in rows])
    panels[0].set_ylim(len(rows) - 0.4, -0.6)
    return st.finish(fig, evidence, "one method under several budgets (sparsity, multiply-adds per image)")


def _draw_point(axis: Axes, point: pd.Series, place: int) -> None:
    looks, half = st.look(point["series"]), point["half"]
    axis.errorbar(
        [point["top1_pct"]], [place], xerr=[half], color=looks.colour, marker=looks.marker, capsize=2, elinewidth=1.0,
        markersize=5.5, markerfacecolor="white" if point["origin"] == pt.REPORTED else looks.colour,
    )  # fmt: skip
    end = point["top1_pct"] + (0.0 if np.isnan(half) else half)
    st.beside(axis, place, f"{point['sparsity_pct']:.2f} %, {point['macs_m']:.3g} M", end, "data", 6.0)


@figure("accuracy_by_choice", was_run, NO_RUNS)
def accuracy_by_choice(evidence: Evidence) -> Figure:
    """One line per row: the last network and the best epoch of every seed, their means, and on the right the difference
    to the row that it is to be compared with, paired by seed.
    """
    rows = [row for row in evidence.table.rows if evidence.by_seed(row.id, "top1_pct")]
    fig = st.new_figure(1.3 + 0.32 * len(rows))
    axis = fig.subplots()
    for place, row in enumerate(rows):
        colour = st.look(row.method).colour
        last, best = evidence.by_seed(row.id, "top1_pct"), evidence.best_over_epochs(row.id)
        for values, up, face in ((last, -0.15, colour), (best, 0.15, "white")):
            points = list(values.values())
            axis.plot(points, [place + up] * len(points), "o", color=colour, markerfacecolor=face, markersize=3.5)
            mean = [statistics.summarise(points).mean] if points else []  # some have no epoch with their ranks
            axis.plot(mean, [place + up] * len(mean), "|", color=colour, markersize=9, markeredgewidth=1.5)
        st.beside(axis, place, _difference(evidence, _reference(rows, row), row))
    _name(axis, rows)
    data = dict.fromkeys(name for row in rows for name in evidence.row_runs(row.id)["dataset"])
    evaluated_on = dict.fromkeys(dataset(name).evaluated_on for name in data)
    axis.set_xlabel(f"Top-1 accuracy on the {' or '.join(evaluated_on)} (%)")
    axis.set_title("Last network: difference to the first row of its kind", loc="right", fontsize=st.SMALL)
    seed: dict[str, Any] = {"linestyle": "none", "marker": "o", "color": "#333333", "markersize": 4}
    handles = [
        st.key("Last network, one seed", **seed),
        st.key("Best epoch by this very accuracy", markerfacecolor="white", **seed),
        st.key("Mean", color="#333333", marker="|", markersize=9, linestyle="none"),
    ]
    return st.finish(fig, evidence, "accuracy by choice", handles)


@figure("macs_by_choice", lambda evidence: bool(_rows_of_str(evidence)), NO_RUNS)
def macs_by_choice(evidence: Evidence) -> Figure:
    """What the budgets of STR's rows need, as a share of a uniform budget of the same sparsity: one point per seed, and
    the paper's densities on the same network. On the right the sparsity, mean over seeds, and how many layers ended
    empty, by seed.
    """
    rows = _rows_of_str(evidence)
    fig = st.new_figure(1.6 + 0.32 * len(rows))
    axis = fig.subplots()
    axis.axvline(1.0, linewidth=1.0, **st.UNIFORM)
    here: dict[str, Any] = {"color": st.look("str").colour, "marker": "o", "markersize": 4.5, "linestyle": "none"}
    paper: dict[str, Any] = {"color": st.PAPER_GREY, "marker": "s", **st.REPORTED, "linestyle": "none"}
    for place, row in enumerate(rows):
        networks = list(trained(evidence, row.id).values())
        costs = [against_uniform(layers) for layers in networks]
        axis.plot([cost["ratio"] for cost in costs], [place] * len(costs), **here)
        theirs = [published_over_uniform(evidence, layers) for layers in networks]
        axis.plot([statistics.summarise(theirs).mean], [place], **paper)
        sparsity_pct = statistics.summarise([cost["sparsity_pct"] for cost in costs]).mean
        empty = "/".join(map(str, empty_by_seed(evidence, row.id)))
        st.beside(axis, place, f"{sparsity_pct:.1f} %, {empty} empty")
    _name(axis, rows)
    axis.set_xlabel("MACs relative to a uniform budget of the same sparsity")
    axis.set_title("Sparsity, empty layers by seed", loc="right", fontsize=st.SMALL)
    handles = [
        st.key("Budgets of the trained networks", **here),
        st.key("The paper's densities on this network", **paper),
        st.key("Uniform budget", **st.UNIFORM),
    ]
    return st.finish(fig, evidence, "multiply-adds by choice", handles)


def _rows_of_str(evidence: Evidence) -> list[Row]:
    """Those whose layers are on file."""
    return [row for row in evidence.table.rows if row.is_str and trained(evidence, row.id)]


def _name(axis: Axes, rows: Sequence[Row]) -> None:
    """One row of the table at each height, from the top."""
    axis.set_yticks(range(len(rows)), [_label(row) for row in rows])
    axis.set_ylim(len(rows) - 0.5, -0.5)


def _label(row: Row) -> str:
    return row.label if row.ranks in row.label else f"{row.label}, {row.ranks}"


def _reference(rows: Sequence[Row], row: Row) -> Row:
    """The first row of the same method and ranks that is measured on the same examples, whatever their scale. Controls
    on a part of the examples are compared among themselves.
    """

    def kind(row: Row) -> tuple[object, ...]:
        data = dataset(row.dataset)
        return row.method, row.ranks, data.evaluated_on, data.val_examples

    return next(other for other in rows if kind(other) == kind(row))


def _difference(evidence: Evidence, first: Row, row: Row) -> str:
    """Paired by seed, with its 95 % interval; nothing for the row itself. Runs on other data are not compared where the
    rows do not say so: official data may have taken the place of a stand-in.
    """
    if row is first:
        return ""
    if row.dataset == first.dataset:
        difference = paired(evidence, row.id, first.id)
    else:
        accuracies, of_first = (evidence.by_seed(one.id, "top1_pct") for one in (row, first))
        difference = statistics.paired_difference(accuracies, of_first)
    return "other data" if difference is None else difference.signed()
