"""Figures of low-rank networks: how ranks fall while they are learnt, and how accurate networks of which ranks are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator
from matplotlib.typing import LineStyleType

from paper_repro import tables
from paper_repro.data.catalog import dataset
from paper_repro.evidence.evidence import Evidence
from paper_repro.report.drawing import (
    REPORTED,
    REPRODUCED,
    ROW_COLOURS,
    beside,
    finish,
    handle,
    new_figure,
    plain_ticks,
    seed_count,
    style,
    style_of,
)
from paper_repro.report.looks import LOOKS

# of trainings by STR: not the colours of what is drawn beside them, vanilla low rank and the thin lines of full rank
TRAINING_COLOURS = (*(c for c in ROW_COLOURS if c not in (LOOKS["low-rank"].colour, "#666666")), "#5B2A86")
# one per pair of ranks
LOW_RANK_DASHES: tuple[LineStyleType, ...] = ("-.", (0, (1, 1)), (0, (5, 1)), (0, (3, 1, 1, 1, 1, 1)))
NETWORK_MARKERS = ("o", "s", "^", "D")
THIN, BOLD = 0.8, 2.0  # line widths: one seed, the mean
# Drawn is accuracy down to this many points below the best, or to the lowest network of a row: not an untrained one's.
SHOWN_POINTS = 20.0


def ranks_over_epochs(evidence: Evidence) -> Figure:
    """Ranks of W and U while STR learns them, and below it the accuracy of STR, of vanilla low rank and of full rank:
    one column per data set, one colour per training.
    """
    data_sets = _data_sets(evidence)
    with style():
        figure = new_figure(max(7.5, 6.3 * len(data_sets)), 8.2)
        axes = figure.subplots(2, max(1, len(data_sets)), sharex="col", squeeze=False)
        handles: dict[str, Line2D] = {}
        kept: dict[str, Line2D] = {}
        for (top, bottom), name in zip(axes.T, data_sets, strict=False):
            groups = _recipes(evidence, [row for row in evidence.table.rows if row.dataset == name])
            kept |= _draw_ranks(top, evidence, groups)
            handles |= _draw_accuracy(bottom, evidence, groups)
            top.set_title(_title(evidence, [group[0] for group in groups]))
            top.set_ylabel("Rank (log scale)")
            bottom.set_ylabel(f"Top-1 accuracy on the {dataset(name).evaluated_on} (%)")
            bottom.set_xlabel("Epochs of training done")
        if data_sets:
            handles["U"] = Line2D([], [], color="#333333", linewidth=BOLD, label="Rank of U")
            handles["W"] = Line2D([], [], color="#333333", linewidth=BOLD, linestyle="--", label="Rank of W")
            handles |= kept
        what = "ranks and accuracy during training (thin: one seed, bold: mean)"
        finish(figure, evidence, what, list(handles.values()), columns=4 if len(handles) <= 7 else 3)
    return figure


def accuracy_by_ranks(evidence: Evidence) -> Figure:
    """Accuracy at each pair of ranks, as printed and here; in one panel per data set where the two may be compared,
    one above the other where they may not.
    """
    here = bool(evidence.runs["top1_pct"].notna().any())
    apart = here and not evidence.full_scale
    data_sets = list(dict.fromkeys(row.dataset for row in evidence.table.rows))
    with style():
        figure = new_figure(5.6 * len(data_sets), 9.0 if apart else 5.2)
        axes = figure.subplots(2 if apart else 1, len(data_sets), squeeze=False)
        methods = {row.method: row.label for row in evidence.table.rows}
        for column, name in zip(axes.T, data_sets, strict=True):
            rows = [row for row in evidence.table.rows if row.dataset == name]
            _draw_points(column[0], rows, {row.id: (row.reported.top1_pct, None) for row in rows}, REPORTED)
            if here:
                _draw_points(column[-1], rows, {row.id: _measured(evidence, row.id) for row in rows}, REPRODUCED)
            column[0].set_title(f"Reported: {dataset(name).title}")
            title = _title(evidence, rows)
            if title:
                column[-1].set_title(f"{'Reproduced' if apart else 'Reported, and reproduced'}: {title}", fontsize=9)
            for axis in column:  # a network on other data than the paper's has another size
                _rank_axis(axis, evidence, rows, with_sizes=axis is column[0])
            column[-1].set_visible(bool(title) or not apart)
        handles = [handle(f"{label} reported", *style_of(name), _points(REPORTED)) for name, label in methods.items()]
        if here:
            handles += [
                handle(f"{label} reproduced", *style_of(name), _points(REPRODUCED)) for name, label in methods.items()
            ]
        if here and len(evidence.seeds()) > 1:
            handles.append(
                Line2D([], [], color="black", marker="|", linestyle="none", markersize=10, label="95 % interval")
            )
        where = f" ({seed_count(evidence)})" if here else ""
        finish(figure, evidence, f"accuracy by ranks{where}", handles, columns=3)
    return figure


def _data_sets(evidence: Evidence) -> list[str]:
    """The paper's data sets with rows whose ranks were learnt, or that were trained beside some, in table order."""
    there = set(evidence.epochs["row"])
    learnt = {row.dataset for row in evidence.table.rows if row.method == "str-rank"}
    return list(dict.fromkeys(row.dataset for row in evidence.table.rows if row.id in there and row.dataset in learnt))


