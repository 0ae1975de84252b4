"""The one frame of points that every figure of accuracies draws from."""

from __future__ import annotations

import math

import pandas as pd

from paper_repro.evidence.evidence import Evidence
from paper_repro.evidence.statistics import Summary, summarise
from paper_repro.tables import Row

REPORTED, REPRODUCED = "reported", "reproduced"
COLUMNS = (
    "table", "tier", "row", "method", "series", "label", "regime_pct", "model", "dataset", "ranks",
    "sparsity_pct", "macs_m", "top1_pct", "half", "n", "origin",
)  # fmt: skip


def points(evidence: Evidence) -> pd.DataFrame:
    """A line per row of the table and origin of its numbers, in table order; only what has an accuracy.

    ``sparsity_pct``, ``macs_m`` (of the sparse network, in millions) and ``top1_pct`` are as printed, or means over
    ``n`` seeds; ``half`` is half the 95 % interval of the accuracy. NaN where there is none.
    """
    lines = []
    for row in evidence.table.rows:
        printed = row.reported
        if printed.top1_pct is not None:
            numbers = (printed.sparsity_pct, printed.macs_m, printed.top1_pct, None, 0, REPORTED)
            lines.append((*_about(evidence, row), *numbers))
        accuracy = evidence.summary(row.id, "top1_pct")
        if accuracy is not None:
            sparsity, macs = (_mean(evidence.summary(row.id, name)) for name in ("sparsity_pct", "sparse_macs_m"))
            half = None if accuracy.high is None else accuracy.high - accuracy.mean
            lines.append((*_about(evidence, row), sparsity, macs, accuracy.mean, half, accuracy.n, REPRODUCED))
    frame = pd.DataFrame(lines, columns=list(COLUMNS))
    numeric = ["regime_pct", "sparsity_pct", "macs_m", "top1_pct", "half"]
    return frame.astype(dict.fromkeys(numeric, float))


def means(runs: pd.DataFrame, by: str) -> pd.DataFrame:
    """Means of runs, one line for each value of column ``by``: every other number of theirs, and ``half``, half the
    95 % interval of ``top1_pct``; NaN for a single run.
    """
    groups = runs.groupby(by)
    accuracies = groups["top1_pct"].agg(summarise)
    half = [math.nan if accuracy.high is None else accuracy.high - accuracy.mean for accuracy in accuracies]
    return groups.mean(numeric_only=True).assign(half=half)


def origins(frame: pd.DataFrame) -> list[str]:
    """Those with a point in a frame; reported numbers where there is no point at all."""
    return [origin for origin in (REPORTED, REPRODUCED) if origin in set(frame["origin"])] or [REPORTED]


def titles(evidence: Evidence) -> dict[str, str]:
    """What the panel of each origin is of, where they stand side by side."""
    return {REPORTED: "Reported: ImageNet-1K, full size", REPRODUCED: f"Reproduced: {evidence.setting}"}


def _about(evidence: Evidence, row: Row) -> tuple[object, ...]:
    named = (evidence.table.name, evidence.tier, row.id, row.method, row.series, row.label)
    return (*named, row.regime_pct, row.model, row.dataset, row.ranks)


def _mean(summary: Summary | None) -> float | None:
    return None if summary is None else summary.mean
