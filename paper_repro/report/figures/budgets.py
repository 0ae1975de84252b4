"""What each layer keeps: learnt budgets beside the published ones, what they cost, and how alike they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator

from paper_repro import tables
from paper_repro.evidence.evidence import Evidence
from paper_repro.paper.printed import LayerRow
from paper_repro.report.figures.registry import Need, figure, printed_or_run
from paper_repro.report.figures.style import (
    LOOKS,
    N_OF_M,
    PAPER_GREY,
    POINTS,
    REPORTED,
    REPRODUCED,
    budget_axis,
    evenly,
    finish,
    grid,
    handle,
    label_axes,
    look,
    new_figure,
    plain_ticks,
    sparsity_axis,
)
from paper_repro.tables import layer_rows

SMALLEST_DENSITY = 1e-4  # where a layer without weights is drawn, on a log scale
BLUE, CIRCLE = LOOKS["str"].colour, LOOKS["str"].marker
FAINT_POINTS = {"markersize": 2.5, "linewidth": 0.8}


def published_str(evidence: Evidence) -> dict[str, dict[str, float]]:
    """The paper's budgets of the rows of this table that are STR's."""
    rows = {row.id for row in evidence.table.rows if row.method == "str"}
    return {name: dict(budget) for name, budget in tables.budgets(evidence.table.name).items() if name in rows}


def nearest_published(evidence: Evidence, sparsity_pct: float) -> str | None:
    """The published STR budget whose printed sparsity is the nearest; None for a table without."""

    def distance(name: str) -> float:
        return abs((evidence.table.row(name).reported.sparsity_pct or 0.0) - sparsity_pct)

    return min(published_str(evidence), key=distance, default=None)


def _layers(evidence: Evidence, *methods: str) -> pd.DataFrame:
    """The layers of every run of these methods, numbered from 1 in the order of the forward pass."""
    runs = [layers.assign(number=range(1, len(layers) + 1)) for _, _, layers in evidence.run_budgets(*methods)]
    return pd.concat(runs, ignore_index=True) if runs else evidence.budgets.iloc[:0]


@figure("layer_budgets", printed_or_run(lambda evidence: len(evidence.budgets) > 0 or bool(published_str(evidence))))
def layer_budgets(evidence: Evidence) -> Figure:
    """Sparsity of each layer of the rows of STR and of N:M patterns, the uniform budget as a line, and behind STR's the
    nearest one of the paper.
    """
    methods = {row.method for row in evidence.table.rows if look(row.method).kind == N_OF_M}
    layers, published = _layers(evidence, "str", *methods), published_str(evidence)
    trained = list(dict.fromkeys(layers["row"]))
    shown = trained or evenly(list(published), 6)
    fig, axes = grid(len(shown), 2, 1.75)
    for axis, row in zip(axes, shown, strict=False):
        of_paper = published if evidence.table.row(row).method == "str" else {}
        _draw_budget(axis, evidence, row, layers[layers["row"] == row], of_paper)
    label_axes(fig, axes, "Number of the layer, from input to output", "Sparsity (%; log of what is left)")
    reported = f"Reported: {'nearest ' if trained else ''}budget"
    handles: list[Line2D | Patch] = [
        handle(reported, PAPER_GREY, "s", REPORTED | FAINT_POINTS),
        Line2D([], [], color="black", linestyle=":", label="Uniform budget"),
    ]
    if trained:
        handles.insert(0, handle("Reproduced (mean; band: range over seeds)", BLUE, CIRCLE, REPRODUCED | FAINT_POINTS))
    some = f", {len(shown)} of {len(published)} published budgets" if len(shown) < len(published) else ""
    under = "under STR" + (" and N:M patterns" if methods else "")
    return finish(fig, evidence, f"sparsity of each layer {under}" + ("" if trained else some), handles)


def _draw_budget(
    axis: Axes, evidence: Evidence, row: str, layers: pd.DataFrame, published: Mapping[str, Mapping[str, float]]
) -> None:
    measured = evidence.summary(row, "sparsity_pct")
    overall = (evidence.table.row(row).reported.sparsity_pct or 0.0) if measured is None else measured.mean
    nearest = nearest_published(evidence, overall) if published else None
    paper = [] if nearest is None else list(published[nearest].values())
    names = list(published[nearest]) if nearest is not None else []
    axis.plot(range(1, len(paper) + 1), paper, color=PAPER_GREY, marker="s", zorder=2, **REPORTED | FAINT_POINTS)
    if len(layers):
        names = list(dict.fromkeys(layers["layer"]))
        sns.lineplot(
            layers, x="number", y="sparsity_pct", ax=axis, errorbar=("pi", 100), err_kws={"alpha": 0.2, "linewidth": 0},
            color=BLUE, marker=CIRCLE, markeredgewidth=0, zorder=3, **REPRODUCED | FAINT_POINTS,
        )  # fmt: skip
    axis.axhline(overall, color="black", linestyle=":", linewidth=1.0, zorder=1)
    budget_axis(axis, min([overall, *paper, *layers["sparsity_pct"]]))
    axis.set(xlim=(0, max(len(names), 1) + 1), xlabel="", ylabel="")
    _mark_stages(axis, names)
    if not len(layers):
        axis.set_title(f"{row}: {overall:.2f} % reported")
        return
    of_paper = "" if nearest in (None, row) else f"; reported: {nearest}"
    axis.set_title(f"{row}: {overall:.2f} % (n = {layers['seed'].nunique()}){of_paper}")


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


RUN_BUDGETS = Need(lambda evidence: any(True for _ in evidence.run_budgets("str")), "nothing was run")


@figure("densities_against_paper", RUN_BUDGETS)
def densities_against_paper(evidence: Evidence) -> Figure:
    """Every layer's density here over its density in the paper's model of the nearest sparsity, with the correlation of
    logarithms over the layers that keep weights; empty layers lie on the lower edge.
    """
    layers = _layers(evidence, "str")
    shown = [row for row in dict.fromkeys(layers["row"]) if evidence.summary(row, "sparsity_pct") is not None]
    fig, axes = grid(len(shown), 3, 2.1, sharex=True, sharey=True)
    for axis, row in zip(axes, shown, strict=False):
        _draw_densities(axis, evidence, row, layers[layers["row"] == row])
    label_axes(fig, axes, "Share kept in the paper (log scale)", "Share that a layer keeps here (log)")
    handles = [
        handle("A layer (mean over seeds)", BLUE, CIRCLE, REPRODUCED | POINTS),
        Line2D([], [], color="black", linestyle=":", label="As in the paper"),
    ]
    return finish(fig, evidence, "densities of the layers against the paper's", handles)


def _draw_densities(axis: Axes, evidence: Evidence, row: str, layers: pd.DataFrame) -> None:
    measured = evidence.summary(row, "sparsity_pct")
    nearest = None if measured is None else nearest_published(evidence, measured.mean)
    if measured is None or nearest is None:
        return
    here = 1.0 - layers.groupby("layer", sort=False)["sparsity_pct"].mean() / 100.0
    paper = 1.0 - pd.Series(published_str(evidence)[nearest])[here.index] / 100.0
    kept = (here > 0) & (paper > 0)
    r = float(np.corrcoef(np.log(here[kept]), np.log(paper[kept]))[0, 1]) if kept.sum() > 2 else float("nan")
    axis.plot([SMALLEST_DENSITY, 1], [SMALLEST_DENSITY, 1], color="black", linestyle=":", linewidth=1.0)
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
    """Multiply-adds as a share of what a uniform budget of the same sparsity needs: the paper's budgets; the trained
    networks; and the trained densities on the paper's full-size layers, whose multiply-adds lie elsewhere.
    """
    full = layer_rows(evidence.table.name)
    trained = [layers for _, _, layers in evidence.run_budgets("str")]
    moved = [_full_size(dict(zip(b["layer"], b["sparsity_pct"], strict=True)), full) for b in trained]
    published = [_full_size(budget, full) for budget in published_str(evidence).values()]
    fig = new_figure(3.6)
    axis = fig.subplots()
    axis.axhline(1.0, color="black", linestyle=":", linewidth=1.0)
    handles: list[Line2D | Patch] = [Line2D([], [], color="black", linestyle=":", label="Uniform budget")]
    for label, colour, marker, origin, budgets in (
        ("Reported: the paper's STR budgets", PAPER_GREY, "s", REPORTED, published),
        ("Reproduced: the trained networks", BLUE, CIRCLE, REPRODUCED | POINTS, trained),
        ("Their densities on the paper's full-size layers", BLUE, "D", REPORTED | POINTS, moved),
    ):
        if budgets:
            sparsity, share = np.array(sorted(map(_cost, budgets))).T
            axis.plot(sparsity, share, color=colour, marker=marker, zorder=3, **origin)
            handles.append(handle(label, colour, marker, origin))
    axis.set_xlabel("Sparsity of the weights (%; log scale of what is left)")
    axis.set_ylabel("MACs relative to uniform (log scale)")
    sparsity_axis(axis)
    axis.set_yscale("log")
    plain_ticks(axis.yaxis, FixedLocator([0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0]))
    return finish(fig, evidence, "multiply-adds of STR's budgets against uniform ones", handles)


def _full_size(budget: Mapping[str, float], counts: Mapping[str, LayerRow]) -> pd.DataFrame:
    """A budget on the full-size layers of the same names."""
    params, macs = ([getattr(counts[layer], name) for layer in budget] for name in ("params", "macs"))
    return pd.DataFrame({"params": params, "macs": macs, "sparsity_pct": list(budget.values())})


def _cost(layers: pd.DataFrame) -> tuple[float, float]:
    """(overall sparsity in percent, MACs as a share of those of a uniform budget at that sparsity)."""
    density = 1.0 - layers["sparsity_pct"] / 100.0
    kept = float((layers["params"] * density).sum() / layers["params"].sum())
    macs = float((layers["macs"] * density).sum() / layers["macs"].sum())
    return 100.0 * (1.0 - kept), macs / kept if kept else 1.0
