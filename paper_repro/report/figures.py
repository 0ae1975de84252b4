"""The figures of a table: every one legible on its own, and the same bytes for the same results.

Reported numbers are hollow markers on dashed lines, reproduced ones filled markers on solid lines: colour and shape
name the method, fill and line style the origin, so that neither needs colour to be told apart. Colours are Okabe and
Ito's, made for colour-blind readers. What was not measured is not drawn.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from PIL import Image

from paper_repro import tables
from paper_repro.errors import unknown
from paper_repro.evidence.evidence import Evidence
from paper_repro.files import write
from paper_repro.report import (
    balance_figures,
    balance_report,
    budget_figures,
    choice_figures,
    method_figures,
    rank_figures,
)
from paper_repro.report.budget_figures import PAPER_GREY, nearest_published, published_str
from paper_repro.report.drawing import (
    DPI,
    REPORTED,
    REPRODUCED,
    ROW_COLOURS,
    budget_axis,
    evenly,
    finish,
    handle,
    macs_axis,
    new_figure,
    seed_count,
    series_of,
    sparsity_axis,
    style,
    style_of,
    trained_epochs,
)
from paper_repro.report.looks import LOOKS, look

ROW_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
# below this nothing is pruned, and a log scale would show little else
SMALLEST_THRESHOLD = 1e-7


def accuracy_over_sparsity(evidence: Evidence) -> Figure:
    """Top-1 accuracy over overall sparsity, all methods of the table."""
    return _accuracy(
        evidence,
        "sparsity_pct",
        "sparsity_pct",
        "Sparsity of the weights (%; log scale of what is left)",
        sparsity_axis,
    )


def accuracy_over_macs(evidence: Evidence) -> Figure:
    """Top-1 accuracy over multiply-adds per image, all methods of the table."""
    return _accuracy(evidence, "macs_m", "sparse_macs_m", "Multiply-adds per image (millions, log scale)", macs_axis)


def layer_budgets(evidence: Evidence) -> Figure:
    """Sparsity of each layer for the STR rows, the paper's nearest budget behind it, and the uniform budget as a
    line.
    """
    runs: dict[str, list[pd.DataFrame]] = {}
    for row, _, layers in evidence.run_budgets("str"):
        runs.setdefault(row, []).append(layers)
    published = published_str(evidence)
    shown = list(runs) or evenly(list(published), 6)
    columns = 1 if len(shown) < 2 else 2
    lines = max(1, -(-len(shown) // columns))
    with style():
        figure = new_figure(max(7.5, 5.8 * columns), 3.0 * lines + 1.5)
        axes = list(figure.subplots(lines, columns, squeeze=False).flat)
        for axis, row in zip(axes, shown, strict=False):
            _draw_budget(axis, evidence, row, runs.get(row, []), published)
            axis.set_xlabel("Number of the layer, in order of the forward pass", fontsize=9)
            axis.set_ylabel("Sparsity (%), by log of what is left", fontsize=9)
        for axis in axes[len(shown) :]:
            axis.set_visible(False)
        handles = [
            handle(
                f"Reported: {'nearest ' if runs else ''}published budget (full size, ImageNet-1K)",
                PAPER_GREY,
                "s",
                REPORTED,
            ),
            Line2D(
                [],
                [],
                color="black",
                linestyle=":",
                linewidth=1.3,
                label="Uniform: every layer at the overall sparsity",
            ),
        ]
        if runs:
            handles.insert(
                0,
                handle(
                    f"Reproduced STR ({evidence.setting}; mean, band: range over seeds)", *style_of("str"), REPRODUCED
                ),
            )
        what = "sparsity of each layer under STR"
        if not runs and len(shown) < len(published):
            what += f", {len(shown)} of {len(published)} published budgets"
        finish(figure, evidence, what, handles, columns=1)
    return figure


def sparsity_over_epochs(evidence: Evidence) -> Figure:
    """Overall sparsity and a threshold over the course of training, the paper's Figures 1 and 2 behind them.

    The threshold is that of the layer in Figure 1, or the median over layers for a table without that figure.
    """
    layer = evidence.table.figure_layer
    threshold = "threshold_median" if layer is None else "threshold_figure_layer"
    rows = [
        row
        for row in evidence.trained_rows
        if evidence.table.row(row).method == "str" and (evidence.history["row"] == row).any()
    ]
    with style():
        figure = new_figure(9.5, 8.6)
        top, bottom = figure.subplots(2, 1, sharex=True)
        handles: list[Line2D | Patch] = []
        for index, row in enumerate(rows):
            colour, marker = ROW_COLOURS[index % len(ROW_COLOURS)], ROW_MARKERS[index % len(ROW_MARKERS)]
            handles.append(_draw_training(top, bottom, evidence, row, threshold, colour, marker))
        if rows:
            handles.append(_draw_range(bottom, evidence, rows))
            handles.append(
                Line2D(
                    [],
                    [],
                    color="black",
                    marker=6,
                    markersize=9,
                    linestyle="none",
                    label="Forecast onset, made before training",
                )
            )
        if _draw_paper_curves(top, bottom, evidence):
            handles.append(
                handle("Reported: 90.23 %, 100 epochs, ImageNet-1K (Figures 1, 2)", PAPER_GREY, "s", REPORTED)
            )
        top.set_ylabel("Overall sparsity (%)")
        top.set_ylim(-4, 102)
        top.set_xlim(-1, 101)
        here = f"{trained_epochs(evidence)} here, 100 in the paper" if rows else "100 in the paper"
        bottom.set_xlabel(f"Training done (% of all epochs; {here})")
        bottom.set_ylabel(f"Threshold g(s), {'median over layers' if layer is None else layer} (log scale)")
        bottom.set_yscale("log")
        bottom.set_ylim(bottom=SMALLEST_THRESHOLD)
        finish(figure, evidence, "sparsity and threshold during training", handles, columns=2)
    return figure


FIGURES: Mapping[str, Callable[[Evidence], Figure]] = {
    "accuracy_over_sparsity": accuracy_over_sparsity,
    "accuracy_over_macs": accuracy_over_macs,
    "layer_budgets": layer_budgets,
    "densities_against_paper": budget_figures.densities_against_paper,
    "macs_against_uniform": budget_figures.macs_against_uniform,
    "sparsity_over_epochs": sparsity_over_epochs,
    "accuracy_by_budget": method_figures.accuracy_by_budget,
    "methods_over_sparsity": method_figures.methods_over_sparsity,
    "methods_over_macs": method_figures.methods_over_macs,
    "ranks_over_epochs": rank_figures.ranks_over_epochs,
    "accuracy_by_ranks": rank_figures.accuracy_by_ranks,
    "accuracy_by_choice": choice_figures.accuracy_by_choice,
    "balance_l1": balance_figures.balance_l1,
    "balance_over_training": balance_figures.balance_over_training,
}
OF_RUNS = (  # of nothing else
    "methods_over_sparsity",
    "methods_over_macs",
    "ranks_over_epochs",
    "accuracy_by_ranks",
    "accuracy_by_choice",
)


def of_table(table: tables.Table) -> tuple[str, ...]:
    """The figures of a table's notebook; one that does not exist is an error that names the nearest."""
    for name in table.figures:
        if name not in FIGURES:
            raise unknown(f"figure of table {table.name}", name, FIGURES)
    return table.figures


