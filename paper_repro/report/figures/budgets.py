"""What each layer keeps: learnt budgets beside the published ones, what they cost, and how alike they are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from paper_repro.evidence.budget_claims import UNIFORM_PCT
from paper_repro.evidence.evidence import Evidence
from paper_repro.evidence.layers import (
    NEAR,
    STR,
    against_uniform,
    agreement,
    backbone,
    budgets,
    empty_by_seed,
    nearest_published,
    published_str,
    under_published,
)
from paper_repro.experiments.claims import Rows
from paper_repro.report.figures import style as st
from paper_repro.report.figures.registry import figure

SMALLEST_DENSITY = 1e-4  # where a layer with fewer weights, or none, is drawn on a log scale
KEY = ("here", "empty", "paper", "uniform")  # the entries of the key to budgets, in their order
BLUE, CIRCLE = st.LOOKS["str"].colour, st.LOOKS["str"].marker
FAINT_POINTS = {"markersize": 2.5, "linewidth": 0.8}
EMPTY: dict[str, Any] = {"color": BLUE, "marker": "x", "markersize": 4, "markeredgewidth": 0.9, "linestyle": "none"}


def numbered_layers(evidence: Evidence, rows: Rows = STR) -> pd.DataFrame:
    """The layers of every run of some rows, numbered from 1 in the order of the forward pass."""
    runs = [layers.assign(number=layers.index + 1) for _, layers in budgets(evidence, rows, printed=False)]
    return pd.concat(runs, ignore_index=True) if runs else evidence.budgets.iloc[:0]


@figure("layer_budgets", lambda evidence: len(evidence.budgets) > 0 or bool(published_str(evidence)))
def layer_budgets(evidence: Evidence) -> Figure:
    """Sparsity of each layer of the rows of STR and of N:M patterns, the uniform budget as a line, and behind STR's the
    paper's nearest in density, where one is near. Layers that are empty in a run have a mark at the upper edge. Rows
    whose layers all have one density, as under a uniform pattern, are left out.
    """
    patterned = {row.method for row in evidence.table.rows if st.look(row.method).kind == st.N_OF_M}
    layers = numbered_layers(evidence, Rows(methods=(*STR.methods, *patterned)))
    published = published_str(evidence)
    rows = list(dict.fromkeys(layers["row"]))
    trained = [row for row in rows if not _has_one_density(layers[layers["row"] == row])] or rows
    shown = trained or st.evenly(list(published), 6)
    fig, axes = st.grid(len(shown), 2, 1.75)
    handles: dict[str, st.Handle] = {}
    for axis, row in zip(axes, shown, strict=False):
        handles |= _draw_budget(axis, evidence, row, layers[layers["row"] == row])
    st.label_axes(fig, axes, "Number of the layer, from input to output", "Sparsity (%; log of what is left)")
    what = f"sparsity of each layer under {'STR and N:M patterns' if patterned else 'STR'}"
    if left_out := len(rows) - len(trained):
        what += f" ({left_out} row{'s' * (left_out > 1)} with one density in all pruned layers left out)"
    if len(shown) < len(published) and not trained:
        what += f", {len(shown)} of {len(published)} published budgets"
    return st.finish(fig, evidence, what, [handles[name] for name in KEY if name in handles])


def _has_one_density(layers: pd.DataFrame) -> bool:
    """Whether all layers that were pruned at all have the same density, in every run of a row."""
    pruned = layers.loc[layers["sparsity_pct"] > 0, "sparsity_pct"]
    return len(pruned) > 0 and float(pruned.max() - pruned.min()) < UNIFORM_PCT


def _draw_budget(axis: Axes, evidence: Evidence, row: str, layers: pd.DataFrame) -> dict[str, st.Handle]:
    """One row's layers; the entries of the key to what was drawn."""
    measured = evidence.summary(row, "sparsity_pct")
    overall = (evidence.table.row(row).reported.sparsity_pct or 0.0) if measured is None else measured.mean
    nearest, paper = nearest_published(evidence, overall) if evidence.table.row(row).is_str else ("", {})
    handles: dict[str, st.Handle] = {}
    if len(layers):
        handles |= _draw_layers(axis, layers)
    if paper:
        origin = st.REPORTED | FAINT_POINTS
        axis.plot(
            range(1, len(paper) + 1), list(paper.values()), color=st.PAPER_GREY, marker="s", zorder=2, **origin
        )  # fmt: skip
        near = f"Reported: the paper's nearest budget (density within {NEAR:.1f}x)"
        handles["paper"] = st.handle(near if len(layers) else "Reported: budget", st.PAPER_GREY, "s", origin)
    names = list(dict.fromkeys(layers["layer"])) or list(paper)
    axis.axhline(overall, linewidth=1.0, **st.UNIFORM, zorder=1)
    st.budget_axis(axis, min([overall, *paper.values(), *layers["sparsity_pct"]]))
    axis.set(xlim=(0, max(len(names), 1) + 1), xlabel="", ylabel="")
    _mark_stages(axis, names)
    of_paper = f"; reported: {nearest}" if nearest else ""
    made_by = f"(n = {layers['seed'].nunique()}){of_paper}" if len(layers) else "reported"
    axis.set_title(f"{row}: {overall:.2f} % {made_by}")
    return handles | {"uniform": st.key("Uniform budget", **st.UNIFORM)}


