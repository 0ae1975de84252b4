"""The balance of thresholds in words and tables: on the paper's data, in the runs, and in learnt ranks. Every number is
from ``results/``. It is the project's own finding (``docs/balance.md``), and no verdict on the paper.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from paper_repro import tables
from paper_repro.data.catalog import dataset
from paper_repro.evidence import evidence as ev
from paper_repro.evidence import results
from paper_repro.evidence.evidence import Evidence
from paper_repro.report.markdown import NOT_RUN, heading, markdown_table
from paper_repro.tables import AUDIT

NEAR = 1.5  # that of methods/balance.py, which needs torch
AT_REST = 0.1  # of L1 per unit of pull: slower than this it stands still
RIVALS = {
    "by weights": "number of weights alone",
    "by position": "position alone",
    "by fan-in": "fan-in alone",
    "permuted": "chance (printed thresholds, permuted)",
    "uniform": "equal density in every layer",
}


# -- what was recorded -------------------------------------------------------------------------------------------------


def recorded(evidence: Evidence) -> pd.DataFrame:
    """The layers of the STR rows whose runs recorded the balance: the budgets, with ``kept_weights`` and
    ``implied_l1``, the L1 norm at which their threshold would be balanced. Layers without weights are left out.
    """
    layers = evidence.budgets[_of_str(evidence, evidence.budgets) & evidence.budgets["kept_l1"].gt(0)].copy()
    layers["kept_weights"] = layers["params"] * (1.0 - layers["sparsity_pct"] / 100.0)
    layers["implied_l1"] = layers["kept_l1"] / layers["balance"].where(layers["balance"] > 0)
    return layers


def _with_empty_ones(evidence: Evidence) -> pd.DataFrame:
    """The same budgets, those of layers without weights among them."""
    return evidence.budgets[_of_str(evidence, evidence.budgets) & evidence.budgets["balance"].notna()]


def watched(evidence: Evidence) -> pd.DataFrame:
    """The history of the STR rows whose runs recorded the balance."""
    history = evidence.history
    return history[_of_str(evidence, history) & history["balance_median"].notna()]


def _of_str(evidence: Evidence, frame: pd.DataFrame) -> pd.Series:
    """The lines of rows that learn a threshold for each layer, under an N:M pattern too."""
    return frame["row"].isin([row.id for row in evidence.table.rows if row.method in ("str", "str-nm")])


# -- the paper's data --------------------------------------------------------------------------------------------------


OF_THE_PAPER = """\
- Implied L1 goes with the number of kept weights: correlation of the logarithms {correlation:.3f} over {layers:.0f} \
layers ({correlation low:.3f} to {correlation high:.3f} within the accuracy of the figure; \
{correlation_without_classifier:.3f} without the classifier). The number of kept weights explains \
{explained by kept weights:.0f} % of the variance of log implied L1, the number of weights \
{explained by weights:.0f} %, position {explained by position:.0f} %, fan-in {explained by fan-in:.0f} %, the last \
three together {explained by weights, fan-in and position:.0f} %, density alone {explained by density:.0f} %. Fan-in \
adds nothing to the number of kept weights ({explained by kept weights and fan-in:.0f} % together).
- L1 is number of weights * density * mean |w|, so both should have an exponent near 1. The fit gives implied L1 ~ \
weights^{weights_coefficient:.2f} density^{density_coefficient:.2f}, which leaves a factor {left:.2f} (one standard \
deviation). Between layers of equal size and fan-in ({same_shape_groups:.0f} groups) the exponent of density is \
{same_shape_slope low:.2f} to {same_shape_slope high:.2f}.
- The scale is right with nothing fitted. The implied mean |w| of a kept weight is {implied_mean:.3f} \
({implied_mean low:.3f} to {implied_mean high:.3f}): {implied_mean_over_initial:.2f} \
({implied_mean_over_initial low:.2f} to {implied_mean_over_initial high:.2f}) times the standard deviation of a fresh \
network's weights. It is above the layer's threshold in {layers_above_threshold:.0f} of {layers:.0f} layers; with \
randomly permuted thresholds in {permuted layers_above_threshold:.0f} ({permuted layers_above_threshold low:.0f} to \
{permuted layers_above_threshold high:.0f}). Its largest value is {implied_mean_spread:.1f} times its smallest; with \
permuted thresholds, {permuted implied_mean_spread:,.0f} times (at least {permuted implied_mean_spread low:,.0f}).
- Not explained: the implied mean is {implied_mean_over_threshold:.1f} times the threshold \
({implied_mean_over_threshold low:.1f} to {implied_mean_over_threshold high:.1f}). Were the kept weights the tail of a \
Gaussian, their L1 would be {gaussian_tail_l1_over_implied:.2f} of the implied one, so the law needs layers in which \
few kept weights are near the threshold. The paper prints nothing that could show it.

