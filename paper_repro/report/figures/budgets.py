"""What each layer keeps: learnt budgets beside the published ones, what they cost, and how alike they are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from paper_repro.evidence.evidence import Evidence
from paper_repro.evidence.layers import (
    STR,
    against_uniform,
    agreement,
    at_full_size,
    backbone,
    budgets,
    nearest_published,
    published_str,
)
from paper_repro.experiments.claims import Rows
from paper_repro.report.figures import style as st
from paper_repro.report.figures.registry import NO_RUNS, figure

SMALLEST_DENSITY = 1e-4  # where a layer without weights is drawn, on a log scale
BLUE, CIRCLE = st.LOOKS["str"].colour, st.LOOKS["str"].marker
UNIFORM: dict[str, Any] = {"color": "black", "linestyle": ":"}
FAINT_POINTS = {"markersize": 2.5, "linewidth": 0.8}


def numbered_layers(evidence: Evidence, rows: Rows = STR) -> pd.DataFrame:
    """The layers of every run of some rows, numbered from 1 in the order of the forward pass."""
    runs = [layers.assign(number=layers.index + 1) for _, layers in budgets(evidence, rows, printed=False)]
    return pd.concat(runs, ignore_index=True) if runs else evidence.budgets.iloc[:0]


@figure("layer_budgets", lambda evidence: len(evidence.budgets) > 0 or bool(published_str(evidence)))
def layer_budgets(evidence: Evidence) -> Figure:
    """Sparsity of each layer of the rows of STR and of N:M patterns, the uniform budget as a line, and behind STR's the
    nearest one of the paper.
    """
    patterned = {row.method for row in evidence.table.rows if st.look(row.method).kind == st.N_OF_M}
    layers = numbered_layers(evidence, Rows(methods=(*STR.methods, *patterned)))
    published = published_str(evidence)
    trained = list(dict.fromkeys(layers["row"]))
    shown = trained or st.evenly(list(published), 6)
    fig, axes = st.grid(len(shown), 2, 1.75)
    for axis, row in zip(axes, shown, strict=False):
        _draw_budget(axis, evidence, row, layers[layers["row"] == row])
    st.label_axes(fig, axes, "Number of the layer, from input to output", "Sparsity (%; log of what is left)")
    handles = [
        st.handle(f"Reported: {'nearest ' if trained else ''}budget", st.PAPER_GREY, "s", st.REPORTED | FAINT_POINTS),
        st.key("Uniform budget", **UNIFORM),
    ]
    if trained:
        here = st.handle("Reproduced (mean; band: range over seeds)", BLUE, CIRCLE, st.REPRODUCED | FAINT_POINTS)
        handles.insert(0, here)
    some = f", {len(shown)} of {len(published)} published budgets" if len(shown) < len(published) else ""
    under = "STR and N:M patterns" if patterned else "STR"
    return st.finish(fig, evidence, f"sparsity of each layer under {under}" + ("" if trained else some), handles)


def _draw_budget(axis: Axes, evidence: Evidence, row: str, layers: pd.DataFrame) -> None:
    measured = evidence.summary(row, "sparsity_pct")
    overall = (evidence.table.row(row).reported.sparsity_pct or 0.0) if measured is None else measured.mean
    is_str = evidence.table.row(row).method in STR.methods
    nearest, paper = nearest_published(evidence, overall) if is_str else ("", {})
    axis.plot(
        range(1, len(paper) + 1), list(paper.values()), color=st.PAPER_GREY, marker="s", zorder=2,
        **st.REPORTED | FAINT_POINTS,
    )  # fmt: skip
    names = list(dict.fromkeys(layers["layer"])) or list(paper)
    if len(layers):
        sns.lineplot(
            layers, x="number", y="sparsity_pct", ax=axis, errorbar=("pi", 100), err_kws={"alpha": 0.2, "linewidth": 0},
            color=BLUE, marker=CIRCLE, markeredgewidth=0, zorder=3, **st.REPRODUCED | FAINT_POINTS,
        )  # fmt: skip
    axis.axhline(overall, linewidth=1.0, **UNIFORM, zorder=1)
    st.budget_axis(axis, min([overall, *paper.values(), *layers["sparsity_pct"]]))
    axis.set(xlim=(0, max(len(names), 1) + 1), xlabel="", ylabel="")
    _mark_stages(axis, names)
    of_paper = "" if nearest in ("", row) else f"; reported: {nearest}"
    made_by = f"(n = {layers['seed'].nunique()}){of_paper}" if len(layers) else "reported"
    axis.set_title(f"{row}: {overall:.2f} % {made_by}")


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


@figure("densities_against_paper", lambda evidence: len(numbered_layers(evidence)) > 0, NO_RUNS)
def densities_against_paper(evidence: Evidence) -> Figure:
    """Every layer's density here over its density in the paper's model of the nearest sparsity, with the correlation of
    logarithms over the layers that keep weights; empty layers lie on the lower edge.
    """
    layers = numbered_layers(evidence)
    shown = [row for row in dict.fromkeys(layers["row"]) if evidence.summary(row, "sparsity_pct") is not None]
    fig, axes = st.grid(len(shown), 3, 2.1, sharex=True, sharey=True)
    for axis, row in zip(axes, shown, strict=False):
        _draw_densities(axis, evidence, row, layers[layers["row"] == row])
    st.label_axes(fig, axes, "Share kept in the paper (log scale)", "Share that a layer keeps here (log)")
    handles = [
        st.handle("A layer (mean over seeds)", BLUE, CIRCLE, st.REPRODUCED | st.POINTS),
        st.key("As in the paper", **UNIFORM),
    ]
    return st.finish(fig, evidence, "densities of the layers against the paper's", handles)


def _draw_densities(axis: Axes, evidence: Evidence, row: str, layers: pd.DataFrame) -> None:
    measured = evidence.summary(row, "sparsity_pct")
    assert measured is not None
    nearest, budget = nearest_published(evidence, measured.mean)
    if not budget:
        return
    here, paper, r = agreement(layers, budget)
    axis.plot([SMALLEST_DENSITY, 1], [SMALLEST_DENSITY, 1], linewidth=1.0, **UNIFORM)
    axis.plot(
        paper.clip(lower=SMALLEST_DENSITY), here.clip(lower=SMALLEST_DENSITY), CIRCLE, color=BLUE, markersize=3.5,
        alpha=0.7, markeredgewidth=0, zorder=3, clip_on=False,
    )  # fmt: skip
    axis.set(xscale="log", yscale="log", xlim=(SMALLEST_DENSITY, 1.1), ylim=(SMALLEST_DENSITY, 1.1))
    empty = int((here == 0).sum())
    title = f"{row}: {measured.mean:.2f} % (n = {layers['seed'].nunique()})"
    of_paper = "" if nearest == row else f"\nreported: {nearest}"
    axis.set_title(f"{title}{of_paper}\nr = {r:.2f}" + (f", {empty} empty" if empty else ""))


@figure("macs_against_uniform")
def macs_against_uniform(evidence: Evidence) -> Figure:
    """Multiply-adds as a share of what a uniform budget of the same sparsity needs, under the paper's budgets and under
    those of the trained networks: of all layers, and of all but the classifier. The latter also with the trained
    densities on the paper's full-size layers, whose multiply-adds lie elsewhere.
    """
    trained = [layers for _, layers in budgets(evidence, STR, printed=False)]
    published = [layers for _, layers in budgets(evidence, STR, printed=True)]
    moved = [] if evidence.full_scale else [at_full_size(evidence.table.name, layers) for layers in trained]
    moved = [layers for layers in moved if len(layers)]
    fig = st.new_figure(3.6)
    whole, rest = axes = fig.subplots(1, 2, sharey=True)
    handles = [st.key("Uniform budget", **UNIFORM)]
    for label, colour, marker, origin, networks in (
        ("Reported: the paper's STR budgets", st.PAPER_GREY, "s", st.REPORTED, published),
        ("Reproduced: the trained networks", BLUE, CIRCLE, st.REPRODUCED | st.POINTS, trained),
        ("Their densities on the paper's full-size layers", BLUE, "D", st.REPORTED | st.POINTS, moved),
    ):
        if networks:
            handles.append(st.handle(label, colour, marker, origin))
            for axis, of in ((whole, [] if networks is moved else networks), (rest, map(backbone, networks))):
                cost = pd.DataFrame(map(against_uniform, of), columns=["sparsity_pct", "ratio"])
                cost = cost.sort_values(["sparsity_pct", "ratio"])
                axis.plot(cost["sparsity_pct"], cost["ratio"], color=colour, marker=marker, zorder=3, **origin)
    for axis, title in zip(axes, ("All layers", "Without the classifier"), strict=True):
        axis.axhline(1.0, linewidth=1.0, **UNIFORM)
        axis.set_title(title)
        st.sparsity_axis(axis)
        axis.set_yscale("log")
        st.plain_ticks(axis.yaxis, FixedLocator([0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0]))
    st.label_axes(fig, axes, "Sparsity of these layers (%; log of what is left)", "MACs relative to uniform (log)")
    return st.finish(fig, evidence, "multiply-adds of STR's budgets against uniform ones", handles)
