"""Pictures to look into, by Bokeh: hovering names the run, a click on the legend shows or hides a method.

Its script is shipped with the site. Without scripts, the committed picture stands in its place.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Sequence
from typing import Any

import pandas as pd
from bokeh.embed import json_item
from bokeh.models import (
    ColumnDataSource,
    FixedTicker,
    HoverTool,
    Legend,
    LegendItem,
    NumeralTickFormatter,
    Range1d,
    Whisker,
)
from bokeh.plotting import figure

from paper_repro import tables
from paper_repro.evidence.evidence import Evidence
from paper_repro.evidence.statistics import PERCENT
from paper_repro.report import figures
from paper_repro.report.figures import points as pt
from paper_repro.report.figures.budgets import numbered_layers
from paper_repro.report.figures.style import look
from paper_repro.report.site.sortable import raw

GREY = "#808080"  # legible on white and on black
HEIGHT = 280
# the figures' markers, or the nearest that Bokeh has
MARKERS = {"o": "circle", "s": "square", "^": "triangle", "D": "diamond", "v": "inverted_triangle", "P": "plus",
           "X": "x", "*": "star", "d": "diamond_dot", "p": "hex", "h": "hex", "H": "hex", "8": "hex_dot",
           "<": "square_pin", ">": "triangle_pin"}  # fmt: skip
TICKS = [digit * 10.0**power for power in range(-3, 5) for digit in (1, 2, 5)]  # of the logarithmic axes
AXES = {
    "sparsity_pct": ("Weights left (%)", "accuracy_over_sparsity"),
    "macs_m": ("Multiply-adds per image (millions)", "accuracy_over_macs"),
}
SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C3D00")


def accuracy(body: Evidence, quantity: str) -> str:
    """Top-1 over sparsity or multiply-adds: the runs of the tier, and the paper's rows, each on axes of its own."""
    title, name = AXES[quantity]
    frame = pt.points(body).dropna(subset=[quantity])
    frame = frame.assign(x=100 - frame[quantity] if quantity == "sparsity_pct" else frame[quantity])
    measured = frame[frame["origin"] == pt.REPRODUCED]
    printed = frame[(frame["origin"] == pt.REPORTED) & (frame["dataset"] == body.table.dataset)]
    plots = []
    for part, what in ((measured, body.setting), (printed, "the paper, ImageNet-1K")):
        shown = part.reset_index(drop=True)
        if len(shown):
            plots.append(_accuracy(shown.assign(told=_told(body, shown)), f"Top-1 (%), {what}", title))
    return _embedded(plots, body, name, f"Top-1 accuracy over {title[0].lower()}{title[1:]}.")


def _told(body: Evidence, frame: pd.DataFrame) -> list[str]:
    """The accuracies as text: the mean with its interval, or the number as it is printed."""
    texts = []
    for row, origin in zip(frame["row"], frame["origin"], strict=True):
        measured = body.summary(row, "top1_pct") if origin == pt.REPRODUCED else None
        printed = body.table.row(row).reported.printed
        texts.append(measured.text(within=PERCENT) if measured else printed["top1_pct"].text)
    return texts


def _accuracy(frame: pd.DataFrame, y_title: str, x_title: str) -> Any:
    tooltips = [("row", "@row"), ("top-1 %", "@told"), (x_title, "@x{0.00}"), ("runs", "@runs")]
    plot = _plot(x_title, y_title, tooltips, "log")
    plot.xaxis.ticker, plot.xaxis.formatter = FixedTicker(ticks=TICKS), NumeralTickFormatter(format="0.[000]")
    half = frame["half"].fillna(0.0)
    frame = frame.assign(y=frame["top1_pct"], low=frame["top1_pct"] - half, high=frame["top1_pct"] + half)
    frame["runs"] = frame["n"].astype(object).where(frame["origin"] == pt.REPRODUCED, "printed").infer_objects()
    margin = 0.05 * (frame["high"].max() - frame["low"].min()) or 1.0
    plot.y_range = Range1d(frame["low"].min() - margin, frame["high"].max() + margin)
    items = []
    for method in frame["method"].drop_duplicates():
        points = frame[frame["method"] == method].sort_values("x")
        columns = ["row", "method", "x", "y", "low", "high", "told", "runs"]
        source, style = ColumnDataSource(points[columns]), look(method)
        drawn = [plot.scatter("x", "y", source=source, marker=MARKERS.get(style.marker, "star"), size=9,
                              color=_on_both(style.colour), name="points")]  # fmt: skip
        if method.startswith("str"):
            drawn.append(plot.line("x", "y", source=source, color=_on_both(style.colour)))
        if (points["high"] > points["low"]).any():
            bars = Whisker(base="x", lower="low", upper="high", source=source, line_color=_on_both(style.colour),
                           upper_head=None, lower_head=None)  # fmt: skip
            plot.add_layout(bars)
        items.append(LegendItem(label=style.name, renderers=drawn))
    _legend(plot, items)
    return plot