def names(evidence: Evidence) -> list[str]:
    """The table's figures that have something to show: no budgets and no curves where neither paper nor runs have
    any, and nothing about runs alone where there are none.
    """
    has_runs = bool(evidence.runs["top1_pct"].notna().any())
    has = {
        **dict.fromkeys(OF_RUNS, has_runs),
        "ranks_over_epochs": len(evidence.epochs) > 0,
        "layer_budgets": len(evidence.budgets) > 0 or bool(published_str(evidence)),
        "densities_against_paper": any(True for _ in evidence.run_budgets("str")),
        "sparsity_over_epochs": len(evidence.history) > 0 or bool(_curve(evidence, "fig2_sparsity")),
        "balance_l1": len(evidence.balance) > 0 or len(balance_report.recorded(evidence)) > 0,
        "balance_over_training": len(balance_report.watched(evidence)) > 0,
    }
    return [name for name in of_table(evidence.table) if has.get(name, True)]


def png(figure: Figure) -> bytes:
    """The figure as PNG, 150 dots per inch. The same figure gives the same bytes: no dates, no versions inside."""
    buffer = io.BytesIO()
    with style():
        figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    # A palette makes a third of the bytes, and these files are kept under version control. The octree keeps the colours
    # of lines as they are and merges those of their soft edges; the default would merge two methods' colours.
    small = io.BytesIO()
    picture = Image.open(buffer).convert("RGB").quantize(256, method=Image.Quantize.FASTOCTREE)
    picture.save(small, format="png", optimize=True)
    return small.getvalue()


