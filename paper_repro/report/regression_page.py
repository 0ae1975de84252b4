"""The report of ``regress`` as one HTML file that needs nothing else: no script, no font, no picture beside it."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jinja2
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_repro.errors import EXIT_CODES
from paper_repro.evidence import provenance, regression, regression_words
from paper_repro.evidence.contrast import EDGE
from paper_repro.evidence.regression import Comparison, Measured
from paper_repro.report.figures import points
from paper_repro.report.figures.style import macs_axis, new_figure, sparsity_axis, style
from paper_repro.spec import Spec
from paper_repro.tables import Table

if TYPE_CHECKING:
    from paper_repro.methods.plugins import Plugin

TEMPLATE = "regression.html.jinja"
# matplotlib draws with these; the page replaces them with its own colours, which know of dark mode
INK, GRID, STR_COLOUR, METHOD_COLOUR = "#010101", "#020202", "#030303", "#040404"
_LOOK = {"markersize": 6, "linewidth": 1.8, "capsize": 3, "elinewidth": 1.0}
STRS = {"color": STR_COLOUR, "marker": "o", "linestyle": "-", **_LOOK}
MINE = {"color": METHOD_COLOUR, "marker": "s", "linestyle": "--", **_LOOK}
VARIABLES = {INK: "--ink", GRID: "--line", STR_COLOUR: "--str", METHOD_COLOUR: "--mine"}


def page(
    plugin: Plugin,
    table: Table,
    tier: str,
    specs: Sequence[Spec],
    lines: Sequence[Comparison],
    runs: Sequence[tuple[str, Measured]],
    **facts: Any,
) -> str:
    """The HTML text; everything that comes from the plug-in is escaped. ``specs``: what was trained for it. ``runs``:
    all of both, with the name of their method. ``facts``: what was asked for and what came of it, under the names that
    the template has for them; of those, ``checks`` are what was checked before training, with the fields of
    ``conformance.Outcome``.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("paper_repro.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = lambda value, form: "–" if pd.isna(value) else form % value
    usable = [(who, run) for who, run in runs if run.usable]
    return environment.get_template(TEMPLATE).render(
        name=plugin.name,
        plugin=plugin,
        table=table,
        tier=tier,
        setting=regression_words.setting(specs),
        full_scale=all(spec.dataset == table.dataset and not spec.model_args for spec in specs),
        rows=list(zip(lines, regression.frame(lines).itertuples(), strict=True)),
        sentence=regression_words.summary(plugin.name, lines),
        notes=regression_words.notes(lines),
        claims=regression_words.claimed_sparsity([run for who, run in runs if who == plugin.name]),
        scale=_scale(lines, facts["margin"]),
        figures=[
            ("Accuracy over sparsity", _picture(usable, "sparsity_pct")),
            ("Accuracy over multiply-adds", _picture(usable, "macs_m")),
        ],
        runs=runs,
        code_version=provenance.code_version(),
        where=provenance.provenance(threads=1),
        edge_pct=round(100 * EDGE),
        exit_codes=EXIT_CODES,
        **facts,
    )


def _scale(lines: Sequence[Comparison], margin: float) -> float:
    """Half the width, in points, of the little pictures of differences."""
    ends = regression.frame(lines)[["difference", "low", "high"]].abs().max().max()
    return 1.15 * max(margin, 0.0 if pd.isna(ends) else float(ends)) or 1.0


def _picture(runs: Sequence[tuple[str, Measured]], quantity: str) -> str:
    """STR's runs, seed by seed and as a mean, and the method's mean with its interval, as inline SVG."""
    values = [(who, run.regime_pct, run.seed, getattr(run, quantity), run.top1_pct) for who, run in runs]
    frame = pd.DataFrame(values, columns=["method", "regime_pct", "seed", quantity, "top1_pct"]).sort_values(quantity)
    with style():
        figure = new_figure(4.0, width=6.4)
        axis = figure.subplots()
        for _, seed in frame[frame["method"] == "STR"].groupby("seed"):
            axis.plot(seed[quantity], seed["top1_pct"], color=STR_COLOUR, alpha=0.35, linewidth=1.0, marker=".")
        for who, of_method in sorted(frame.groupby("method"), key=lambda group: group[0] != "STR"):
            means = points.means(of_method, "regime_pct").sort_values(quantity)
            look: dict[str, Any] = MINE if who != "STR" else STRS
            axis.errorbar(means[quantity], means["top1_pct"], yerr=means["half"].fillna(0.0), label=who, **look)
        axis.set_ylabel("Top-1 accuracy (%)")
        if quantity == "sparsity_pct":
            sparsity_axis(axis)
            axis.set_xlabel("Sparsity (%; log scale of what is left)")
        else:
            macs_axis(axis)
            axis.set_xlabel("Multiply-adds per image (millions, log scale)")
        if len(frame):
            axis.legend(loc="lower left" if quantity == "sparsity_pct" else "lower right", labelcolor=INK)
        _colour(axis)
        return _svg(figure, quantity)


def _colour(axis: Axes) -> None:
    """Ink and grid in the colours that the page replaces."""
    axis.grid(color=GRID)
    axis.tick_params(colors=INK)
    for text in (axis.xaxis.label, axis.yaxis.label):
        text.set_color(INK)
    for spine in axis.spines.values():
        spine.set_color(INK)


def _svg(figure: Figure, salt: str) -> str:
    """The figure as an SVG element in the colours of the page, the same bytes for the same numbers."""
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(<svg\b[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg\b[^>]*?) height="[^"]*"', r"\1", text, count=1)
    text = re.sub(r"'DejaVu Sans'[^;\"]*", "system-ui, sans-serif", text)
    for sentinel, variable in VARIABLES.items():
        text = text.replace(sentinel, f"var({variable})")
    return text.replace("<svg ", '<svg role="img" ', 1)
