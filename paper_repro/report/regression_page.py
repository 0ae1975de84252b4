"""The report of ``regress`` as one HTML file that needs nothing else: no script, no font, no picture beside it."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jinja2
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_repro.data.catalog import dataset
from paper_repro.errors import EXIT_CODES
from paper_repro.evidence import provenance, regression
from paper_repro.evidence.contrast import EDGE
from paper_repro.evidence.regression import Measured, Regime
from paper_repro.evidence.statistics import summarise
from paper_repro.report.figures.style import macs_axis, new_figure, sparsity_axis, style
from paper_repro.tables import Table, TierPlan

if TYPE_CHECKING:
    from paper_repro.methods.plugins import Plugin

TEMPLATE = "regression.html.jinja"
# matplotlib draws with these; the page replaces them with its own colours, which know of dark mode
INK, GRID, STR_COLOUR, METHOD_COLOUR = "#010101", "#020202", "#030303", "#040404"
VARIABLES = {INK: "--ink", GRID: "--line", STR_COLOUR: "--str", METHOD_COLOUR: "--mine"}


def page(
    plugin: Plugin,
    table: Table,
    plan: TierPlan,
    checks: Sequence[Mapping[str, Any]],
    regimes: Sequence[Regime],
    str_runs: Sequence[Measured],
    *,
    margin: float,
    seeds: int,
    weight_decay: float,
    method_args: Mapping[str, Any],
    exit_code: int,
) -> str:
    """The HTML text; everything that comes from the plug-in is escaped. ``checks``: what was checked before training,
    with the fields of ``conformance.Outcome``.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("paper_repro.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    method_runs = [run for regime in regimes for run in regime.runs]
    return environment.get_template(TEMPLATE).render(
        name=plugin.name,
        plugin=plugin,
        table=table,
        plan=plan,
        data=dataset(plan.base.dataset).title,
        full_scale=plan.base.dataset == table.dataset and not plan.base.model_args,
        regimes=regimes,
        checks=checks,
        sentence=regression.summary(plugin.name, regimes),
        notes=regression.notes(regimes),
        claims=regression.claimed_sparsity(method_runs),
        scale=_scale(regimes, margin),
        figures=[
            ("Accuracy over sparsity", _picture(plugin.name, regimes, str_runs, "sparsity_pct")),
            ("Accuracy over multiply-adds", _picture(plugin.name, regimes, str_runs, "macs_m")),
        ],
        runs=[(plugin.name, run) for run in method_runs] + [("STR", run) for run in str_runs],
        code_version=provenance.code_version(),
        where=provenance.provenance(threads=1),
        edge_pct=round(100 * EDGE),
        margin=margin,
        seeds=seeds,
        weight_decay=weight_decay,
        method_args=method_args,
        exit_code=exit_code,
        exit_codes=EXIT_CODES,
    )


def _scale(regimes: Sequence[Regime], margin: float) -> float:
    """Half the width, in points, of the little pictures of differences."""
    ends = [margin]
    for regime in regimes:
        for comparison in (regime.at_sparsity, regime.at_macs):
            difference = comparison.difference
            if difference is not None:
                ends += [abs(end) for end in (difference.low, difference.high, difference.mean) if end is not None]
    return 1.15 * max(ends) or 1.0


def _picture(name: str, regimes: Sequence[Regime], str_runs: Sequence[Measured], quantity: str) -> str:
    """STR's runs, seed by seed and as a mean, and the method's mean with its interval, as inline SVG."""
    with style():
        figure = new_figure(4.0, width=6.4)
        axis = figure.subplots()
        finished = [run for run in str_runs if run.usable]
        for seed in sorted({run.seed for run in finished}):
            points = sorted((_x(run, quantity), run.top1_pct or 0.0) for run in finished if run.seed == seed)
            axis.plot(*zip(*points, strict=True), color=STR_COLOUR, alpha=0.35, linewidth=1.0, marker=".")
        _means(axis, "STR", [[run for run in finished if run.regime_pct == r.target_pct] for r in regimes], quantity, 0)
        _means(axis, name, [[run for run in r.runs if run.usable] for r in regimes], quantity, 1)
        axis.set_ylabel("Top-1 accuracy (%)")
        if quantity == "sparsity_pct":
            sparsity_axis(axis)
            axis.set_xlabel("Sparsity (%; log scale of what is left)")
        else:
            macs_axis(axis)
            axis.set_xlabel("Multiply-adds per image (millions, log scale)")
        axis.legend(loc="lower left" if quantity == "sparsity_pct" else "lower right", labelcolor=INK)
        _colour(axis)
        return _svg(figure, quantity)


def _x(run: Measured, quantity: str) -> float:
    return float(getattr(run, quantity) or 0.0)


def _means(axis: Axes, name: str, groups: Sequence[Sequence[Measured]], quantity: str, which: int) -> None:
    """A point per regime with its 95 % interval over seeds; one seed has none."""
    colour, marker = ((STR_COLOUR, "o"), (METHOD_COLOUR, "s"))[which]
    points: list[tuple[float, float, float]] = []
    for group in filter(None, groups):
        accuracy = summarise(run.top1_pct or 0.0 for run in group)
        half = 0.0 if accuracy.low is None else accuracy.mean - accuracy.low
        points.append((summarise(_x(run, quantity) for run in group).mean, accuracy.mean, half))
    if points:
        x, y, halves = zip(*sorted(points), strict=True)
        look: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 6, "linewidth": 1.8, "capsize": 3}
        axis.errorbar(x, y, yerr=halves, elinewidth=1.0, label=name, linestyle=("-", "--")[which], **look)


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
