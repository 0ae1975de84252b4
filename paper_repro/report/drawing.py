"""What all figures share: their settings, axes, legends and titles."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, Locator, LogLocator, NullLocator

from paper_repro import tables
from paper_repro.evidence.evidence import Evidence
from paper_repro.report.looks import look

DPI = 150
REPORTED: dict[str, Any] = {"linestyle": (0, (4, 2)), "markerfacecolor": "white", "linewidth": 1.2, "markersize": 5.5}
REPRODUCED: dict[str, Any] = {"linestyle": "-", "linewidth": 1.6, "markersize": 6.5}
ROW_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#A6761D", "#56B4E9", "#666666")  # rows of one method
RC = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.grid": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "svg.hashsalt": "paper_repro",
}


def style() -> Any:
    """The figures' own settings on matplotlib's defaults: a user's matplotlibrc changes nothing."""
    defaults: dict[Any, Any] = {
        key: value
        for key, value in matplotlib.rcParamsDefault.items()
        if not key.startswith(("backend", "date.", "toolbar", "interactive"))
    }
    return matplotlib.rc_context(defaults | RC)


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this size in inches, drawn without a display."""
    figure = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1))
    FigureCanvasAgg(figure)
    return figure


def finish(figure: Figure, evidence: Evidence, what: str, handles: Sequence[Line2D | Patch], columns: int) -> None:
    """Title and legend outside the axes: neither covers data."""
    title = f"{evidence.table.paper_table}, {evidence.table.title}: {what}"
    setting = evidence.setting if len(evidence.runs) else "reported numbers alone, no runs"
    runs = f"tier {evidence.tier}: {setting}"
    missing = (
        f"; {len(evidence.missing_rows)} of {len(evidence.trained_rows)} rows missing" if evidence.missing_rows else ""
    )
    width = int(11 * figure.get_figwidth())  # at this size of type, eleven characters are at most an inch wide
    figure.suptitle("\n".join(textwrap.fill(line, width) for line in (title, f"{runs}{missing}")), fontsize=11.5)
    if handles:
        figure.legend(handles=list(handles), loc="outside lower center", ncols=min(columns, len(handles)))


def style_of(series: str) -> tuple[str, str]:
    """Colour and marker of a method."""
    return look(series).colour, look(series).marker


def beside(axis: Axes, y: float, text: str, points: float, fontsize: float) -> None:
    """Write ``text`` to the right of an axis, at the height ``y`` of its data and ``points`` away."""
    axis.annotate(
        text,
        (1.0, y),
        xycoords=("axes fraction", "data"),
        xytext=(points, 0),
        textcoords="offset points",
        va="center",
        fontsize=fontsize,
    )


def handle(label: str, colour: str, marker: str, origin: Mapping[str, Any]) -> Line2D:
    """A legend entry; ``origin`` is REPORTED or REPRODUCED."""
    return Line2D([], [], color=colour, marker=marker, label=label, **origin)


def trained_epochs(evidence: Evidence) -> str:
    """How long the runs took: "1 epoch"."""
    values = sorted({float(value) for value in evidence.runs["epochs"]})
    if not values and evidence.plan:
        values = [float(evidence.plan.base.epochs)]
    return " or ".join(f"{value:g} epoch{'' if value == 1 else 's'}" for value in values) or "no epochs"


def seed_count(evidence: Evidence) -> str:
    """How many seeds the rows have: "n = 3 seeds"."""
    counts = sorted({len(evidence.by_seed(row, "top1_pct")) for row in evidence.runs["row"].unique()})
    span = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"n = {span} seed{'s' if counts[-1] > 1 else ''}"


def sparsity_axis(axis: Axes) -> None:
    """Sparsity drawn by the logarithm of what is left, so that 80 to 99 % do not crowd at one edge."""
    left, right = axis.dataLim.x0, axis.dataLim.x1
    axis.set_xscale("function", functions=_log_of_what_is_left(1.0))
    axis.set_xlim(-8 if left < 10 else left - (101 - left) * 0.1, max(99.2, right + (101 - right) * 0.08))
    plain_ticks(axis.xaxis, FixedLocator([0, 50, 70, 80, 90, 95, 98, 99]))


def budget_axis(axis: Axes, lowest: float) -> None:
    """Sparsity of layers from ``lowest`` % upwards, by the logarithm of what is left of them: a layer with a hundredth
    of its weights and an empty one stand apart. 0.1 % is added to what is left, so that empty ones have a place.
    """
    axis.set_yscale("function", functions=_log_of_what_is_left(0.1))
    axis.set_ylim(max(0.0, lowest - (100.1 - lowest) * 0.2), 100.02)
    plain_ticks(axis.yaxis, FixedLocator([0, 50, 70, 80, 90, 95, 98, 99, 99.5, 99.9, 100]))


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


def evenly(names: list[str], most: int) -> list[str]:
    """At most so many of the names, evenly spread from first to last."""
    picked = np.linspace(0, len(names) - 1, min(most, len(names))).round().astype(int)
    return [names[index] for index in picked]


def series_of(row: tables.Row) -> str:
    """Rows of one line in a figure: the method, with its distribution where the row id names one ("rigl-erk-90")."""
    return row.id.rsplit("-", 1)[0] if "-" in row.id else row.id