The same numbers where something else decides the thresholds, and Gaussian weights the densities (with Laplace weights \
they differ little: `results/resnet50/balance_tests.csv`):

"""


def paper_markdown(tests: pd.DataFrame) -> str:
    """What Figure 3 and Table 6 say about the balance, and what they would say if something else set the thresholds."""
    if not len(tests):
        return "The audit has not been written: `python -m paper_repro audit resnet50`.\n"
    numbers: dict[str, float] = {}
    for line in tests.to_dict("records"):
        name = line["quantity"] if line["test"] == "paper" else f"{line['test']} {line['quantity']}"
        unit = 100 if name.startswith("explained by") else 1
        numbers |= {name: unit * line["value"], f"{name} low": line["low"], f"{name} high": line["high"]}
    rows = [["**the paper's own**", *_rival(numbers, "", "not printed; 1 if balanced")]]
    rows += [[words, *_rival(numbers, f"{test}, gaussian ")] for test, words in RIVALS.items()]
    header = ["Thresholds decided by", "Correlation", "Exponent of kept weights", "Exponent of density"]
    return OF_THE_PAPER.format(**numbers) + markdown_table([*header, "L1 / implied L1"], rows)


def _rival(numbers: Mapping[str, float], test: str, ratio: str = "") -> list[str]:
    """One line of the table: the numbers of a test, with their ranges where they are drawn at random."""

    def cell(quantity: str, fmt: str) -> str:
        name = f"{test}{quantity}"
        if name not in numbers:
            return "–"
        low, high = numbers[f"{name} low"], numbers[f"{name} high"]
        drawn = math.isfinite(low) and test
        return format(numbers[name], fmt) + (f" [{low:{fmt}}, {high:{fmt}}]" if drawn else "")

    cells = [cell("correlation", ".3f"), cell("slope", ".2f"), cell("density_coefficient", ".2f")]
    return [*cells, ratio or cell("l1_over_implied", ".2g")]


# -- runs --------------------------------------------------------------------------------------------------------------


def runs_markdown(evidence: Evidence, legend: bool = True) -> str:
    """Where the runs of a table come to balance and where not; a sentence where nothing was recorded."""
    layers = {str(row): own for row, own in _with_empty_ones(evidence).groupby("row", sort=False)}
    if not layers:
        return "No run of this tier has recorded the balance of its thresholds.\n"
    falls = {row: _fall(evidence, row) for row in layers}
    rows = []
    for row, own in layers.items():
        fall = falls[row]
        cells = [f"`{row}`", str(own["seed"].nunique()), *_of_layers(own), "–" if fall is None else f"{fall:.2f}"]
        rows.append(cells)
    header = ["Row", "Seeds", "Ratio: median over layers (range)", f"Layers within a factor {NEAR:g} of 1"]
    header += ["Layers without weights", "Mean kept weight / threshold, median", "Decrease of ln L1 per unit of decay"]
    at_rest = [row for row, fall in falls.items() if fall is not None and fall < AT_REST]
    told = f"{_near_balance(layers)} At rest: {_named(at_rest)}."
    return f"{markdown_table(header, rows)}\n{told}\n" + (f"\n{LEGEND}" if legend else "")


def _of_layers(layers: pd.DataFrame) -> list[str]:
    """The ratios of a row's layers, how many are near 1, how many have no weights, and how large kept weights are."""
    kept = _keeping_weights(layers)
    ratio = kept["balance"]
    counts = [f"{_near(ratio)} of {len(kept)}", f"{len(layers) - len(kept)} of {len(layers)}"]
    if not len(kept):
        return ["–", *counts, "–"]
    mean_over_threshold = kept["kept_l1"] / (kept["params"] * (1 - kept["sparsity_pct"] / 100)) / kept["threshold"]
    ratios = f"{ratio.median():.2f} ({ratio.min():.2g} to {ratio.max():.3g})"
    return [ratios, *counts, f"{mean_over_threshold.median():.2f}"]


