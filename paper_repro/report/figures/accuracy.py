"""Accuracy over sparsity and over multiply-adds: one panel per kind of method, STR in front of the others in each."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_repro.evidence.contrast import pareto_front
from paper_repro.evidence.evidence import Evidence
from paper_repro.report.figures import points as pt
from paper_repro.report.figures import style as st
from paper_repro.report.figures.registry import NO_RUNS, figure, was_run

LABELS = {
    "sparsity_pct": "Sparsity (%; log scale of what is left)",
    "macs_m": "Multiply-adds per image (millions, log scale)",
}
LABEL_Y = "Top-1 accuracy (%)"
WHAT = {"sparsity_pct": "accuracy over sparsity", "macs_m": "accuracy over multiply-adds"}
ORIGINS = {pt.REPORTED: st.REPORTED, pt.REPRODUCED: st.REPRODUCED}
# With two, an interval is 12.7 standard errors wide to each side: it hides the data, and runs off the axes.
FEWEST_SEEDS = 3
# with a rim, so that they are seen on the mark of their mean
SEED: dict[str, Any] = {"linestyle": "none", "markersize": 3.2, "markeredgewidth": 0.5, "markeredgecolor": "white"}
COLLAPSED = 12.0  # points below STR's worst network: drawn, it would flatten all others
MARGIN = 2.0  # points by which an interval may widen the axis
WIDEST = 12.0  # half an interval, in points: where one of three seeds is at chance, it would cover the whole panel


@figure("accuracy_over_sparsity")
def accuracy_over_sparsity(evidence: Evidence) -> Figure:
    """Top-1 accuracy over overall sparsity, as printed and here, all methods of the table."""
    return _accuracy_over("sparsity_pct", evidence)


@figure("accuracy_over_macs")
def accuracy_over_macs(evidence: Evidence) -> Figure:
    """Top-1 accuracy over multiply-adds per image, as printed and here, all methods of the table."""
    return _accuracy_over("macs_m", evidence)


@figure("methods_over_sparsity", was_run, NO_RUNS)
def methods_over_sparsity(evidence: Evidence) -> Figure:
    """Every method that was run here, over sparsity, in front of the Pareto front of all methods."""
    return _methods_over("sparsity_pct", evidence)


@figure("methods_over_macs", was_run, NO_RUNS)
def methods_over_macs(evidence: Evidence) -> Figure:
    """Every method that was run here, over multiply-adds per image, in front of the Pareto front of all methods."""
    return _methods_over("macs_m", evidence)


def _accuracy_over(x: str, evidence: Evidence) -> Figure:
    """Reported and reproduced in one panel where they may be compared, side by side with own axes where not."""
    frame, titles = _drawable(evidence, x), pt.titles(evidence)
    kinds, sides, apart = _layout(evidence, frame)
    if len(sides) > 1:
        fig, axes = st.grid(2 * len(kinds), 2, 1.95 if len(kinds) > 1 else 2.4, sharex="col", sharey="col")
    else:
        fig, axes = st.grid(len(kinds), 2, 2.6, sharex=True, sharey=True)
    context = False
    panels = [(kind, side) for kind in kinds for side in sides]
    for at, (axis, (kind, side)) in enumerate(zip(axes, panels, strict=True)):
        shown = frame[frame["origin"].isin(side)]
        context = _draw_context(axis, shown, kind, x) or context
        _draw_kind(axis, shown, kind, x)
        axis.set_title(f"{titles[side[0]]}\n{kind}" if apart and at < len(sides) else kind)
        if side == [pt.REPRODUCED]:
            _cut_collapsed(axis, shown, kind, x)
        _scale(axis, shown, x)
    st.label_axes(fig, axes, LABELS[x], LABEL_Y)
    origins = [origin for side in sides for origin in side]
    handles = [st.handle(f"{origin[0].upper()}{origin[1:]}", "#333333", "o", ORIGINS[origin]) for origin in origins]
    if context:
        handles.append(st.key("The other methods", color=st.CONTEXT_GREY, linewidth=0.8))
    return st.finish(fig, evidence, WHAT[x], [*handles, *_keys_to_seeds(frame)])


def _layout(evidence: Evidence, frame: pd.DataFrame) -> tuple[list[str], list[list[str]], bool]:
    """The kinds that have panels, the origins that each panel of theirs shows, and whether the two origins are apart.

    Where they are, the kinds are those that were run: a panel of reported numbers alone would have nothing beside it.
    The reported numbers have no panels where they are of none of these kinds.
    """
    origins = pt.origins(frame)
    if len(origins) == 1 or evidence.full_scale:
        return _kinds(frame), [origins], False
    kinds = _kinds(frame[frame["origin"] == pt.REPRODUCED])
    printed = set(frame.loc[frame["origin"] == pt.REPORTED, "kind"])
    return kinds, [[pt.REPORTED], [pt.REPRODUCED]] if printed & set(kinds) else [[pt.REPRODUCED]], True


def _methods_over(x: str, evidence: Evidence) -> Figure:
    frame = _drawable(evidence, x)
    frame = frame[frame["origin"] == pt.REPRODUCED]
    kinds = _kinds(frame, also=st.LEARNED)
    best = front(frame, x)
    fig, axes = st.grid(len(kinds), 2, 2.7, sharex=True, sharey=True)
    for axis, kind in zip(axes, kinds, strict=True):
        # with so many weights or operations, or fewer, that is the best accuracy that there is
        steps: Literal["pre", "post"] = "pre" if x == "sparsity_pct" else "post"
        axis.step(
            best[x], best["top1_pct"], where=steps, color=st.CONTEXT_GREY, linewidth=4, alpha=0.6, zorder=1, gid="front"
        )
        _draw_kind(axis, frame, kind, x)
        _cut_collapsed(axis, frame, kind, x)
        axis.set_title(kind)
        _scale(axis, frame, x)
    st.label_axes(fig, axes, LABELS[x], LABEL_Y)
    handles = [st.key("Best of all methods (Pareto front)", color=st.CONTEXT_GREY, linewidth=4, alpha=0.6)]
    return st.finish(fig, evidence, WHAT[x], [*handles, *_keys_to_seeds(frame)])


def _drawable(evidence: Evidence, x: str) -> pd.DataFrame:
    """The points that have a place on the axes: printed accuracies on other data than the table's have none. ``half``
    is left where there are seeds enough for an interval, and it is no wider than a panel; ``seeds`` are those to be
    shown in its place.
    """
    frame = pt.points(evidence).dropna(subset=[x])
    own = (frame["model"] == evidence.table.model) & (frame["dataset"] == evidence.table.dataset)
    frame = frame[own | (frame["origin"] == pt.REPRODUCED)]
    few = frame["n"].between(2, FEWEST_SEEDS - 1) | (frame["half"] > WIDEST)
    seeds: list[Any] = [_seeds(evidence, row, x) if shown else [] for row, shown in zip(frame["row"], few, strict=True)]
    frame = frame.assign(
        kind=[st.look(series).kind for series in frame["series"]],
        half=frame["half"].where(~few),
        seeds=seeds,
    )
    return frame.sort_values(x, kind="stable")


def _seeds(evidence: Evidence, row: str, x: str) -> list[tuple[float, float]]:
    """Place and accuracy of each of a row's runs."""
    places = evidence.by_seed(row, "sparsity_pct" if x == "sparsity_pct" else "sparse_macs_m")
    accuracies = evidence.by_seed(row, "top1_pct")
    return [(places[seed], top1_pct) for seed, top1_pct in accuracies.items() if seed in places]


