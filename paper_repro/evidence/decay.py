"""Which part of a threshold's course weight decay alone has made: that of a layer without weights."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from paper_repro.evidence.evidence import Evidence
from paper_repro.evidence.layers import empty_layers

# Of s, relative to its decay from one record to the last. Thresholds are written with six digits, which shows down to a
# few 1e-4 near g(0); the gradient of a layer that keeps weights moves s by per cents.
SAME = 1e-3


def alone_since(evidence: Evidence, row: str, seed: int) -> float:
    """The epoch from which on weight decay alone moved the s of the layer of the paper's Figure 1, to the end of a run;
    infinity where that layer ends with weights, or is none.

    No weight, no gradient: s then follows the schedule of learning rates alone, which is simulated (``forecast.py``).
    """
    layer, plan = evidence.table.figure_layer, evidence.plan
    if layer is None or plan is None or layer not in empty_layers(evidence, row).get(seed, []):
        return math.inf
    from paper_repro import methods  # torch takes seconds to import, and most figures have no empty layer
    from paper_repro.methods.str import STR
    from paper_repro.training.forecast import decay_factors, steps_per_epoch

    spec = plan.rows[row].spec
    method = methods.get(spec.method, **spec.method_args)
    if not isinstance(method, STR) or method.g != "sigmoid":
        return math.inf
    course = _course(evidence, row, seed)
    if not len(course):
        return math.inf
    factors = np.array(decay_factors(spec, method.decay_of_s(spec.weight_decay)))
    steps = (course["epoch"] * steps_per_epoch(spec)).round().astype(int).clip(upper=len(factors) - 1)
    left = course["u"].to_numpy() / factors[steps]  # the same everywhere as long as nothing else moves s
    moved = np.flatnonzero(np.abs(left / left[-1] - 1.0) > SAME)
    first = 0 if not len(moved) else int(moved[-1]) + 1
    return float(course["epoch"].iloc[first])


def _course(evidence: Evidence, row: str, seed: int) -> pd.DataFrame:
    """Epochs and u = slope * s of the layer, by the inverse of the sigmoid, where the threshold is no plain zero."""
    history = evidence.history
    run = history[history["row"].eq(row) & history["seed"].eq(seed) & history["threshold_figure_layer"].gt(0)]
    threshold = run["threshold_figure_layer"]
    return run.assign(u=np.log(threshold / (1.0 - threshold))).sort_values("epoch")