def _near_balance(layers: Mapping[str, pd.DataFrame]) -> str:
    """Which rows have a median ratio near 1, above and below it. Rows without any weight are in none of these."""
    ratios = {row: _keeping_weights(own)["balance"] for row, own in layers.items()}
    medians = {row: ratio.median() for row, ratio in ratios.items() if len(ratio)}
    above = [row for row, median in medians.items() if median > NEAR]
    below = [row for row, median in medians.items() if median < 1 / NEAR]
    near = [row for row in medians if row not in above + below]
    text = f"The median ratio is within a factor {NEAR:g} of 1 in: {_named(near)}"
    if near:
        counts = sum(_near(ratios[row]) for row in near), sum(len(ratios[row]) for row in near)
        text += f"; in these rows, {counts[0]} of {counts[1]} single layers are within that factor, too"
    others = (f" {where}: {_named(rows)}." for where, rows in (("Above", above), ("Below", below)) if rows)
    return f"{text}.{''.join(others)}"


def _keeping_weights(layers: pd.DataFrame) -> pd.DataFrame:
    return layers[layers["kept_l1"] > 0]


def _near(ratios: pd.Series) -> int:
    return int(ratios.between(1 / NEAR, NEAR).sum())


def _named(rows: Iterable[str]) -> str:
    return ", ".join(f"`{row}`" for row in rows) or "none"


def stages_markdown(results_dir: Path) -> str:
    """The same stage by stage of ResNet50: the median ratio over layers and seeds, and how many of these are empty."""
    lines, stages = [], ["conv1", *(f"layer{stage}" for stage in range(1, 5)), "fc"]
    for tier in tables.load("resnet50").tiers:
        evidence = ev.load("resnet50", tier, results_dir)
        layers = _with_empty_ones(evidence)
        stage = layers["layer"].str.split(".").str[0]
        for row, own in layers.groupby("row", sort=False):
            parts = [own[stage.loc[own.index] == name] for name in stages]
            lines.append([tier, f"`{row}`", *map(_ratio_of_stage, parts)])
    return markdown_table(["Tier", "Row", *(f"`{name}`" for name in stages)], lines) if lines else NOT_RUN


def _ratio_of_stage(layers: pd.DataFrame) -> str:
    kept = _keeping_weights(layers)
    empty = f" ({len(layers) - len(kept)} of {len(layers)} empty)" if len(kept) < len(layers) else ""
    return (f"{kept['balance'].median():.2f}" if len(kept) else "–") + empty


LEGEND = (
    "A median above 1 means that the loss still pulled the thresholds down harder than decay lifted them when the "
    "learning rate ran out; below 1, decay still lifted them. In layers without weights the loss does not pull: their "
    "thresholds rise by decay alone, and they are left out of the ratios. The last column is -d ln(L1) / d(lambda "
    f"sum(lr) / (1 - momentum)) over the last quarter of that decay: 0 (below {AT_REST:g}) is rest, 1 is what decay "
    "alone does, and above 1 weights are also being pruned.\n"
)


