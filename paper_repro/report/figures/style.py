"""How every figure looks: size, type, the look of each method, axes, titles and direct labels.

A figure is as wide as a page of a paper and is read at that size, so type is 7 to 9 points. Colour and marker name the
method, fill and dashes the origin: reported numbers are hollow and dashed, reproduced ones filled and solid. So nothing
is told by colour alone. Colours are Okabe and Ito's, made for colour-blind readers, and shades of them.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Annotation, Text
from matplotlib.ticker import FixedLocator, FuncFormatter, Locator, LogLocator, NullLocator

from paper_repro.evidence.evidence import Evidence

WIDTH = 6.5  # inches: the text of a page
DPI = 200
SMALL = 7.0  # points: the smallest type
PAPER_GREY = "#555555"  # what the paper prints of its own runs, where it is no method's
CONTEXT_GREY = "#BDBDBD"  # what stands behind to compare with
UNIFORM: dict[str, Any] = {"color": "black", "linestyle": ":"}  # a uniform budget
REPORTED: dict[str, Any] = {"linestyle": (0, (4, 2)), "markerfacecolor": "white", "linewidth": 1.0, "markersize": 4.0}
REPRODUCED: dict[str, Any] = {"linestyle": "-", "linewidth": 1.2, "markersize": 4.5}
POINTS: dict[str, Any] = {"linestyle": "none"}
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")  # of rows or trainings of one method, in their shades
RC = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": 7.5,
    "figure.titlesize": 9,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.5,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "svg.hashsalt": "paper_repro",
}
Handle = Line2D | Patch  # an entry of a figure's key
_END = "end label"  # marks the labels that `_settle` moves apart


# -- methods ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Look:
    """Name for people, colour, marker, and the kind of method that it is shown with."""

    name: str
    colour: str
    marker: str
    kind: str


DENSE, SCHEDULE, STRAIGHT, REGROWTH, LEARNED, SCORES, N_OF_M, LOW_RANK, OTHER = (
    "Dense",
    "Pruned on a schedule",
    "Straight-through gradients",
    "Sparse from the first step",
    "STR and its extensions",
    "A learned score for each weight",
    "N of every M weights",
    "Low rank",
    "Another method",
)
KINDS = (SCHEDULE, STRAIGHT, REGROWTH, LEARNED, SCORES, N_OF_M, OTHER)
BLUE, ORANGE, GREEN, PURPLE, BROWN = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#A6761D"

# By the series of a row: its method, or its method under one of several budgets or settings.
LOOKS: Mapping[str, Look] = {
    "dense": Look("Dense", "#000000", "*", DENSE),
    "gmp": Look("GMP", ORANGE, "s", SCHEDULE),
    "gmp-global": Look("GMP, global", "#8C3D00", "h", SCHEDULE),
    "gmp-erk": Look("GMP + ERK", "#E08214", "^", SCHEDULE),
    "gmp-balance": Look("GMP, balance", "#E58A62", "*", SCHEDULE),
    "gmp-uniform": Look("GMP, uniform budget", ORANGE, "s", SCHEDULE),
    "gmp-str": Look("GMP, STR's budget", ORANGE, "o", SCHEDULE),
    "acdc": Look("AC/DC", "#B22222", "D", SCHEDULE),
    "dnw": Look("DNW", GREEN, "^", STRAIGHT),
    "dnw-uniform": Look("DNW, uniform budget", GREEN, "s", STRAIGHT),
    "dnw-erk": Look("DNW, ERK budget", GREEN, "^", STRAIGHT),
    "dnw-str": Look("DNW, STR's budget", GREEN, "o", STRAIGHT),
    "dpf": Look("DPF", "#666666", "X", STRAIGHT),
    "st3": Look("ST-3", "#E69F00", "p", STRAIGHT),
    "st3-sigma": Look("ST-3-sigma", "#8A6000", "H", STRAIGHT),
    "feather": Look("Feather", "#5B2A86", ">", STRAIGHT),
    "s-lats": Look("S-LATS", "#117733", "o", STRAIGHT),
    "lats": Look("LATS", "#999933", "v", STRAIGHT),
    "spartan": Look("Spartan", "#CC3311", "D", STRAIGHT),
    "dual-averaging": Look("Dual averaging", "#EE7733", "s", STRAIGHT),
    "set": Look("SET", "#56B4E9", "P", REGROWTH),
    "rigl": Look("RigL", PURPLE, "D", REGROWTH),
    "rigl-erk": Look("RigL + ERK", "#8E3A6B", "d", REGROWTH),
    "snfs": Look("SNFS", BROWN, "v", REGROWTH),
    "snfs-erk": Look("SNFS + ERK", "#5E4210", "<", REGROWTH),
    "dsr": Look("DSR", "#2B7A78", "8", REGROWTH),
    "granet": Look("GraNet", "#332288", "s", REGROWTH),
    "str": Look("STR", BLUE, "o", LEARNED),
    "str-gs": Look("STR-GS", ORANGE, "s", LEARNED),
    "str-filter": Look("STR per filter", GREEN, "^", LEARNED),
    "str-weight": Look("STR per weight", PURPLE, "D", LEARNED),
    "str-filter-pruning": Look("STR filter pruning", BROWN, "v", LEARNED),
    "str-bn": Look("STR-BN", "#666666", "X", LEARNED),
    "autosparse": Look("AutoSparse", "#332288", "p", LEARNED),
    "optg": Look("OptG", GREEN, "^", SCORES),
    "binmask": Look("BinMask", BROWN, "v", SCORES),
    "continuous-sparsification": Look("CS", PURPLE, "D", SCORES),
    "gmp-nm": Look("GMP, N:M", ORANGE, "s", N_OF_M),
    "sr-ste": Look("SR-STE", GREEN, "^", N_OF_M),
    "str-nm": Look("STR, 2:4", "#56B4E9", "p", N_OF_M),
    "search": Look("STR, by hand", BLUE, "o", LEARNED),
    "controller": Look("STR, controller", GREEN, "^", LEARNED),
    "freeze": Look("STR, freeze", PURPLE, "D", LEARNED),
    # published; none of them is a method here
    "rigl-erk-longer": Look("RigL + ERK, 10x to 100x", "#8E3A6B", "h", REGROWTH),
    "acdc-uniform": Look("AC/DC, uniform", "#B22222", "X", SCHEDULE),
    "rpg": Look("RPG", "#D55E00", "v", REGROWTH),
    "rpg-scratch": Look("RPG, from scratch", "#D55E00", "^", REGROWTH),
    "probmask": Look("ProbMask", "#444444", "s", LEARNED),
    "cram": Look("CrAM+", "#56B4E9", "d", SCHEDULE),
    "cram-nm": Look("CrAM+, N:M", "#56B4E9", "d", N_OF_M),
    "bi-mask": Look("Bi-Mask", PURPLE, "D", N_OF_M),
    "network-surgery": Look("Network surgery", "#A6761D", "D", SCHEDULE),
    "low-rank": Look("Low rank", ORANGE, "s", LOW_RANK),
    "str-rank": Look("STR, learnt ranks", BLUE, "o", LOW_RANK),
}


def look(series: str) -> Look:
    """The look of a series; one that is not known here is a plug-in's, under its own name."""
    return LOOKS.get(series, Look(series, "#444444", "X", OTHER))


