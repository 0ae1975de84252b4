"""The balance of thresholds in words and tables: on the paper's data, in the runs, and in learnt ranks. Every number is
from ``results/``. It is the project's own finding (``docs/balance.md``), and no verdict on the paper.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from paper_repro import tables
from paper_repro.data.catalog import dataset
from paper_repro.evidence import evidence as ev
from paper_repro.evidence import results
from paper_repro.evidence.evidence import Evidence
from paper_repro.tables import AUDIT

NEAR = 1.5  # that of methods/balance.py, which needs torch
AT_REST = 0.1  # of L1 per unit of pull: slower than this it stands still
RIVALS = {
    "by weights": "number of weights alone",
    "by position": "position alone",
    "by fan-in": "fan-in alone",
    "permuted": "chance (printed thresholds, dealt out)",
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


def watched(evidence: Evidence) -> pd.DataFrame:
    """The history of the STR rows whose runs recorded the balance."""
    history = evidence.history
    return history[_of_str(evidence, history) & history["balance_median"].notna()]


def _of_str(evidence: Evidence, frame: pd.DataFrame) -> pd.Series:
    return frame["row"].isin([row.id for row in evidence.table.rows if row.method == "str"])


# -- the paper's data --------------------------------------------------------------------------------------------------


def paper_markdown(tests: pd.DataFrame) -> str:
    """What Figure 3 and Table 6 say for the balance, and what they would say for something else."""
    if not len(tests):
        return "The audit has not been written: `python -m paper_repro audit resnet50`.\n"
    lines = {(str(line["test"]), str(line["quantity"])): line for line in tests.to_dict("records")}

    def one(quantity: str, fmt: str = ".3f", test: str = "paper", cell: str = "value") -> str:
        return format(float(lines[test, quantity][cell]), fmt)

    def span(quantity: str, fmt: str, test: str = "paper") -> str:
        return f"{one(quantity, fmt, test, 'low')} to {one(quantity, fmt, test, 'high')}"

    def explained(by: str) -> str:
        return f"{100 * float(one(f'explained by {by}', '.6g')):.0f} %"

    rows = [["**the paper's own**", *_rival(lines, "paper")]]
    rows += [[words, *_rival(lines, f"{test}, gaussian")] for test, words in RIVALS.items()]
    found = [
        f"- Implied L1 goes with the number of kept weights: correlation of the logarithms {one('correlation')} "
        f"over {one('layers', '.0f')} layers ({span('correlation', '.3f')} within the accuracy of the figure; "
        f"{one('correlation_without_classifier')} without the classifier). The number of kept weights explains "
        f"{explained('kept weights')} of the variance of log implied L1, the number of weights {explained('weights')}, "
        f"position {explained('position')}, fan-in {explained('fan-in')}, the last three together "
        f"{explained('weights, fan-in and position')}, density alone {explained('density')}. Fan-in adds nothing to "
        f"the number of kept weights ({explained('kept weights and fan-in')} together).",
        f"- Size and density both count, as they must where L1 is their product times a mean: implied L1 ~ "
        f"weights^{one('weights_coefficient', '.2f')} density^{one('density_coefficient', '.2f')}, which leaves a "
        f"factor {one('left', '.2f')} (one standard deviation). Between layers of equal size and fan-in "
        f"({one('same_shape_groups', '.0f')} groups) the exponent of density is {span('same_shape_slope', '.2f')}.",
        f"- The scale is right with nothing fitted. The implied mean |w| of a kept weight is "
        f"{one('implied_mean', '.3f')} ({span('implied_mean', '.3f')}): {one('implied_mean_over_initial', '.2f')} "
        f"({span('implied_mean_over_initial', '.2f')}) times the standard deviation of a fresh network's weights. It "
        f"is above the layer's threshold in {one('layers_above_threshold', '.0f')} of {one('layers', '.0f')} layers; "
        f"with the thresholds dealt out at random in {one('layers_above_threshold', '.0f', 'permuted')} "
        f"({span('layers_above_threshold', '.0f', 'permuted')}). Its largest value is "
        f"{one('implied_mean_spread', '.1f')} times its smallest, at random "
        f"{one('implied_mean_spread', ',.0f', 'permuted')} times "
        f"(at least {one('implied_mean_spread', ',.0f', 'permuted', 'low')}).",
        f"- What is left: the implied mean is {one('implied_mean_over_threshold', '.1f')} times the threshold "
        f"({span('implied_mean_over_threshold', '.1f')}). Were the kept weights the tail of a Gaussian, their L1 would "
        f"be {one('gaussian_tail_l1_over_implied', '.2f')} of the implied one, so the law needs layers in which few "
        "kept weights are near the threshold. The paper prints nothing that could show it.",
    ]
    header = [
        "Thresholds decided by",
        "Correlation",
        "Exponent of kept weights",
        "Exponent of density",
        "L1 / implied L1",
    ]
    return (
        "\n".join(found)
        + "\n\nThe same numbers where something else decides the thresholds, and Gaussian weights the densities (with "
        "Laplace weights they differ little: `results/resnet50/balance_tests.csv`):\n\n" + markdown_table(header, rows)
    )


def _rival(lines: Mapping[tuple[str, str], Mapping[Any, Any]], test: str) -> list[str]:
    """One line of the table: the numbers of a test, with their ranges where they are drawn at random."""

    def cell(quantity: str, fmt: str) -> str:
        line = lines.get((test, quantity))
        if line is None:
            return "–"
        value, low, high = (float(line[name]) for name in ("value", "low", "high"))
        drawn = math.isfinite(low) and test != "paper"
        return format(value, fmt) + (f" [{low:{fmt}}, {high:{fmt}}]" if drawn else "")

    ratio = "not printed; 1 if balanced" if test == "paper" else cell("l1_over_implied", ".2g")
    return [cell("correlation", ".3f"), cell("slope", ".2f"), cell("density_coefficient", ".2f"), ratio]


# -- runs --------------------------------------------------------------------------------------------------------------


def runs_markdown(evidence: Evidence) -> str:
    """Where the runs of a table come to balance and where not; a sentence where nothing was recorded."""
    layers = evidence.budgets[_of_str(evidence, evidence.budgets) & evidence.budgets["balance"].notna()]
    if not len(layers):
        return "No run of this tier has recorded the balance of its thresholds.\n"
    rows: list[list[str]] = []
    reached: list[str] = []
    resting: list[str] = []
    at_reached = [0, 0]  # layers near balance, and all that keep weights, in the rows whose median is near balance
    above: list[str] = []
    below: list[str] = []
    for row in dict.fromkeys(layers["row"]):
        own = layers[layers["row"] == row]
        kept = own[own["kept_l1"] > 0]
        ratio, seeds = kept["balance"], own["seed"].nunique()
        near = int(ratio.between(1 / NEAR, NEAR).sum())
        fall = _fall(evidence, row)
        mean_over_threshold = kept["kept_l1"] / (kept["params"] * (1 - kept["sparsity_pct"] / 100)) / kept["threshold"]
        empty = len(own) - len(kept)
        rows.append(
            [
                f"`{row}`",
                str(seeds),
                "–" if not len(kept) else f"{ratio.median():.2f} ({ratio.min():.2g} to {ratio.max():.3g})",
                f"{near} of {len(kept)}",
                f"{empty} of {len(own)}",
                "–" if not len(kept) else f"{mean_over_threshold.median():.2f}",
                "–" if fall is None else f"{fall:.2f}",
            ]
        )
        if fall is not None and fall < AT_REST:
            resting.append(row)
        if len(kept) and 1 / NEAR <= ratio.median() <= NEAR:
            at_reached = [at_reached[0] + near, at_reached[1] + len(kept)]
        if len(kept):
            (reached if 1 / NEAR <= ratio.median() <= NEAR else above if ratio.median() > NEAR else below).append(row)
    header = ["Row", "Seeds", "Ratio: median over layers (range)", f"Layers within a factor {NEAR:g} of 1"]
    header += ["Layers without weights", "Mean kept weight / threshold, median", "Fall of L1 per unit of pull"]
    sentences = [
        f"The median ratio is within a factor {NEAR:g} of 1 in: {_named(reached)}"
        + (f"; there {at_reached[0]} of {at_reached[1]} layers are so themselves." if reached else "."),
        f"Above: {_named(above)}: the loss still pulls their thresholds down harder than decay lifts them, and the "
        "learning rate ran out first." if above else "",
        f"Below: {_named(below)}: decay still lifts their thresholds." if below else "",
        "Layers without weights have no pull at all: their thresholds rise by decay alone, and are left out of the "
        "ratios. The last column is -d ln(L1) / d(lambda sum(lr) / (1 - momentum)) over the last quarter of that pull: "
        f"0 (below {AT_REST:g}) is rest, 1 is what decay alone does, and more is weights falling away. "
        f"At rest by this measure: {_named(resting)}.",
    ]  # fmt: skip
    return markdown_table(header, rows) + "\n" + " ".join(sentence for sentence in sentences if sentence) + "\n"


def _fall(evidence: Evidence, row: str) -> float | None:
    """How fast the L1 norm of a row's kept weights still fell, mean over seeds; None where it was not recorded."""
    found = []
    history = evidence.history[evidence.history["row"] == row].dropna(subset=["kept_l1", "lr"])
    for seed, lines in history.groupby("seed"):
        runs = evidence.row_runs(row)
        pull = _pull(evidence, row, str(runs.loc[runs["seed"] == seed, "dataset"].iloc[0]), lines)
        l1 = lines["kept_l1"].to_numpy()
        if len(pull) > 1 and l1[-1] > 0:
            first = min(int(np.searchsorted(pull, 0.75 * pull[-1])), len(pull) - 2)
            found.append(-math.log(l1[-1] / l1[first]) / float(pull[-1] - pull[first]))
    return sum(found) / len(found) if found else None