def budgets(body: Evidence) -> str:
    """Sparsity of each layer, model by model: the trained networks of STR's rows, and the paper's (dashed)."""
    published = tables.budgets(body.table.name).items()
    printed = {name: pd.Series(budget) for name, budget in published if name.startswith("str-")}
    trained = {
        str(row): layers.groupby("layer", sort=False)["sparsity_pct"].mean()
        for row, layers in numbered_layers(body).groupby("row", sort=False)
    }
    tooltips = [("network", "@network"), ("layer", "@layer"), ("sparsity %", "@y{0.00}")]
    plot = _plot("Layer, in forward order", "Sparsity (%)", tooltips, "linear")
    shown_first = min(printed, key=lambda name: abs(float(name.removeprefix("str-")) - 90), default="")
    items = []
    for index, row in enumerate(trained or printed):
        for source, of_rows, dash in (("trained", trained, "solid"), ("paper", printed, "dashed")):
            if row in of_rows:
                colour = _on_both(SERIES[index % len(SERIES)])
                items.append(_budget(plot, f"{row}, {source}", of_rows[row], colour, dash, visible=row == shown_first))
    caption = "Sparsity of each layer. A click on the legend shows or hides a network."
    _legend(plot, items)
    return _embedded([plot] if items else [], body, "layer_budgets", caption)


def _budget(plot: Any, network: str, budget: pd.Series, colour: str, dash: str, visible: bool) -> LegendItem:
    frame = pd.DataFrame({"x": range(1, len(budget) + 1), "y": budget.to_list(), "layer": budget.index})
    source = ColumnDataSource(frame.assign(network=network))
    line = plot.line("x", "y", source=source, color=colour, line_dash=dash, visible=visible)
    points = plot.scatter("x", "y", source=source, color=colour, size=5, visible=visible, name="points",
                          fill_alpha=1.0 if dash == "solid" else 0.0)  # fmt: skip
    return LegendItem(label=network, renderers=[line, points])


def _on_both(colour: str) -> str:
    """Black is grey here, so that it shows on a dark page too."""
    return GREY if colour == "#000000" else colour


def _plot(x_title: str, y_title: str, tooltips: Sequence[tuple[str, str]], scale: str) -> Any:
    plot = figure(
        frame_height=HEIGHT,
        sizing_mode="stretch_width",
        x_axis_label=x_title,
        y_axis_label=y_title,
        x_axis_type=scale,
        tools=[HoverTool(tooltips=list(tooltips)), "pan", "box_zoom", "reset"],
        toolbar_location="above",
        background_fill_alpha=0.0,
        border_fill_alpha=0.0,
        outline_line_color=GREY,
    )
    plot.toolbar.logo = None
    plot.grid.grid_line_color, plot.grid.grid_line_alpha = GREY, 0.25
    for axis in plot.axis:
        axis.axis_label_text_color = axis.major_label_text_color = axis.axis_line_color = GREY
        axis.major_tick_line_color = axis.minor_tick_line_color = GREY
        axis.axis_label_text_font_style = "normal"
    return plot


def _legend(plot: Any, items: Sequence[LegendItem]) -> None:
    """Below the plot; hovering names the points, and no lines."""
    legend = Legend(items=list(items), click_policy="hide", background_fill_alpha=0.0, border_line_alpha=0.0,
                    label_text_color=GREY, label_text_font_size="9pt", spacing=4, ncols=2, location="left")  # fmt: skip
    plot.add_layout(legend, "below")
    plot.hover.renderers = [drawn for item in items for drawn in item.renderers if drawn.name == "points"]


def _embedded(plots: Sequence[Any], body: Evidence, name: str, caption: str) -> str:
    """The charts side by side where there is room, with the committed picture for readers without scripts."""
    if not plots:
        return ""
    drawn = [_drawn(plot, f"{body.table.name}-{body.tier}-{name}-{index}") for index, plot in enumerate(plots)]
    alt, file = html.escape(caption, quote=True), figures.path(body, name)
    picture = f'<img alt="{alt}" src="../../_images/{body.table.name}-{file.name}">' if file.exists() else ""
    return raw(
        f'<figure><div class="charts" role="img" aria-label="{alt}">{"".join(drawn)}</div>'
        f"<noscript>{picture}</noscript><figcaption>{html.escape(caption)}</figcaption></figure>"
    )


def _drawn(plot: Any, id: str) -> str:
    """A chart and the script that draws it. The names of its parts are numbered anew, so that it is the same text
    whatever was drawn before it.
    """
    numbers: dict[str, str] = {}
    item = json.dumps(json_item(plot, id)).replace("</", "<\\/")
    item = re.sub(r'"p\d+"', lambda name: numbers.setdefault(name[0], f'"p{len(numbers)}"'), item)
    return f'<div id="{id}"></div><script>Bokeh.embed.embed_item({item})</script>'