def _keys_to_seeds(frame: pd.DataFrame) -> list[st.Handle]:
    """The key's entries for what shows how far seeds are apart; the dense network is a line without."""
    sparse = frame[frame["kind"] != st.DENSE]
    keys: list[st.Handle] = []
    if sparse["half"].notna().any():
        keys.append(st.area("95 % interval over seeds", color="#777777", alpha=0.25, linewidth=0))
    shown = sparse[sparse["seeds"].map(len) > 0]
    if len(shown):
        few, wide = f"there are fewer than {FEWEST_SEEDS}", "they lie far apart"
        why = [
            text for text, here in ((few, shown["n"] < FEWEST_SEEDS), (wide, shown["n"] >= FEWEST_SEEDS)) if here.any()
        ]
        keys.append(st.key(f"One seed, where {' or '.join(why)}", color="#333333", marker="o", **SEED))
    return keys


def _kinds(frame: pd.DataFrame, also: str = "") -> list[str]:
    """The kinds with a method besides STR, which is in every panel, and the dense network, which is a line."""
    others = frame[frame["series"] != "str"]
    return [kind for kind in st.KINDS if kind == also or kind in set(others["kind"])] or [st.LEARNED]


def front(frame: pd.DataFrame, x: str) -> pd.DataFrame:
    """The Pareto front from left to right: its places and accuracies. More sparsity and fewer MACs are better."""
    sign = -1.0 if x == "sparsity_pct" else 1.0
    points = pareto_front(zip(sign * frame[x], frame["top1_pct"], strict=True))
    return pd.DataFrame([(sign * cost, top1_pct) for cost, top1_pct in points], columns=[x, "top1_pct"]).sort_values(x)


def _draw_context(axis: Axes, frame: pd.DataFrame, kind: str, x: str) -> bool:
    """The methods of other kinds, thin and grey; whether there are any."""
    others = frame[(frame["kind"] != kind) & (frame["kind"] != st.DENSE) & (frame["series"] != "str")]
    for _, line in others.groupby(["series", "origin"], sort=False):
        axis.plot(line[x], line["top1_pct"], color=st.CONTEXT_GREY, linewidth=0.8, marker=".", markersize=3, zorder=1)
    return len(others) > 0


