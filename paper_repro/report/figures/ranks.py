"""Low-rank networks: how ranks fall while they are learnt, and how accurate networks of which ranks are."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator
from matplotlib.typing import LineStyleType

from paper_repro.data.catalog import dataset
from paper_repro.evidence.evidence import Evidence
from paper_repro.report.figures import points as pt
from paper_repro.report.figures import style as st
from paper_repro.report.figures.registry import NO_RUNS, figure, was_run
from paper_repro.tables import Row

# one per pair of ranks
LOW_RANK_DASHES: tuple[LineStyleType, ...] = ("-.", (0, (1, 1)), (0, (5, 1)), (0, (3, 1, 1, 1, 1, 1)))
NETWORK_MARKERS = ("o", "s", "^", "D")
TITLE_WIDTH = 48  # characters of a panel's title that half a page has room for
THIN, BOLD = 0.5, 1.6  # line widths: one seed, the mean
# Drawn is accuracy down to this many points below the best, or to the lowest network of a row: not an untrained one's.
SHOWN_POINTS = 20.0


@figure("ranks_over_epochs", lambda evidence: len(evidence.epochs) > 0, NO_RUNS)
def ranks_over_epochs(evidence: Evidence) -> Figure:
    """Ranks of W and U while STR learns them, and below it the accuracy of STR, of vanilla low rank and of full rank:
    one column per data set, one shade of STR's colour per training.
    """
    data_sets = _data_sets(evidence)
    fig = st.new_figure(6.0)
    axes = fig.subplots(2, max(1, len(data_sets)), sharex="col", squeeze=False)
    handles: dict[str, st.Handle] = {}
    for (top, bottom), name in zip(axes.T, data_sets, strict=False):
        groups = _trainings(evidence, [row for row in evidence.table.rows if row.dataset == name])
        handles |= _draw_ranks(top, evidence, groups)
        _draw_accuracy(bottom, evidence, groups)
        top.set(title=_title(evidence, [group[0] for group in groups]), xlabel="", ylabel="Rank (log scale)")
        bottom.set_ylabel(f"Top-1 accuracy on the {dataset(name).evaluated_on} (%)")
        bottom.set_xlabel("Epochs of training done")
    if data_sets:
        handles["U"] = st.key("Rank of U", color="#333333", linewidth=BOLD)
        handles["W"] = st.key("Rank of W", color="#333333", linewidth=BOLD, linestyle="--")
    if evidence.epochs.groupby("row")["seed"].nunique().max() > 1:
        handles["seed"] = st.key("One seed (bold: mean)", color="#333333", linewidth=THIN, alpha=0.6)
    return st.finish(fig, evidence, "ranks and accuracy during training", list(handles.values()))


def _data_sets(evidence: Evidence) -> list[str]:
    """The paper's data sets on which ranks were learnt, in table order. Where that is none yet, those of rows that were
    trained beside such rows.
    """
    there = set(evidence.epochs["row"])
    learning = [row for row in evidence.table.rows if row.learns_ranks]
    learnt = {row.dataset for row in learning if row.id in there} or {row.dataset for row in learning}
    return list(dict.fromkeys(row.dataset for row in evidence.table.rows if row.id in there and row.dataset in learnt))


def _title(evidence: Evidence, rows: Sequence[Row]) -> str:
    """What these rows' runs were measured on; empty without runs."""
    settings = [evidence.setting_of(row.id) for row in rows if len(evidence.row_runs(row.id))]
    return " and ".join(dict.fromkeys(settings))


