"""Figures that set methods beside each other: all of them on one protocol, and one of them under several budgets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator

from paper_repro import tables
from paper_repro.evidence.evidence import Evidence
from paper_repro.report.drawing import (
    REPORTED,
    REPRODUCED,
    finish,
    handle,
    macs_axis,
    new_figure,
    plain_ticks,
    seed_count,
    series_of,
    sparsity_axis,
    style,
    style_of,
    trained_epochs,
)
from paper_repro.report.looks import BUDGETS, DENSE, KINDS, LOOKS, look

FRONT_GREY = "#9A9A9A"
THIN = {**REPRODUCED, "linewidth": 1.2, "markersize": 5.0}
BOLD = {**REPRODUCED, "linewidth": 2.8, "markersize": 7.0}
COLLAPSED = 25.0  # points below the worst network of the front
PANEL_POINTS, LINE_POINTS = 255.0, 11.0  # height of a panel and of a line of text, in points


@dataclass(frozen=True)
class Point:
    """One row of a figure: where it lies, how accurate it is, and half its interval over seeds (NaN: none)."""

    x: float
    top1_pct: float
    half: float


def methods_over_sparsity(evidence: Evidence) -> Figure:
    """Every method's accuracy over sparsity: one panel per kind of method, STR in each, and the best of all behind."""
    label = "Sparsity of the weights (%; log scale of what is left)"
    return _methods(evidence, "sparsity_pct", label, sparsity_axis, best_is_right=True, what="accuracy over sparsity")


def methods_over_macs(evidence: Evidence) -> Figure:
    """Every method's accuracy over multiply-adds per image, drawn as ``methods_over_sparsity``."""
    label = "Multiply-adds per image (millions, log scale)"
    what = "accuracy over multiply-adds"
    return _methods(evidence, "sparse_macs_m", label, macs_axis, best_is_right=False, what=what)


def accuracy_by_budget(evidence: Evidence) -> Figure:
    """Accuracy of a method under the uniform, the ERK and STR's budgets, at each regime: as printed, and here."""
    groups = _budget_groups(evidence.table)
    here = evidence.runs["top1_pct"].notna().any()
    with style():
        figure = new_figure(11.5 if here else 7.5, 0.4 * sum(map(len, groups.values())) + 2.6)
        panels = list(figure.subplots(1, 2 if here else 1, squeeze=False).flat)
        _draw_budgets(panels[0], groups, _reported, REPORTED)
        panels[0].set_title("Reported: ImageNet-1K, full size")
        if here:
            _draw_budgets(panels[1], groups, lambda row: _reproduced(evidence, row.id), REPRODUCED)
            panels[1].set_title(f"Reproduced: {evidence.setting}, {trained_epochs(evidence)}, {seed_count(evidence)}")
        for panel in panels:
            panel.set_xlabel("Top-1 accuracy (%)")
            panel.set_ylabel("Method and regime")
        used = {series_of(row).rpartition("-")[2] for rows in groups.values() for row in rows}
        handles = [
            handle(words, "#333333", marker, REPRODUCED) for name, (words, marker) in BUDGETS.items() if name in used
        ]
        what = "one method under several budgets (beside each point: sparsity and multiply-adds per image)"
        finish(figure, evidence, what, handles, columns=3)
    return figure


# -- all methods -----------------------------------------------------------------------------------------------------