def _draw_kind(axis: Axes, frame: pd.DataFrame, kind: str, x: str) -> None:
    """The methods of one kind, then STR; their names at their sparsest ends; the dense network as a line."""
    members = [series for series in dict.fromkeys(frame["series"]) if series != "str" and st.look(series).kind == kind]
    for series in [*members, "str"]:
        own = frame[frame["series"] == series]
        for origin in dict.fromkeys(own["origin"]):
            _draw_line(axis, own[own["origin"] == origin], x, origin, bold=series == "str")
        if len(own):
            end = own.iloc[-1 if x == "sparsity_pct" else 0]
            st.label_end(axis, st.look(series).name, end[x], end["top1_pct"], st.look(series).colour)
    for _, dense in frame[frame["kind"] == st.DENSE].iterrows():
        style = "--" if dense["origin"] == pt.REPORTED else "-"
        axis.axhline(dense["top1_pct"], color="black", linewidth=0.7, linestyle=style, zorder=1)
        st.label_end(axis, st.look("dense").name, 1.0, dense["top1_pct"], leader=False)


def _draw_line(axis: Axes, line: pd.DataFrame, x: str, origin: str, bold: bool) -> None:
    """Means joined by a line, their intervals as a light band; an interval that stands alone as a bar. Where there are
    too few seeds for an interval, the seeds themselves as small points.
    """
    looks, weight = st.look(line["series"].iloc[0]), ORIGINS[origin]
    place, mean, half = (line[name].to_numpy() for name in (x, "top1_pct", "half"))
    axis.plot(
        place, mean, color=looks.colour, marker=looks.marker, zorder=4 if bold else 3,
        **weight | ({"linewidth": 1.3 * weight["linewidth"]} if bold else {}),
    )  # fmt: skip
    seeds = [seed for of_row in line["seeds"] for seed in of_row]
    if seeds:
        axis.plot(*zip(*seeds, strict=True), color=looks.colour, marker=looks.marker, zorder=5, gid="seeds", **SEED)
    low, high = mean - half, np.minimum(mean + half, 100.0)  # an interval may reach beyond what can be measured
    axis.fill_between(place, low, high, color=looks.colour, alpha=0.13, linewidth=0, zorder=2)
    known = np.concatenate([[False], np.isfinite(half), [False]])
    alone = known[1:-1] & ~known[:-2] & ~known[2:]
    axis.vlines(place[alone], low[alone], high[alone], color=looks.colour, linewidth=1.0, alpha=0.5, zorder=2)


def _scale(axis: Axes, frame: pd.DataFrame, x: str) -> None:
    """An axis for the sparse networks: the dense one is a line from edge to edge."""
    sparse = frame.loc[frame["kind"] != st.DENSE, x]
    if x == "sparsity_pct":
        st.sparsity_axis(axis)
        if len(sparse):
            axis.set_xlim(sparse.min() - 0.1 * (101 - sparse.min()), sparse.max() + 0.12 * (101 - sparse.max()))
    else:
        st.macs_axis(axis)
        if len(sparse):
            axis.set_xlim(0.8 * sparse.min(), 1.25 * sparse.max())


def _places(frame: pd.DataFrame, x: str) -> pd.Series:
    """Where points lie from left to right, as the logarithmic axes have it."""
    return -np.log(100.0 - frame[x]) if x == "sparsity_pct" else np.log(frame[x])


def _cut_collapsed(axis: Axes, frame: pd.DataFrame, kind: str, x: str) -> None:
    """End the axis below the worst network that has not collapsed, and say at its edge what lies lower."""
    # a network at chance may be on the front: it is the sparsest, or the cheapest
    held = frame[frame["method"] == "str"] if (frame["method"] == "str").any() else front(frame, x)
    if not len(held):  # the dense network alone
        return
    whole = frame[frame["top1_pct"] > held["top1_pct"].min() - COLLAPSED]
    half = whole["half"].fillna(0.0)
    means = [whole["top1_pct"].min(), whole["top1_pct"].max()]
    shown = [*means, *(top1_pct for seeds in whole["seeds"] for _, top1_pct in seeds)]
    floor = min([*shown, max((whole["top1_pct"] - half).min(), means[0] - MARGIN)]) - 0.5
    ceiling = max([*shown, min((whole["top1_pct"] + half).max(), means[1] + MARGIN, 100.0)]) + 0.5
    axis.set_ylim(floor, ceiling)
    for label in [label for label in st.end_labels(axis) if label.xy[1] < floor]:
        label.remove()
    gone = frame.drop(whole.index).sort_values(x)
    gone = gone[gone["kind"].eq(kind) | gone["series"].eq("str")]
    places = _places(frame[frame["kind"] != st.DENSE], x)
    on_the_left = _places(gone, x) < (places.min() + places.max()) / 2
    # One line above the other, so that no words lie on others, and reaching towards the middle, so that all are within.
    for line, (_, point) in enumerate(pd.concat([gone[on_the_left][::-1], gone[~on_the_left]]).iterrows()):
        looks = st.look(point["series"])
        axis.annotate(
            f"{looks.name}: {point['top1_pct']:.0f} %", (point[x], floor), xytext=(0, 12 + 10 * line),
            ha="left" if line < on_the_left.sum() else "right", textcoords="offset points", fontsize=st.SMALL,
            color=looks.colour, zorder=5, arrowprops={"arrowstyle": "->", "color": looks.colour},
        )  # fmt: skip