def shades(count: int) -> list[Any]:
    """Colours for rows or trainings that are all STR's, from light to dark."""
    return list(sns.blend_palette(["#6DB9E8", BLUE, "#00263D"], count)) if count > 1 else [BLUE] * count


# -- figures ---------------------------------------------------------------------------------------------------------


def style() -> Any:
    """The figures' own settings on matplotlib's defaults: a user's matplotlibrc changes nothing."""
    defaults: dict[Any, Any] = {
        key: value
        for key, value in matplotlib.rcParamsDefault.items()
        if not key.startswith(("backend", "date.", "toolbar", "interactive"))
    }
    return matplotlib.rc_context(defaults | sns.axes_style("ticks") | RC)


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """An empty figure of this size in inches, drawn without a display."""
    figure = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.05, h_pad=0.05))
    FigureCanvasAgg(figure)
    return figure


def grid(count: int, columns: int, height: float, **shared: Any) -> tuple[Figure, list[Axes]]:
    """A figure with so many panels, each ``height`` inches high, in lines of ``columns``; and its panels."""
    columns = max(1, min(columns, count))
    lines = max(1, -(-count // columns))
    figure = new_figure(max(height, 2.2) + 1.0 if lines == 1 else height * lines + 1.0)
    axes = list(figure.subplots(lines, columns, squeeze=False, **shared).flat)
    for axis in axes[max(count, 1) :]:
        axis.remove()
        axes[axes.index(axis) - columns].tick_params(labelbottom=True)  # nothing is below that one
    return figure, axes[: max(count, 1)]


def label_axes(figure: Figure, axes: Sequence[Axes], x: str, y: str) -> None:
    """One label for all panels, left of them, and one below each of the last line."""
    lowest = min(axis.get_position().y0 for axis in axes)
    for axis in axes:
        if axis.get_position().y0 == lowest:
            axis.set_xlabel(x)
    figure.supylabel(y, fontsize=RC["axes.labelsize"])


def finish(figure: Figure, evidence: Evidence, what: str, handles: Sequence[Handle] = ()) -> Figure:
    """Title, and a key for what is not labelled in place: outside the axes, where they cover no data."""
    title = f"{evidence.table.paper_table}, {evidence.table.title}: {what}"
    setting = "reported numbers alone, no runs"
    if len(evidence.runs):
        setting = f"{evidence.setting}; " + ", ".join(filter(None, (trained_epochs(evidence), seed_count(evidence))))
    if evidence.missing_rows:
        setting += f"; {len(evidence.missing_rows)} of {len(evidence.trained_rows)} rows missing"
    width = int(14 * figure.get_figwidth())  # at this size of type, so many characters are an inch wide
    lines = [textwrap.fill(line, width) for line in (title, f"tier {evidence.tier}: {setting}")]
    figure.suptitle("\n".join(lines), x=0.01, ha="left")
    if handles:
        width_of_key = sum(len(str(handle.get_label())) + 7 for handle in handles)
        lines_of_key = -(-width_of_key // 105)
        columns = -(-len(handles) // lines_of_key)
        figure.legend(handles=list(handles), loc="outside lower center", ncols=columns, columnspacing=1.4)
    _settle(figure)
    return figure


def key(label: str, **look: Any) -> Handle:
    """An entry of the key: a line, a marker, or both."""
    return Line2D([], [], label=label, **look)


def handle(label: str, colour: Any, marker: str, origin: Mapping[str, Any]) -> Handle:
    """The entry of some numbers; ``origin`` is REPORTED or REPRODUCED, with POINTS where no line joins them."""
    return key(label, color=colour, marker=marker, **origin)


def area(label: str, **look: Any) -> Handle:
    """The entry of a band."""
    return Patch(label=label, **look)


# -- labels in place -------------------------------------------------------------------------------------------------


def label_end(axis: Axes, text: str, x: float, y: float, colour: Any = "black", leader: bool = True) -> None:
    """Write the name of a line beside the panel, at the height y where it ends. Names that would overlap move apart."""
    line = {"arrowstyle": "-", "color": colour, "linewidth": 0.6, "linestyle": ":", "shrinkA": 1, "shrinkB": 3}
    axis.annotate(
        text,
        (x, y),
        xytext=(1.03, 0.5),
        textcoords="axes fraction",
        va="center",
        fontsize=SMALL,
        color=colour,
        fontweight="bold" if text == LOOKS["str"].name else "normal",
        arrowprops={**line, "relpos": (0, 0.5)} if leader else None,
        annotation_clip=False,
        gid=_END,
    )


def beside(axis: Axes, y: float, text: str, x: float = 1.0, x_in: str = "axes fraction", away: float = 4.0) -> None:
    """Write ``text`` at the height ``y`` of the data, so many points right of the axis, or of a place in the data."""
    axis.annotate(text, (x, y), (away, 0), (x_in, "data"), "offset points", va="center", fontsize=SMALL)


def end_labels(axis: Axes) -> list[Annotation]:
    """The names beside a panel that ``label_end`` wrote."""
    return [text for text in axis.texts if isinstance(text, Annotation) and text.get_gid() == _END]


def _settle(figure: Figure) -> None:
    """Lay the figure out and move the names beside each panel apart, from below; they stay between its edges."""
    if not any(end_labels(axis) for axis in figure.axes):
        return
    layout = figure.get_layout_engine()
    assert layout is not None
    layout.execute(figure)
    for axis in figure.axes:
        box, labels = axis.get_window_extent(), end_labels(axis)
        heights = {label: axis.transData.transform(label.xy)[1] for label in labels}
        labels.sort(key=lambda label: heights[label])
        place, places = box.y0, []
        for label in labels:
            half = 0.5 * Text.get_window_extent(label).height
            place = max(min(heights[label], box.y1), place + half)
            places.append(place)
            place += half
        ceiling = box.y1
        for label, wanted in reversed(list(zip(labels, places, strict=True))):
            half = 0.5 * Text.get_window_extent(label).height
            away = (8 if label.arrow_patch else 3) * figure.dpi / 72  # from the panel's edge
            label.xyann = (1 + away / box.width, (min(wanted, ceiling - half) - box.y0) / box.height)
            ceiling = min(wanted, ceiling - half) - half


# -- axes ------------------------------------------------------------------------------------------------------------


def sparsity_axis(axis: Axes) -> None:
    """Sparsity drawn by the logarithm of what is left, so that 80 to 99 % do not crowd at one edge."""
    left, right = axis.dataLim.x0, axis.dataLim.x1
    if not np.isfinite((left, right)).all():  # nothing is drawn but the dense network's line
        left, right = 80.0, 99.0
    axis.set_xscale("function", functions=_log_of_what_is_left(1.0))
    axis.set_xlim(-8 if left < 10 else left - (101 - left) * 0.1, max(99.2, right + (101 - right) * 0.08))
    plain_ticks(axis.xaxis, FixedLocator([0, 50, 70, 80, 85, 90, 95, 98, 99]))


def budget_axis(axis: Axes, lowest: float) -> None:
    """Sparsity of layers from ``lowest`` % upwards, by the logarithm of what is left of them: a layer with a hundredth
    of its weights and an empty one stand apart. 0.1 % is added to what is left, so that empty ones have a place; above
    them is room for marks at the edge.
    """
    axis.set_yscale("function", functions=_log_of_what_is_left(0.1))
    axis.set_ylim(max(0.0, lowest - (100.1 - lowest) * 0.2), 100.04)
    plain_ticks(axis.yaxis, FixedLocator([0, 50, 80, 90, 95, 99, 99.9, 100]))


def macs_axis(axis: Axes) -> None:
    """Multiply-adds on a log scale, with ticks at 1, 2 and 5."""
    axis.set_xscale("log")
    plain_ticks(axis.xaxis, LogLocator(subs=(1.0, 2.0, 5.0)))


def plain_ticks(axis: Axis, locator: Locator) -> None:
    """Ticks at these places alone, with their numbers written out."""
    axis.set_major_locator(locator)
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _log_of_what_is_left(added: float) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """The scale of a sparsity in percent, and its inverse; with ``added`` percent left, 100 has a place."""
    whole = 100.0 + added
    return lambda s: -np.log(np.maximum(whole - s, 1e-3)), lambda t: whole - np.exp(-t)


# -- words and picks -------------------------------------------------------------------------------------------------


def trained_epochs(evidence: Evidence) -> str:
    """How long the runs took: "1 epoch", "1, 4 or 5 epochs"."""
    values = sorted({float(value) for value in evidence.runs["epochs"]})
    if not values and evidence.plan:
        values = [float(evidence.plan.base.epochs)]
    *others, last = [f"{value:g}" for value in values] or ["no"]
    return " or ".join(filter(None, [", ".join(others), last])) + (" epoch" if values == [1.0] else " epochs")


def seed_count(evidence: Evidence) -> str:
    """How many seeds the rows have an accuracy of: "n = 3 seeds"; empty where none has one."""
    counts = sorted({len(evidence.by_seed(row, "top1_pct")) for row in evidence.runs["row"].unique()} - {0})
    if not counts:
        return ""
    span = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"n = {span} seed{'s' if counts[-1] > 1 else ''}"


def evenly(names: list[str], most: int) -> list[str]:
    """At most so many of the names, evenly spread from first to last."""
    picked = np.linspace(0, len(names) - 1, min(most, len(names))).round().astype(int)
    return [names[index] for index in picked]


def share_done(evidence: Evidence, row: str, column: str) -> float | None:
    """A point of time, mean over the row's runs, in percent of their epochs; None where no run has one."""
    epoch = evidence.summary(row, column)
    return None if epoch is None else 100 * epoch.mean / float(evidence.row_runs(row)["epochs"].iloc[0])


def with_share_done(history: pd.DataFrame, evidence: Evidence) -> pd.DataFrame:
    """History with ``done_pct``: how much of its run's epochs each record has behind it."""
    epochs = evidence.runs.drop_duplicates("row").set_index("row")["epochs"]
    return history.assign(done_pct=100.0 * history["epoch"] / history["row"].map(epochs).astype(float))