def _draw_layers(axis: Axes, layers: pd.DataFrame) -> dict[str, st.Handle]:
    """The layers of a row's runs. The mean over seeds would not show an empty one, and a nearly empty one lies as
    high: so there are marks at the edge.
    """
    look = st.REPRODUCED | FAINT_POINTS
    sns.lineplot(
        layers, x="number", y="sparsity_pct", ax=axis, errorbar=("pi", 100), err_kws={"alpha": 0.2, "linewidth": 0},
        color=BLUE, marker=CIRCLE, markeredgewidth=0, zorder=3, **look,
    )  # fmt: skip
    handles = {"here": st.handle("Reproduced (mean; band: range over seeds)", BLUE, CIRCLE, look)}
    empty = layers.loc[layers["sparsity_pct"] == 100.0, "number"].unique()
    if len(empty):
        edge = [1.0] * len(empty)
        axis.plot(empty, edge, transform=axis.get_xaxis_transform(), clip_on=False, zorder=5, gid="empty", **EMPTY)
        handles["empty"] = st.key("No weight left (in at least one seed)", **EMPTY)
    return handles


def _mark_stages(axis: Axes, layers: Iterable[str]) -> None:
    """A tick where a stage of the network begins, with its name."""
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
    axis.set_xticks(indices, labels)


@figure(
    "densities_against_paper",
    lambda evidence: bool(_near_the_paper(evidence)),
    "no run is near a budget of the paper in density",
)
def densities_against_paper(evidence: Evidence) -> Figure:
    """Every layer's density here over its density in the paper's model of the nearest sparsity, with the correlation r
    of their logarithms. Layers that are empty in every seed have a mark on the lower edge, and r leaves them out.
    """
    layers, shown = numbered_layers(evidence), _near_the_paper(evidence)
    fig, axes = st.grid(len(shown), 3, 2.2, sharex=True, sharey=True)
    for axis, row in zip(axes, shown, strict=False):
        _draw_densities(axis, evidence, row, layers[layers["row"] == row])
    st.label_axes(fig, axes, "Share kept in the paper (log scale)", "Share that a layer keeps here (log)")
    handles = [st.handle("A layer (mean over seeds)", BLUE, CIRCLE, st.REPRODUCED | st.POINTS)]
    if any(line.get_gid() == "empty" for axis in axes for line in axis.lines):
        handles.append(st.key("Empty in every seed: left out of r", **EMPTY))
    handles.append(st.key("As in the paper", **st.UNIFORM))
    what = "densities of the layers against the paper's, with the correlation r of their logarithms"
    return st.finish(fig, evidence, what, handles)


def _near_the_paper(evidence: Evidence) -> list[str]:
    """The rows of STR with runs whose mean sparsity is near that of a budget of the paper."""
    return [row for row in dict.fromkeys(numbered_layers(evidence)["row"]) if _nearest(evidence, row)[1]]