def path(evidence: Evidence, name: str) -> Path:
    """Where a figure lies: results/<table>/figures/<tier>_<name>.png."""
    return evidence.results_dir / evidence.table.name / "figures" / f"{evidence.tier}_{name}.png"


def save(evidence: Evidence, name: str) -> Path:
    """Draw one figure by name and write it in its place, atomically."""
    if name not in FIGURES:
        raise unknown("figure", name, FIGURES)
    return write(path(evidence, name), png(FIGURES[name](evidence)))


def save_all(evidence: Evidence) -> dict[str, Path]:
    """Every figure that has something to show."""
    return {name: save(evidence, name) for name in names(evidence)}


# -- accuracy --------------------------------------------------------------------------------------------------------


def _accuracy(
    evidence: Evidence, reported_x: str, run_column: str, label: str, scale: Callable[[Axes], None]
) -> Figure:
    """Reported and reproduced in one panel where they may be compared, side by side with own axes where they may
    not.
    """
    has_runs = evidence.runs["top1_pct"].notna().any()
    apart = has_runs and not evidence.full_scale
    with style():
        figure = new_figure(10.5 if apart else 7.5, 5.6)
        panels = list(figure.subplots(1, 2 if apart else 1, squeeze=False).flat)
        reported = _draw_reported(panels[0], evidence, reported_x)
        reproduced = _draw_reproduced(panels[-1], evidence, run_column) if has_runs else []
        for panel in panels:
            panel.set_xlabel(label)
            panel.set_ylabel("Top-1 accuracy (%)")
            scale(panel)
            panel.margins(y=0.08)
        panels[0].set_title("Reported: ImageNet-1K, full size")
        if has_runs:
            title = f"Reproduced: {evidence.setting}, {trained_epochs(evidence)}, {seed_count(evidence)}"
            panels[-1].set_title(title if apart else f"Reported (ImageNet-1K) and reproduced ({seed_count(evidence)})")
        handles = [handle(f"{look(name).name} reported", *style_of(name), REPORTED) for name in reported]
        handles += [handle(f"{look(name).name} reproduced", *style_of(name), REPRODUCED) for name in reproduced]
        if has_runs and len(evidence.seeds()) > 1:
            handles.append(
                Line2D(
                    [], [], color="black", marker="|", linestyle="none", markersize=10, label="95 % interval over seeds"
                )
            )
        what = "sparsity" if reported_x == "sparsity_pct" else "multiply-adds"
        finish(figure, evidence, f"accuracy over {what}", handles, columns=5 if apart else 4)
    return figure


def _draw_reported(axis: Axes, evidence: Evidence, quantity: str) -> list[str]:
    series: dict[str, list[tuple[float, float]]] = {}
    for row in evidence.table.rows:
        x, y = getattr(row.reported, quantity), row.reported.top1_pct
        if (row.model, row.dataset) != (evidence.table.model, evidence.table.dataset):
            continue  # an accuracy on other data has no place on this axis
        if x is not None and y is not None:
            series.setdefault(series_of(row), []).append((x, y))
    for name, points in series.items():
        colour, marker = style_of(name)
        x, y = np.array(sorted(points)).T
        axis.plot(x, y, color=colour, marker=marker, **REPORTED)
    return list(series)