def _title(evidence: Evidence, rows: Sequence[tables.Row]) -> str:
    """What these rows' runs were measured on; empty without runs."""
    found = [evidence.setting_of(row.id) for row in rows if len(evidence.row_runs(row.id))]
    return " and ".join(dict.fromkeys(found))


# -- training --------------------------------------------------------------------------------------------------------


def _recipes(evidence: Evidence, rows: Sequence[tables.Row]) -> list[list[tables.Row]]:
    """What is drawn: rows that show networks of the same runs, together; of other rows with the same method and ranks,
    the first, which stands for others like it.
    """
    groups: dict[str, list[tables.Row]] = {}
    for row in rows:
        specs = evidence.row_runs(row.id)["spec"]
        if len(specs):
            given = str(specs.iloc[0]) if row.method == "str-rank" else f"{row.method} {row.ranks}"
            groups.setdefault(given, []).append(row)
    return [group if group[0].method == "str-rank" else group[:1] for group in groups.values()]


def _draw_ranks(axis: Axes, evidence: Evidence, groups: Sequence[list[tables.Row]]) -> dict[str, Line2D]:
    """Both ranks of every STR run, the pairs of the table as dotted lines, and on U's rank where a row's network was
    taken; the legend of the latter.
    """
    axis.set_yscale("log")
    plain_ticks(axis.yaxis, LogLocator(subs=(1.0, 2.0, 5.0)))
    handles = {}
    trainings = [group for group in groups if group[0].method == "str-rank"]
    pairs: dict[str, None] = {row.ranks: None for group in trainings for row in group if row.ranks}
    markers = {ranks: NETWORK_MARKERS[index % len(NETWORK_MARKERS)] for index, ranks in enumerate(pairs)}
    for index, group in enumerate(trainings):
        colour = TRAINING_COLOURS[index % len(TRAINING_COLOURS)]
        epochs = evidence.epochs[evidence.epochs["row"] == group[0].id]
        lines: tuple[tuple[str, LineStyleType], ...] = (("rank_u", "-"), ("rank_w", "--"))
        for column, dashes in lines:
            positive = epochs[epochs[column] > 0]  # a log scale has no place for rank 0
            _draw_seeds(axis, positive, column, colour, dashes)
        for row in (row for row in group if row.ranks):
            taken = evidence.epochs[(evidence.epochs["row"] == row.id) & (evidence.epochs["kept"] == "yes")]
            at = [_rank_u(row.ranks)] * len(taken)  # which the end of that epoch need not have
            axis.plot(taken["epoch"], at, color=colour, marker=markers[row.ranks], linestyle="none", markersize=6)
            if len(taken):
                label = f"Network of ranks {row.ranks}"
                handles[label] = handle(label, "#333333", markers[row.ranks], {**REPRODUCED, "linestyle": "none"})
    for rank_u in dict.fromkeys(map(_rank_u, pairs)):
        named = [ranks for ranks in pairs if _rank_u(ranks) == rank_u]
        axis.axhline(rank_u, color="#888888", linestyle=":", linewidth=0.9, zorder=1)
        beside(axis, rank_u, ", ".join(named), points=3, fontsize=8)
    return handles


def _rank_u(ranks: str) -> int:
    return int(ranks.split("/")[1])