def _pull(evidence: Evidence, row: str, data: str, lines: pd.DataFrame) -> np.ndarray:
    """lambda * sum(lr) / (1 - momentum) from the first record to each, by the trapezoid rule."""
    assert evidence.plan is not None
    lr, epoch = lines["lr"].to_numpy(dtype=float), lines["epoch"].to_numpy(dtype=float)
    steps = np.diff(epoch) * (dataset(data).train_examples // evidence.plan.base.batch_size)
    decay = evidence.plan.rows[row].spec.weight_decay / (1.0 - evidence.plan.base.momentum)
    return decay * np.concatenate([[0.0], np.cumsum((lr[1:] + lr[:-1]) / 2 * steps)])


def _named(rows: Sequence[str]) -> str:
    return ", ".join(f"`{row}`" for row in rows) or "none"


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
                    f"{data}, {tier}, seed {one['seed']}",
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
    table, found = tables.load("rnn"), []
    for tier in table.tiers:
        runs, history, epochs = (
            results.read_if_there(results.path(results_dir, "rnn", tier, kind), kind)
            for kind in ("runs", "history", "epochs")
        )
        runs = runs[runs["method"] == "str-rank"].drop_duplicates("spec")  # several rows show networks of one training
        for run in runs.to_dict("records"):
            own = history[(history["row"] == run["row"]) & (history["seed"] == run["seed"])].copy()
            ranks = epochs[(epochs["row"] == run["row"]) & (epochs["seed"] == run["seed"])].set_index("epoch")
            own = own[own["epoch"].map(math.ceil).isin(ranks.index)]
            at = ranks.loc[own["epoch"].map(math.ceil), ["rank_w", "rank_u"]]
            own[["rank_w", "rank_u"]] = at.to_numpy()
            own["ranks"] = own["rank_w"] + own["rank_u"]
            bounds = own["threshold_min"].clip(lower=1e-30), own["threshold_max"].clip(lower=1e-30)
            own["implied"] = sum(bound.map(implied_importances) for bound in bounds) / own["ranks"]
            spec = str(run["spec"]).rpartition("-s")[0]
            first = bool(run["seed"] == runs.loc[runs["spec"].str.startswith(spec), "seed"].min())
            title = dataset(str(run["dataset"])).title
            found.append(
                own.assign(data=title, tier=tier, spec=spec, first_seed=first, share=own["epoch"] / run["epochs"])
            )
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()


def _sentence_on_ranks(records: pd.DataFrame) -> str:
    """How near to balance thresholds are from the first rank that is lost on, in all trainings together."""
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
    for name in ("resnet50", "mobilenetv1"):
        for tier in (tier for tier in tables.load(name).tiers if tier != AUDIT):
            found = ev.load(name, tier, results_dir)
            if found.budgets["balance"].notna().any():
                parts.append(f"Table `{name}`, tier `{tier}` ({found.setting}):\n\n{runs_markdown(found)}")
    return "\n".join(parts) or "No committed run has recorded the balance of its thresholds yet.\n"


PARTS: Mapping[str, Callable[[Path], str]] = {
    "paper": lambda root: paper_markdown(ev.load("resnet50", AUDIT, root).balance_tests),
    "runs": _runs_of_tiers,
    "ranks": ranks_markdown,
}


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; bars inside cells are escaped."""
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    lines += ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"