def _fall(evidence: Evidence, row: str) -> float | None:
    """How fast the L1 norm of a row's kept weights still fell, mean over seeds; None where it was not recorded."""
    falls = []
    data = evidence.row_runs(row).set_index("seed")["dataset"]
    history = evidence.history[evidence.history["row"] == row].dropna(subset=["kept_l1", "lr"])
    for seed, lines in history.groupby("seed"):
        pull = _pull(evidence, row, data[seed], lines)
        l1 = lines["kept_l1"].to_numpy()
        if len(pull) > 1 and l1[-1] > 0:
            first = min(int(np.searchsorted(pull, 0.75 * pull[-1])), len(pull) - 2)
            falls.append(-math.log(l1[-1] / l1[first]) / float(pull[-1] - pull[first]))
    return sum(falls) / len(falls) if falls else None


def _pull(evidence: Evidence, row: str, data: str, lines: pd.DataFrame) -> np.ndarray:
    """lambda * sum(lr) / (1 - momentum) from the first record to each, by the trapezoid rule."""
    assert evidence.plan is not None
    spec = evidence.plan.rows[row].spec
    lr, epoch = lines["lr"].to_numpy(dtype=float), lines["epoch"].to_numpy(dtype=float)
    steps = np.diff(epoch) * math.ceil(dataset(data).train_examples / spec.batch_size)
    decay = spec.weight_decay / (1.0 - spec.momentum)
    return decay * np.concatenate([[0.0], np.cumsum((lr[1:] + lr[:-1]) / 2 * steps)])


def slopes_markdown(results_dir: Path) -> str:
    """What the recipes' slope was estimated from (``workflows/presets.py``), and the slopes at which the layers of the
    STR runs, as they ended, would be balanced.
    """
    file = results_dir / "slopes.csv"
    if not file.exists():
        return "No slope has been estimated.\n"
    lines = []
    for (name, tier), estimates in pd.read_csv(file, dtype=str).groupby(["table", "tier"], sort=False):
        lines += estimates.to_numpy().tolist()
        lines += _slopes_of_runs(ev.load(str(name), str(tier), results_dir))
    return markdown_table(["Table", "Tier", "Weights", "Layers", "Lower quartile", "Median", "Upper quartile"], lines)


def _slopes_of_runs(evidence: Evidence) -> list[list[str]]:
    layers = recorded(evidence)
    lines = []
    for row, own in layers[layers["balance"] > 0].groupby("row", sort=False):
        assert evidence.plan is not None
        slopes = evidence.plan.rows[str(row)].spec.method_args.get("slope", 1.0) / np.sqrt(own["balance"])
        quartiles = [f"{slopes.quantile(share):.2f}" for share in (0.25, 0.5, 0.75)]
        lines.append([evidence.table.name, evidence.tier, f"`{row}`", str(len(slopes)), *quartiles])
    return lines


# -- ranks -------------------------------------------------------------------------------------------------------------


def ranks_markdown(results_dir: Path) -> str:
    """Every training of Table 3 that learnt ranks, at some of its records: what its thresholds imply for the
    importances, and what was measured.
    """
    records = _rank_records(results_dir)
    if not len(records):
        return "No run with learnt ranks is in the results.\n"
    rows = []
    for (data, tier, _), run in records[records["first_seed"]].groupby(["data", "tier", "spec"], sort=False):
        for share in SHOWN_SHARES:
            one = run.iloc[(run["share"] - share).abs().argmin()]
            low, high = (f"{one[f'threshold_{end}']:.3f}" for end in ("min", "max"))
            measured = pd.notna(one["balance_min"])
            rows.append(
                [
                    f"{data}, {tier}, λ {tables.load('rnn').row(one['row']).weight_decay:g}, seed {one['seed']}",
                    f"{100 * one['share']:.0f} %",
                    f"{one['rank_w']:.0f}/{one['rank_u']:.0f}",
                    f"{low}, {high}",
                    f"{one['implied']:.2f}",
                    f"{one['kept_l1'] / one['ranks']:.2f}" if measured else "–",
                    f"{one['balance_min']:.2f}, {one['balance_max']:.2f}" if measured else "–",
                ]
            )
    header = ["Training", "Done", "Ranks W/U", "The two thresholds", "Implied importance per rank"]
    header += ["Measured", "The two ratios"]
    return markdown_table(header, rows) + "\n" + _sentence_on_ranks(records) + "\n"