def _methods(
    evidence: Evidence, column: str, label: str, scale: Callable[[Axes], None], best_is_right: bool, what: str
) -> Figure:
    """Accuracy on a log scale of the error, so that a collapsed network and the best ones fit into one panel."""
    series = _measured(evidence, column)
    best = front([point for points in series.values() for point in points], best_is_right)
    kinds = [kind for kind in KINDS if any(look(name).kind == kind for name in series)] or [KINDS[-1]]
    kinds += sorted({look(name).kind for name in series} - {*KINDS, DENSE})
    columns = min(2, len(kinds))
    lines = -(-len(kinds) // columns)
    with style():
        figure = new_figure(6.3 * columns, 4.4 * lines + 1.2)
        axes = list(figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).flat)
        floor = _error_axis(axes[0], series, best)
        for axis, kind in zip(axes, kinds, strict=False):
            # with so many weights or operations, or fewer, that is the best accuracy that there is
            axis.step(
                [point.x for point in best],
                [point.top1_pct for point in best],
                where="pre" if best_is_right else "post",
                color=FRONT_GREY,
                linewidth=4.5,
                alpha=0.45,
                zorder=1,
            )
            members = [name for name in series if look(name).kind == kind and name != "str"]
            for name in members:
                _draw_series(axis, name, series[name], THIN, 2)
                _mark_collapsed(axis, name, series[name], floor)
            if "str" in series:
                _draw_series(axis, "str", series["str"], BOLD, 3)
            for point in series.get("dense", []):
                axis.axhline(point.top1_pct, color="black", linewidth=0.9, linestyle=":", zorder=1)
            _label_directly(axis, {name: series[name] for name in [*members, "str"] if name in series}, best_is_right)
            axis.set_title(kind[0].upper() + kind[1:] if kind != "STR and its extensions" else kind)
            axis.tick_params(labelbottom=True, labelleft=True)
            axis.set_xlabel(label)
            axis.set_ylabel("Top-1 accuracy (%; log scale of the error)")
        scale(axes[0])
        low, high = axes[0].get_xlim()
        if best_is_right:
            sparse = [point.x for points in series.values() for point in points if point.x > 50]
            axes[0].set_xlim(min([*sparse, 79.0]) - 2.0, 99.75)
        else:
            axes[0].set_xlim(low / 1.6, high)
        for axis in axes[len(kinds) :]:
            axis.set_visible(False)
        handles = [
            handle("STR", *style_of("str"), BOLD),
            Line2D([], [], color=FRONT_GREY, linewidth=4.5, alpha=0.45, label="Best of all methods (Pareto front)"),
            Line2D([], [], color="black", linewidth=0.9, linestyle=":", label="Dense network"),
        ]
        if len(evidence.seeds()) > 1:
            handles.append(
                Line2D([], [], color="black", marker="|", linestyle="none", markersize=10, label="95 % interval")
            )
        where = f"{trained_epochs(evidence)}, {seed_count(evidence)}" if series else "no runs"
        finish(figure, evidence, f"{what} ({where})", handles, columns=4)
    return figure


def _measured(evidence: Evidence, column: str) -> dict[str, list[Point]]:
    """Method -> its rows that were run, from left to right."""
    series: dict[str, list[Point]] = {}
    for id in evidence.trained_rows:
        point = _point(evidence, id, column)
        if point is not None:
            series.setdefault(series_of(evidence.table.row(id)), []).append(point)
    return {name: sorted(points, key=lambda point: point.x) for name, points in series.items()}


def _point(evidence: Evidence, row: str, column: str) -> Point | None:
    accuracy, x = evidence.summary(row, "top1_pct"), evidence.summary(row, column)
    if accuracy is None or x is None:
        return None
    return Point(x.mean, accuracy.mean, np.nan if accuracy.high is None else accuracy.high - accuracy.mean)


def front(points: list[Point], best_is_right: bool) -> list[Point]:
    """The points than which no other is both better placed and more accurate, from left to right."""
    best: list[Point] = []
    for point in sorted(points, key=lambda point: (-point.x if best_is_right else point.x, -point.top1_pct)):
        if not best or point.top1_pct > best[-1].top1_pct:
            best.append(point)
    return sorted(best, key=lambda point: point.x)


def _draw_series(axis: Axes, name: str, points: list[Point], weight: Mapping[str, object], zorder: int) -> None:
    colour, marker = style_of(name)
    x, y, half = np.array([(point.x, point.top1_pct, point.half) for point in points]).T
    axis.plot(x, y, color=colour, marker=marker, zorder=zorder, **weight)  # type: ignore[arg-type]
    # below 100 %: an interval may reach beyond what can be measured
    up = np.minimum(half, np.maximum(99.5 - y, 0.0))
    axis.errorbar(x, y, yerr=(half, up), fmt="none", ecolor=colour, elinewidth=1.0, capsize=2.5, zorder=zorder)


def _error_axis(axis: Axes, series: Mapping[str, list[Point]], best: list[Point]) -> float:
    """Accuracy drawn by the logarithm of the error, down to a little below the worst network that has not collapsed;
    returns where the axis ends.
    """
    axis.set_yscale("function", functions=(_by_error, lambda t: 100.0 - 10.0 ** -np.asarray(t)))
    plain_ticks(axis.yaxis, FixedLocator([10, 30, 50, 60, 70, 75, 80, 82, 84, 86, 88, 90, 92, 94, 96, 98]))
    values = [point.top1_pct for points in series.values() for point in points]
    if not values:
        return 0.0
    worst_of_best = min(point.top1_pct for point in best)
    floor = max(min(value for value in values if value > worst_of_best - COLLAPSED) - 2.0, 0.0)
    axis.set_ylim(floor, max(values) + (100.0 - max(values)) * 0.08)
    return floor


def _by_error(top1_pct: np.ndarray) -> np.ndarray:
    return -np.log10(np.maximum(100.0 - np.asarray(top1_pct), 1e-2))