def _draw_accuracy(axis: Axes, evidence: Evidence, groups: Sequence[list[tables.Row]]) -> dict[str, Line2D]:
    handles = {}
    learnt = low = 0
    for group in groups:
        row = group[0]
        colour, _ = style_of(row.method)
        label = row.label
        dashes: LineStyleType = "-"
        if row.method == "str-rank":
            colour, label = TRAINING_COLOURS[learnt % len(TRAINING_COLOURS)], _learnt_label(group)
            learnt += 1
        elif row.method == "low-rank":
            label, dashes = f"{row.label} {row.ranks}".strip(), LOW_RANK_DASHES[low % len(LOW_RANK_DASHES)]
            low += 1
        epochs = evidence.epochs[evidence.epochs["row"] == row.id]
        _draw_seeds(axis, epochs, "val_top1_pct", colour, dashes)
        handles[label] = Line2D([], [], color=colour, linewidth=BOLD, linestyle=dashes, label=label)
    epochs = evidence.epochs[evidence.epochs["row"].isin([row.id for group in groups for row in group])]
    if len(epochs):
        best, worst = float(epochs["val_top1_pct"].max()), float(epochs["val_top1_pct"].min())
        shown = min([best - SHOWN_POINTS, *epochs.loc[epochs["kept"] == "yes", "val_top1_pct"]])
        axis.set_ylim(max(worst, shown) - 0.5, best + 0.5)
    return handles


def _learnt_label(group: Sequence[tables.Row]) -> str:
    """One training by STR, named after the ranks that it is to pass through."""
    ranks = [row.ranks for row in group if row.ranks]
    return f"{group[0].label}, for ranks {', '.join(ranks)}" if ranks else group[0].label


def _draw_seeds(axis: Axes, frame: pd.DataFrame, column: str, colour: str, dashes: LineStyleType) -> None:
    """One thin line per seed, and their mean in bold; one seed is its own mean."""
    seeds = [lines for _, lines in frame.groupby("seed")]
    if len(seeds) > 1:
        for lines in seeds:
            axis.plot(lines["epoch"], lines[column], color=colour, linestyle=dashes, linewidth=THIN, alpha=0.45)
    mean = frame.groupby("epoch")[column].mean()
    axis.plot(mean.index.to_numpy(), mean.to_numpy(), color=colour, linestyle=dashes, linewidth=BOLD, zorder=3)


# -- accuracy --------------------------------------------------------------------------------------------------------


def _measured(evidence: Evidence, row: str) -> tuple[float | None, float | None]:
    """Mean accuracy over seeds, and half its interval."""
    found = evidence.summary(row, "top1_pct")
    if found is None:
        return None, None
    return found.mean, None if found.high is None else found.high - found.mean


def _places(rows: Sequence[tables.Row]) -> list[str]:
    """Pairs of ranks from left to right; full rank, which is the empty one, first."""
    return list(dict.fromkeys(row.ranks for row in rows))


def _draw_points(
    axis: Axes,
    rows: Sequence[tables.Row],
    numbers: Mapping[str, tuple[float | None, float | None]],
    origin: Mapping[str, Any],
) -> None:
    """One point per row; methods and origins at the same ranks stand a little apart."""
    places = _places(rows)
    apart = {"low-rank": -0.17, "str-rank": 0.17}
    aside = 0.0 if "markerfacecolor" in origin else 0.08
    for row in rows:
        top1_pct, half = numbers[row.id]
        if top1_pct is None:
            continue
        colour, marker = style_of(row.method)
        axis.errorbar(
            [places.index(row.ranks) + apart.get(row.method, 0.0) + aside],
            [top1_pct],
            yerr=[np.nan if half is None else half],
            color=colour,
            marker=marker,
            markersize=7,
            markerfacecolor=origin.get("markerfacecolor", colour),
            linestyle="none",
            capsize=3,
            elinewidth=1.2,
        )


def _points(origin: Mapping[str, Any]) -> dict[str, Any]:
    return {**origin, "linestyle": "none"}


def _rank_axis(axis: Axes, evidence: Evidence, rows: Sequence[tables.Row], with_sizes: bool) -> None:
    """Ranks and, where the audit is there and it is asked for, the size that they make of the paper's network."""
    labels = []
    for ranks in _places(rows):
        size = evidence.audited(next(row for row in rows if row.ranks == ranks), "size_kb")
        shown = f"\n{size['recomputed'].iloc[0]:.1f} KB" if with_sizes and len(size) else ""
        labels.append((ranks or "full") + shown)
    axis.set_xticks(range(len(labels)), labels)
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xlim(-0.5, len(labels) - 0.5)
    axis.set_xlabel("Ranks of W / U" + (", and size in single precision" if with_sizes else ""))
    axis.set_ylabel("Top-1 accuracy (%)")