SHOWN_SHARES = (0.1, 0.25, 0.5, 0.75, 1.0)  # of a training


def _rank_records(results_dir: Path) -> pd.DataFrame:
    """The history of every training that learnt ranks, once, with its ranks, their number, and the importance per rank
    at which both thresholds would be balanced.
    """
    records = []
    for tier in tables.load("rnn").tiers:
        runs, history, epochs = (
            results.read_if_there(results.path(results_dir, "rnn", tier, kind), kind)
            for kind in ("runs", "history", "epochs")
        )
        runs = runs[runs["method"] == "str-rank"].drop_duplicates("spec")  # several rows show networks of one training
        runs["spec"] = runs["spec"].str.replace(r"-s\d+$", "", regex=True)  # the recipe, without the seed
        runs["first_seed"] = runs["seed"] == runs.groupby("spec")["seed"].transform("min")
        runs["data"] = [dataset(name).title for name in runs["dataset"]]
        ranks = epochs[["row", "seed", "epoch", "rank_w", "rank_u"]].rename(columns={"epoch": "at_end_of"})
        history = history.assign(at_end_of=np.ceil(history["epoch"])).merge(ranks, on=["row", "seed", "at_end_of"])
        about = runs[["row", "seed", "spec", "first_seed", "data", "epochs"]]
        records.append(history.merge(about, on=["row", "seed"]).assign(tier=tier))
    every = pd.concat(records, ignore_index=True)
    every["ranks"], every["share"] = every["rank_w"] + every["rank_u"], every["epoch"] / every["epochs"]
    bounds = every["threshold_min"].clip(lower=1e-30), every["threshold_max"].clip(lower=1e-30)
    every["implied"] = sum(bound.map(implied_importances) for bound in bounds) / every["ranks"]
    return every


def _sentence_on_ranks(records: pd.DataFrame) -> str:
    """How near to balance the thresholds are once a training has lost its first rank; all trainings together."""
    full = records.groupby(["data", "tier", "spec", "seed"])["ranks"].transform("max")
    falling = records[records["ranks"] < full].dropna(subset=["balance_min"])
    if not len(falling):
        return "No training recorded the balance after it had lost a rank."
    trainings = falling.groupby(["data", "tier", "spec", "seed"]).ngroups
    ratios = pd.concat([falling["balance_min"], falling["balance_max"]])
    low, middle, high = (f"{ratios.quantile(q):.2f}" for q in (0.05, 0.5, 0.95))
    return (
        f"From the first lost rank to the end ({len(falling)} records of {trainings} training"
        f"{'s' if trainings > 1 else ''}), while ranks fell from {falling['ranks'].max():.0f} to "
        f"{falling['ranks'].min():.0f}, the two ratios had a median of {middle}, and nine in ten of them lay between "
        f"{low} and {high}."
    )


def implied_importances(threshold: float) -> float:
    """The L1 norm of kept importances at which a threshold is balanced: |ln t| / t, since g = exp and slope = 1."""
    return -math.log(threshold) / threshold


# -- the page ----------------------------------------------------------------------------------------------------------


def _runs_of_tiers(results_dir: Path) -> str:
    parts = []
    for name in ("resnet50", "mobilenetv1", "n_of_m"):
        for tier in tables.load(name).tiers:
            evidence = ev.load(name, tier, results_dir)
            if evidence.budgets["balance"].notna().any():
                parts.append(f"{heading(evidence)}\n\n{runs_markdown(evidence, legend=False)}")
    return (
        "\n".join([*parts, LEGEND]) if parts else "No committed run has recorded the balance of its thresholds yet.\n"
    )


PARTS: Mapping[str, Callable[[Path], str]] = {
    "paper": lambda root: paper_markdown(ev.load("resnet50", AUDIT, root).balance_tests),
    "slopes": slopes_markdown,
    "runs": _runs_of_tiers,
    "stages": stages_markdown,
    "ranks": ranks_markdown,
}