def _draw_reproduced(axis: Axes, evidence: Evidence, column: str) -> list[str]:
    series: dict[str, list[tuple[float, float, float]]] = {}
    for row in evidence.trained_rows:
        accuracy, x = evidence.summary(row, "top1_pct"), evidence.summary(row, column)
        if accuracy is None or x is None:
            continue
        half = 0.0 if accuracy.high is None else accuracy.high - accuracy.mean
        series.setdefault(series_of(evidence.table.row(row)), []).append((x.mean, accuracy.mean, half))
    for name, points in series.items():
        colour, marker = style_of(name)
        x, y, half = np.array(sorted(points)).T
        axis.plot(x, y, color=colour, marker=marker, **REPRODUCED)
        axis.errorbar(
            x, y, yerr=np.where(half > 0, half, np.nan), fmt="none", ecolor=colour, elinewidth=1.2, capsize=3.5
        )
    return list(series)


# -- budgets ---------------------------------------------------------------------------------------------------------


def _draw_budget(
    axis: Axes, evidence: Evidence, row: str, seeds: list[pd.DataFrame], published: Mapping[str, Mapping[str, float]]
) -> None:
    target = evidence.table.row(row).reported.sparsity_pct or 0.0
    measured = evidence.summary(row, "sparsity_pct")
    overall = target if measured is None else measured.mean
    near = nearest_published(evidence, overall)
    lowest = overall
    if near is not None:
        values = list(published[near].values())
        lowest = min(lowest, *values)
        axis.plot(
            np.arange(1, len(values) + 1),
            values,
            color=PAPER_GREY,
            marker="s",
            zorder=2,
            **{**REPORTED, "markersize": 3.5, "linewidth": 0.9},
        )
    layers: list[str] = list(published[near]) if near is not None else []
    if seeds:
        layers = list(seeds[0]["layer"])
        stack = np.stack([frame["sparsity_pct"].to_numpy() for frame in seeds])
        index, colour = np.arange(1, stack.shape[1] + 1), LOOKS["str"].colour
        lowest = min(lowest, float(stack.min()))
        if len(stack) > 1:
            axis.fill_between(index, stack.min(axis=0), stack.max(axis=0), color=colour, alpha=0.25, linewidth=0)
        axis.plot(
            index,
            stack.mean(axis=0),
            color=colour,
            marker="o",
            zorder=3,
            **{**REPRODUCED, "markersize": 3.5, "linewidth": 1.3},
        )
    axis.axhline(overall, color="black", linestyle=":", linewidth=1.3, zorder=1)
    budget_axis(axis, lowest)
    axis.set_xlim(0, max(len(layers), 1) + 1)
    _mark_stages(axis, layers)
    here = f"{row}: {overall:.2f} % overall" + (f" (n = {len(seeds)})" if seeds else " reported")
    axis.set_title(here + (f"; reported: {near}" if seeds and near is not None else ""), fontsize=9.5)


def _mark_stages(axis: Axes, layers: Iterable[str]) -> None:
    """A faint line where a stage of the network begins, with the stage's name as tick."""
    starts: dict[str, int] = {}
    for index, name in enumerate(layers, start=1):
        stage = name.split(".")[0] if name.startswith("layer") or "." not in name else ""
        if stage and stage not in starts:
            starts[stage] = index
    if len(starts) < 3:  # a network without named stages: numbers say more
        axis.set_xticks([1, *range(5, len(list(layers)) + 1, 5)])
        return
    indices = list(starts.values())
    labels = [
        "" if following - index < 2 else f"{index}\n{stage}"  # the first convolution has no room for its name
        for (stage, index), following in zip(starts.items(), [*indices[1:], indices[-1] + 2], strict=True)
    ]
    axis.set_xticks(indices, labels, fontsize=8)