def _mark_collapsed(axis: Axes, name: str, points: list[Point], floor: float) -> None:
    """What lies below the axis is said at its edge."""
    for point in points:
        if point.top1_pct < floor:
            axis.annotate(
                f"{look(name).name}: {point.top1_pct:.0f} %",
                (point.x, floor),
                xytext=(0, 16),
                textcoords="offset points",
                ha="center",
                fontsize=8,
                color=look(name).colour,
                arrowprops={"arrowstyle": "->", "color": look(name).colour},
                zorder=5,
            )


def _label_directly(axis: Axes, series: Mapping[str, list[Point]], best_is_right: bool) -> None:
    """Each line's name at its sparsest end, moved apart where names would cover each other."""
    low, high = (float(_by_error(np.array(limit))) for limit in axis.get_ylim())
    ends = {name: points[-1] if best_is_right else points[0] for name, points in series.items()}
    height = {
        name: PANEL_POINTS * min(max((float(_by_error(np.array(end.top1_pct))) - low) / (high - low), 0.0), 1.0)
        for name, end in ends.items()
    }
    ordered = sorted(ends, key=lambda name: height[name])
    places: list[float] = []
    for name in ordered:  # from below: none closer than a line to the one before
        places.append(max(height[name], places[-1] + LINE_POINTS if places else height[name]))
    too_high = max(0.0, places[-1] - PANEL_POINTS) if places else 0.0
    for name, place in zip(ordered, places, strict=True):
        end = ends[name]
        if end.top1_pct < axis.get_ylim()[0]:
            continue  # said at the edge
        axis.annotate(
            look(name).name,
            (end.x, end.top1_pct),
            xytext=(16 if best_is_right else -16, place - too_high - height[name]),
            textcoords="offset points",
            ha="left" if best_is_right else "right",
            va="center",
            fontsize=8.5,
            color=look(name).colour,
            fontweight="bold" if name == "str" else "normal",
            arrowprops={"arrowstyle": "-", "color": look(name).colour, "linewidth": 0.5, "shrinkB": 3},
            annotation_clip=False,
            zorder=4,
        )


# -- budgets ---------------------------------------------------------------------------------------------------------


def _budget_groups(table: tables.Table) -> dict[str, list[tables.Row]]:
    """Method and regime -> its rows, one per budget, in table order."""
    groups: dict[str, list[tables.Row]] = {}
    for row in table.rows:
        groups.setdefault(f"{LOOKS[row.method].name}\n{row.regime_pct:g} %", []).append(row)
    return groups


def _reported(row: tables.Row) -> tuple[float, float, float, float] | None:
    r = row.reported
    if r.top1_pct is None or r.sparsity_pct is None or r.macs_m is None:
        return None
    return r.top1_pct, np.nan, r.sparsity_pct, r.macs_m


def _reproduced(evidence: Evidence, row: str) -> tuple[float, float, float, float] | None:
    point, macs = _point(evidence, row, "sparsity_pct"), evidence.summary(row, "sparse_macs_m")
    return None if point is None or macs is None else (point.top1_pct, point.half, point.x, macs.mean)


def _draw_budgets(
    axis: Axes,
    groups: Mapping[str, list[tables.Row]],
    numbers: Callable[[tables.Row], tuple[float, float, float, float] | None],
    origin: Mapping[str, object],
) -> None:
    """A line of points per group, from top to bottom; what else the budget changes stands beside each point."""
    place, ticks = 0.0, []
    for rows in groups.values():
        start = place
        for row in rows:
            found = numbers(row)
            if found is not None:
                top1, half, sparsity, macs = found
                colour, marker = style_of(series_of(row))
                axis.errorbar(
                    [top1], [place], xerr=[half], color=colour, marker=marker, capsize=3, elinewidth=1.2,
                    markersize=8, markerfacecolor=origin.get("markerfacecolor", colour), linestyle="none",
                )  # fmt: skip
                axis.annotate(
                    f"{sparsity:.2f} %, {macs:.3g} M",
                    (top1 + (0.0 if np.isnan(half) else half), place),
                    xytext=(9, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=8,
                )
            place += 1.0
        ticks.append((start + place - 1.0) / 2)
        axis.axhline(place - 0.25, color="#DDDDDD", linewidth=0.8)
        place += 0.5
    axis.set_yticks(ticks, list(groups))
    axis.set_ylim(place - 0.4, -0.7)
    low, high = axis.get_xlim()
    axis.set_xlim(low, high + 0.35 * (high - low))  # room for what stands beside the points
    axis.grid(False, axis="y")