def _nearest(evidence: Evidence, row: str) -> tuple[str, dict[str, float]]:
    """The paper's budget that is near the row's mean sparsity; "" and no layers where none is, and for no sparsity."""
    measured = evidence.summary(row, "sparsity_pct")
    return ("", {}) if measured is None else nearest_published(evidence, measured.mean)


def _draw_densities(axis: Axes, evidence: Evidence, row: str, layers: pd.DataFrame) -> None:
    measured, (nearest, budget) = evidence.summary(row, "sparsity_pct"), _nearest(evidence, row)
    assert measured is not None
    here, paper, r = agreement(layers, budget)
    axis.plot([SMALLEST_DENSITY, 1], [SMALLEST_DENSITY, 1], linewidth=1.0, **st.UNIFORM)
    gone = here == 0
    axis.plot(
        paper[~gone].clip(lower=SMALLEST_DENSITY), here[~gone].clip(lower=SMALLEST_DENSITY), CIRCLE, color=BLUE,
        markersize=3.5, alpha=0.7, markeredgewidth=0, zorder=3, clip_on=False,
    )  # fmt: skip
    if gone.any():
        edge = [SMALLEST_DENSITY] * int(gone.sum())
        axis.plot(paper[gone].clip(lower=SMALLEST_DENSITY), edge, zorder=4, clip_on=False, gid="empty", **EMPTY)
    axis.set(xscale="log", yscale="log", xlim=(SMALLEST_DENSITY, 1.1), ylim=(SMALLEST_DENSITY, 1.1))
    title = f"{row}: {measured.mean:.2f} % (n = {layers['seed'].nunique()})"
    empty = empty_by_seed(evidence, row)
    told = "/".join(map(str, empty)) if len(empty) <= 3 else f"{min(empty)} to {max(empty)}"  # no room for more
    counted = f"\nempty layers, by seed: {told}" if any(empty) else ""
    axis.set_title(f"{title}\nreported: {nearest}; r = {r:.2f}{counted}")


@figure("macs_against_uniform")
def macs_against_uniform(evidence: Evidence) -> Figure:
    """Multiply-adds as a share of what a uniform budget of the same sparsity needs. One panel has the paper's budgets
    on the paper's network, with and without the classifier; the other, where runs are, those of the trained networks
    and the paper's densities on the same network, which has its weights and multiply-adds elsewhere.
    """
    printed = [layers for _, layers in budgets(evidence, STR, printed=True)]
    trained = [layers for _, layers in budgets(evidence, STR, printed=False)]
    paper = ("The paper's budgets", st.PAPER_GREY, "s", st.REPORTED)
    rest = ("The same without the classifier", st.PAPER_GREY, "D", st.REPORTED)
    here = ("Budgets of the trained networks", BLUE, CIRCLE, st.REPRODUCED | st.POINTS)
    panels = [("On the paper's network", ((paper, printed), (rest, list(map(backbone, printed)))))]
    if trained:
        theirs = list(under_published(evidence, trained[0]).values())
        panels.append(("On the network that was trained", ((paper, theirs), (here, trained))))
    fig = st.new_figure(3.6)
    axes = list(fig.subplots(1, len(panels), sharey=True, squeeze=False).flat)
    handles = {"": st.key("Uniform budget", **st.UNIFORM)}
    for axis, (title, series) in zip(axes, panels, strict=True):
        axis.axhline(1.0, linewidth=1.0, **st.UNIFORM)
        axis.set_title(title)
        for (label, colour, marker, origin), networks in series:
            if networks:
                cost = pd.DataFrame(map(against_uniform, networks)).sort_values(["sparsity_pct", "ratio"])
                axis.plot(cost["sparsity_pct"], cost["ratio"], color=colour, marker=marker, zorder=3, **origin)
                handles[label] = st.handle(label, colour, marker, origin)
        st.sparsity_axis(axis)
        axis.set_yscale("log")
        st.plain_ticks(axis.yaxis, FixedLocator([0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0]))
    st.label_axes(fig, axes, "Sparsity of these layers (%; log of what is left)", "MACs relative to uniform (log)")
    return st.finish(fig, evidence, "multiply-adds of STR's budgets against uniform ones", list(handles.values()))