# -- training --------------------------------------------------------------------------------------------------------


def _draw_training(
    top: Axes, bottom: Axes, evidence: Evidence, row: str, threshold: str, colour: str, marker: str
) -> Line2D:
    """One row in both panels, its forecast onset as a triangle on the axis of the upper one; returns its legend
    entry.
    """
    history, epochs = _history(evidence, row)
    _draw_history(top, history, epochs, "sparsity_pct", colour, marker)
    _draw_history(bottom, history, epochs, threshold, colour, marker)
    onset = evidence.summary(row, "forecast_onset_epoch")
    if onset is not None:
        top.plot(
            [100 * onset.mean / epochs],
            [-4],
            marker=6,
            color=colour,
            markersize=10,
            clip_on=False,
            linestyle="none",
            zorder=5,
        )
    return handle(f"Reproduced {row} (n = {history['seed'].nunique()})", colour, marker, REPRODUCED)


def _draw_range(axis: Axes, evidence: Evidence, rows: list[str]) -> Patch:
    """From the smallest to the largest threshold over layers, for the row nearest to the 90.23 % of the paper's
    figures.
    """
    row = min(rows, key=lambda name: abs((evidence.table.row(name).reported.sparsity_pct or 0.0) - 90.23))
    history, epochs = _history(evidence, row)
    colour = ROW_COLOURS[rows.index(row) % len(ROW_COLOURS)]
    data = (
        history[history["threshold_min"] > SMALLEST_THRESHOLD]
        .groupby("epoch")[["threshold_min", "threshold_max"]]
        .mean()
    )
    x = 100.0 * data.index.to_numpy(dtype=float) / epochs
    axis.fill_between(
        x, data["threshold_min"].to_numpy(), data["threshold_max"].to_numpy(), color=colour, alpha=0.13, linewidth=0
    )
    return Patch(color=colour, alpha=0.25, linewidth=0, label=f"Range over the layers of {row}")


def _draw_paper_curves(top: Axes, bottom: Axes, evidence: Evidence) -> bool:
    drawn = False
    for axis, name in ((top, "fig2_sparsity"), (bottom, "fig1_threshold")):
        points = [(x, y) for x, y in _curve(evidence, name) if axis is top or y > 0]
        if points:
            x, y = np.array(points).T
            axis.plot(x, y, color=PAPER_GREY, marker="s", markevery=4, zorder=1.5, **REPORTED)
            drawn = True
    return drawn


def _history(evidence: Evidence, row: str) -> tuple[pd.DataFrame, float]:
    """The records of a row's runs, and how many epochs these took."""
    return evidence.history[evidence.history["row"] == row], float(evidence.row_runs(row)["epochs"].iloc[0])


def _draw_history(axis: Axes, history: pd.DataFrame, epochs: float, column: str, colour: str, marker: str) -> None:
    """Mean over seeds against the percentage of training done, with the range over seeds as a band."""
    data = history.dropna(subset=[column])
    if column.startswith("threshold"):
        data = data[data[column] > SMALLEST_THRESHOLD]
    if not len(data):
        return
    grouped = data.groupby("epoch")[column]
    x = 100.0 * grouped.mean().index.to_numpy(dtype=float) / epochs
    every = max(1, len(x) // 10)
    axis.plot(
        x,
        grouped.mean().to_numpy(),
        color=colour,
        marker=marker,
        markevery=every,
        zorder=3,
        **{**REPRODUCED, "markersize": 5},
    )
    if data["seed"].nunique() > 1:
        axis.fill_between(x, grouped.min().to_numpy(), grouped.max().to_numpy(), color=colour, alpha=0.2, linewidth=0)


def _curve(evidence: Evidence, name: str) -> list[tuple[float, float]]:
    """A digitised curve of the paper; the table without figures has none."""
    if evidence.table.figure_layer is None:
        return []
    return list(tables.curve(evidence.table.name, name))