def _trainings(evidence: Evidence, rows: Sequence[Row]) -> list[list[Row]]:
    """What is drawn: rows that show networks of the same runs, together; of other rows with the same method and ranks,
    the first, which stands for others like it.
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        specs = evidence.row_runs(row.id)["spec"]
        if len(specs):
            key = str(specs.iloc[0]) if row.learns_ranks else f"{row.method} {row.ranks}"
            groups.setdefault(key, []).append(row)
    return [group if group[0].learns_ranks else group[:1] for group in groups.values()]


def _learnt(groups: Sequence[list[Row]]) -> list[list[Row]]:
    return [group for group in groups if group[0].learns_ranks]


def _draw_ranks(axis: Axes, evidence: Evidence, groups: Sequence[list[Row]]) -> dict[str, st.Handle]:
    """Both ranks of every STR run, the pairs of the table as dotted lines, and on U's rank where a row's network was
    taken; the key to the latter.
    """
    handles: dict[str, st.Handle] = {}
    learnt = _learnt(groups)
    pairs = list(dict.fromkeys(row.ranks for group in learnt for row in group if row.ranks))
    for group, colour in zip(learnt, st.shades(len(learnt)), strict=True):
        epochs = evidence.epochs[evidence.epochs["row"] == group[0].id]
        for column, dashes in (("rank_u", "-"), ("rank_w", "--")):
            _draw_seeds(axis, epochs[epochs[column] > 0], column, colour, dashes)  # a log scale has no place for 0
        for row in (row for row in group if row.ranks):
            taken = evidence.epochs[(evidence.epochs["row"] == row.id) & (evidence.epochs["kept"] == "yes")]
            at = [_rank_u(row.ranks)] * len(taken)  # which the end of that epoch need not have
            marker = NETWORK_MARKERS[pairs.index(row.ranks) % len(NETWORK_MARKERS)]
            axis.plot(taken["epoch"], at, color=colour, marker=marker, linestyle="none", markersize=4.5)
            if len(taken):
                label = f"Network of ranks {row.ranks}"
                handles[label] = st.handle(label, "#333333", marker, st.REPRODUCED | st.POINTS)
    for rank_u in dict.fromkeys(map(_rank_u, pairs)):
        named = [ranks for ranks in pairs if _rank_u(ranks) == rank_u]
        axis.axhline(rank_u, color="#888888", linestyle=":", linewidth=0.9, zorder=1)
        st.label_end(axis, ", ".join(named), 1.0, rank_u, leader=False)
    axis.set_yscale("log")  # last: on a log axis seaborn would take the mean of logarithms
    st.plain_ticks(axis.yaxis, LogLocator(subs=(1.0, 2.0, 5.0)))
    return handles


def _rank_u(ranks: str) -> int:
    return int(ranks.split("/")[1])


def _draw_accuracy(axis: Axes, evidence: Evidence, groups: Sequence[list[Row]]) -> None:
    """Accuracy at the end of every epoch, and what each line is where it ends."""
    learnt, low_rank = _learnt(groups), [group for group in groups if group[0].method == "low-rank"]
    colours = st.shades(len(learnt))
    for group in groups:
        row = group[0]
        label, colour = row.label, st.look(row.method).colour
        dashes: LineStyleType = "-"
        if group in learnt:
            colour = colours[learnt.index(group)]
            label = "\n".join([row.label, ", ".join(row.ranks for row in group if row.ranks)]).strip()
        elif group in low_rank:
            label, dashes = f"{row.label} {row.ranks}".strip(), LOW_RANK_DASHES[low_rank.index(group) % 4]
        epochs = evidence.epochs[evidence.epochs["row"] == row.id]
        _draw_seeds(axis, epochs, "val_top1_pct", colour, dashes)
        last = epochs[epochs["epoch"] == epochs["epoch"].max()]
        st.label_end(axis, label, last["epoch"].max(), last["val_top1_pct"].mean(), colour)
    epochs = evidence.epochs[evidence.epochs["row"].isin([row.id for group in groups for row in group])]
    if len(epochs):
        best, worst = float(epochs["val_top1_pct"].max()), float(epochs["val_top1_pct"].min())
        shown = min([best - SHOWN_POINTS, *epochs.loc[epochs["kept"] == "yes", "val_top1_pct"]])
        axis.set_ylim(max(worst, shown) - 0.5, best + 0.5)


def _draw_seeds(axis: Axes, frame: pd.DataFrame, column: str, colour: Any, dashes: Any) -> None:
    """One thin line per seed, and their mean in bold; one seed is its own mean."""
    shared: dict[str, Any] = {"x": "epoch", "y": column, "ax": axis, "color": colour, "linestyle": dashes}
    if frame["seed"].nunique() > 1:
        sns.lineplot(frame, units="seed", estimator=None, linewidth=THIN, alpha=0.45, **shared)
    sns.lineplot(frame, errorbar=None, linewidth=BOLD, zorder=3, **shared)


@figure("accuracy_by_ranks", was_run, NO_RUNS)
def accuracy_by_ranks(evidence: Evidence) -> Figure:
    """Accuracy at each pair of ranks, as printed and here; in one panel per data set where the two may be compared,
    one above the other where they may not.
    """
    frame = pt.points(evidence)
    here = pt.REPRODUCED in set(frame["origin"])
    apart = here and not evidence.full_scale
    data_sets = list(dict.fromkeys(row.dataset for row in evidence.table.rows))
    fig = st.new_figure(5.8 if apart else 3.8)
    axes = fig.subplots(2 if apart else 1, len(data_sets), squeeze=False)
    for column, name in zip(axes.T, data_sets, strict=True):
        rows = [row for row in evidence.table.rows if row.dataset == name]
        own = frame[frame["dataset"] == name]
        _draw_points(column[0], rows, own[own["origin"] == pt.REPORTED], st.REPORTED)
        _draw_points(column[-1], rows, own[own["origin"] == pt.REPRODUCED], st.REPRODUCED)
        column[0].set_title(f"Reported: {dataset(name).title}")
        title = _title(evidence, rows)
        if title:
            heading = "Reproduced" if apart else "Reported, and reproduced"
            column[-1].set_title(textwrap.fill(f"{heading}: {title}", TITLE_WIDTH))
        for axis in column:  # a network on other data than the paper's has another size
            _show_points(axis)
            _rank_axis(axis, evidence, rows, with_sizes=axis is column[0])
        column[-1].set_visible(bool(title) or not apart)
    methods = {row.method: row.label for row in evidence.table.rows}
    handles = []
    for origin, style in (("reported", st.REPORTED), ("reproduced", st.REPRODUCED)):
        if origin == "reported" or here:
            handles += [
                st.handle(f"{label} {origin}", st.look(name).colour, st.look(name).marker, style | st.POINTS)
                for name, label in methods.items()
            ]
    if here and len(evidence.seeds()) > 1:
        bar: dict[str, Any] = {"color": "black", "marker": "|", "linestyle": "none", "markersize": 8}
        handles.append(st.key("95 % interval", **bar))
    return st.finish(fig, evidence, "accuracy by ranks", handles)


def _places(rows: Sequence[Row]) -> list[str]:
    """Pairs of ranks from left to right; full rank, which is the empty one, first."""
    return list(dict.fromkeys(row.ranks for row in rows))


def _draw_points(axis: Axes, rows: Sequence[Row], frame: pd.DataFrame, origin: dict[str, Any]) -> None:
    """One point per row; methods and origins at the same ranks stand a little apart."""
    places = _places(rows)
    apart = {"low-rank": -0.17, "str-rank": 0.17}
    aside = 0.0 if origin is st.REPORTED else 0.08
    for _, point in frame.iterrows():
        looks = st.look(point["method"])
        axis.errorbar(
            [places.index(point["ranks"]) + apart.get(point["method"], 0.0) + aside], [point["top1_pct"]],
            yerr=[point["half"]], color=looks.colour, marker=looks.marker, markersize=5, linestyle="none", capsize=2,
            markerfacecolor="white" if origin is st.REPORTED else looks.colour, elinewidth=1.0,
        )  # fmt: skip


def _show_points(axis: Axes) -> None:
    """Room for the points; an interval of two seeds may be far wider, and runs out of the panel."""
    points = [float(value) for bars in axis.containers for value in bars[0].get_ydata()]
    if points:
        low, high = axis.get_ylim()
        room = max(1.0, max(points) - min(points))
        axis.set_ylim(max(low, min(points) - room), min(high, max(points) + room, 100.0))


def _rank_axis(axis: Axes, evidence: Evidence, rows: Sequence[Row], with_sizes: bool) -> None:
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
