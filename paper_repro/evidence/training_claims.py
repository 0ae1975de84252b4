"""Checks of claims about the training itself: when sparsity begins, how it rises, and what a step costs.

How a claim is decided is said in ``claims.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from paper_repro import tables
from paper_repro.evidence import results, tolerances
from paper_repro.evidence.evidence import Evidence
from paper_repro.evidence.lines import SpeedLine
from paper_repro.evidence.outcome import Outcome, span, who
from paper_repro.experiments.claims import Rows
from paper_repro.tables import Claim
from paper_repro.verdict import Verdict

# -- onset -----------------------------------------------------------------------------------------------------------


def onset(claim: Claim, evidence: Evidence, printed: bool) -> Outcome | None:
    """Every run of STR against its own forecast; on paper Figure 2, whose forecast is in the audit."""
    limit_pct = tolerances.load().onset_before_pct
    if printed:
        return _onset_of_figure_2(evidence, limit_pct)
    return _onset_of_runs([_onset_line(run, history, limit_pct) for run, history in histories(evidence, claim.ours)])


def _onset_of_figure_2(evidence: Evidence, limit_pct: float) -> Outcome | None:
    """The curve alone says when sparsity began, and that it never fell afterwards."""
    curve = [] if evidence.table.figure_layer is None else tables.curve(evidence.table.name, "fig2_sparsity")
    begun = next((epoch for epoch, sparsity in curve if sparsity > limit_pct), None)
    if begun is None:
        return None
    audited = evidence.audit.loc[evidence.audit["quantity"].eq("onset_epoch"), "recomputed"].dropna()
    sentence = f"Figure 2 (90.23 %): sparsity first exceeds {limit_pct:g} % at epoch {begun:.0f} of 100"
    if not len(audited):
        sentence += "; no forecast to hold it against."
        return Outcome(Verdict.INCONCLUSIVE, f"epoch {begun:.0f} of 100", sentence)
    forecast = float(audited.iloc[0])
    sentence += f"; g(s) is forecast to reach 4.5e-5, a level taken from Figure 1, at epoch {forecast:.2f}."
    verdict = Verdict.PASS if begun >= forecast - 1 else Verdict.FAIL  # the figure has one point per epoch
    return Outcome(verdict, f"epoch {begun:.0f}, forecast {forecast:.2f}", sentence)


def _onset_of_runs(lines: list[dict[str, Any]]) -> Outcome | None:
    if not lines:
        return None
    tested = [line for line in lines if line["forecast_epoch"] != 0]
    if not tested:
        sentence = "The recipes begin at the onset (the forecast is epoch 0), so that nothing could rise before it."
        return Outcome(Verdict.INCONCLUSIVE, "all recipes begin at the onset", sentence, lines)
    against = [line for line in tested if not line["holds"]]
    epochs = pd.DataFrame(tested)[["forecast_epoch", "onset_epoch"]].astype(float)
    lags = epochs.diff(axis="columns")["onset_epoch"].dropna().tolist()
    figure = f"{len(tested) - len(against)} of {len(tested)} runs"
    sentence = f"In {figure}, sparsity rose no earlier than 1 % of training before the forecast onset"
    if lags:
        figure += f", {span(lags, 2, sign=True)} epochs"
        sentence += f"; observed minus forecast: {span(lags, 2, sign=True)} epochs"
    sentence += "."
    if len(tested) < len(lines):
        sentence += f" {len(lines) - len(tested)} runs begin at the onset and test nothing."
    if against:
        sentence += f" It does not hold for: {', '.join(map(who, against))}."
    return Outcome(Verdict.FAIL if against else Verdict.PASS, figure, sentence, lines)


RESOLUTION = 0.01  # of training


def _onset_line(run: Mapping[Any, Any], history: pd.DataFrame, limit_pct: float) -> dict[str, Any]:
    forecast = None if pd.isna(run["forecast_onset_epoch"]) else float(run["forecast_onset_epoch"])
    onset = None if pd.isna(run["onset_epoch"]) else float(run["onset_epoch"])
    epochs = history["epoch"].to_numpy(dtype=float)
    # To a hundredth of training, as Figure 2 shows it: when a threshold begins to matter depends a little on how small
    # the weights are. And an onset between two records is seen at the later one.
    spacing = float(np.diff(epochs, prepend=0.0).max()) if len(epochs) else 0.0
    earliest = (forecast or 0.0) - max(spacing, RESOLUTION * float(run["epochs"]))
    before = history.loc[history["epoch"] <= earliest, "sparsity_pct"]
    highest = float(before.max()) if len(before) else 0.0
    holds = forecast is not None and onset is not None and onset >= earliest and highest < limit_pct
    return {
        "row": run["row"],
        "seed": run["seed"],
        "forecast_epoch": forecast,
        "onset_epoch": onset,
        "sparsity_before_forecast_pct": highest,
        "holds": holds,
    }


# -- gradual pruning -------------------------------------------------------------------------------------------------

CUBIC_R2 = 0.9  # share of the variance after the onset that the cubic schedule must explain
FALL_PCT = 1.0  # points of sparsity that a curve may fall now and then


def cubic_schedule(claim: Claim, evidence: Evidence, printed: bool) -> Outcome | None:
    """Every run of STR, or Figure 2, against the cubic schedule of Zhu and Gupta."""
    curves: list[tuple[dict[str, Any], Any]] = []
    if not printed:
        for run, history in histories(evidence, claim.ours):
            curves.append(({"row": run["row"], "seed": run["seed"]}, history[["epoch", "sparsity_pct"]]))
    elif evidence.table.figure_layer is not None:
        curves.append(({"row": evidence.table.figure_row}, tables.curve(evidence.table.name, "fig2_sparsity")))
    limit_pct = tolerances.load().onset_before_pct
    fits = [(name, gradual(np.array(curve, dtype=float), limit_pct)) for name, curve in curves]
    lines = [name | fit for name, fit in fits if fit is not None]
    return _gradual_outcome(lines, "Figure 2" if printed else "the runs") if lines else None


def gradual(curve: np.ndarray, limit_pct: float) -> dict[str, Any] | None:
    """How well 1 - (1 - t)^3 follows the sparsity after its onset: from the onset to the end of training, and with the
    start and the end that fit best. ``curve``: (points, 2), epochs and sparsities in percent; above ``limit_pct``
    sparsity has begun. None for a curve with fewer than four points there.
    """
    times, sparsity = curve.T
    begun = sparsity > limit_pct
    if begun.sum() < 4:
        return None
    first = int(np.argmax(begun))
    before = times[first - 1] if first else 0.0
    t, y = times[first:], sparsity[first:]
    total = float(((y - y.mean()) ** 2).sum())

    def misfit(power: int, start: np.ndarray, end: np.ndarray) -> np.ndarray:
        done = np.clip((t - start[..., None]) / (end - start)[..., None], 0.0, 1.0)
        return np.asarray(y[-1] * (1.0 - (1.0 - done) ** power) - y)

    starts, ends = np.meshgrid(np.linspace(before, t[0], 21)[:-1], np.linspace(t[0], t[-1], 201)[1:])
    errors = {power: (misfit(power, starts, ends) ** 2).sum(axis=-1) for power in (1, 3)}
    best = np.unravel_index(errors[3].argmin(), errors[3].shape)
    r2, ramp_r2 = (1.0 - float(errors[power].min()) / total if total else 0.0 for power in (3, 1))
    falls = float(max(0.0, (np.maximum.accumulate(sparsity) - sparsity).max()))
    return {
        "cubic_r2": r2,
        "ramp_r2": ramp_r2,
        "cubic_ends_at": float(ends[best] / times[-1]),
        "gap_over_the_whole_rest": float(np.abs(misfit(3, np.array(before), np.array(times[-1]))).max()),
        "falls_by_pct": falls,
        "holds": r2 >= CUBIC_R2 and r2 > ramp_r2 and falls <= FALL_PCT,
    }


def _gradual_outcome(lines: list[dict[str, Any]], of_what: str) -> Outcome:
    against = [line for line in lines if not line["holds"]]
    r2, ramp_r2 = ([100 * line[name] for line in lines] for name in ("cubic_r2", "ramp_r2"))
    gaps = [line["gap_over_the_whole_rest"] for line in lines]
    sentence = (
        f"After its onset, sparsity in {of_what} follows the cubic schedule of gradual pruning in "
        f"{len(lines) - len(against)} of {len(lines)}: with the start and end that fit best, the cubic explains "
        f"{span(r2, 1)} % of the variance, a straight ramp {span(ramp_r2, 1)} %. "
        f"The best cubic ends at {span([100 * line['cubic_ends_at'] for line in lines])} % of training; one from the "
        f"onset to the end of training deviates by at most {span(gaps)} points of sparsity in each."
    )
    if 0 < len(against) < len(lines):
        sentence += f" It does not hold for: {', '.join(map(who, against))}."
    figure = f"R^2: cubic {span(r2)} %, ramp {span(ramp_r2)} %"
    return Outcome(Verdict.FAIL if against else Verdict.PASS, figure, sentence, lines)


# -- training cost ---------------------------------------------------------------------------------------------------


COST = 0.05  # a training that is longer by less than this share costs nothing worth a word
FULL_SIZE = ", ResNet50, "  # in the name of what was timed: the paper's network; narrow ones are named by their width


def training_time(_claim: Claim, evidence: Evidence, _printed: bool) -> Outcome | None:
    """The time of STR's training step beside the dense one's, on the paper's network, taken in turns in one process."""
    timed: list[SpeedLine] = results.lines_if_there(evidence.results_dir / SpeedLine.FILE, SpeedLine)
    steps = [line for line in timed if FULL_SIZE in line.what and line.compared == "str / dense"]
    if not steps:
        return None
    each = "; ".join(f"{line.what.split(FULL_SIZE)[1]} on {line.device}: {_times(line)}" for line in steps)
    sentence = (
        f"Time of a training step of STR / of a dense one: {each}. What STR adds depends on the number of weights and "
        f"not of images, so that its share is smaller in the paper's batches of 256. Up to {1 + COST:g} counts as no "
        "additional cost."
    )
    verdicts = {_of_cost(line) for line in steps}
    verdict = verdicts.pop() if len(verdicts) == 1 else Verdict.INCONCLUSIVE
    figure = f"measured: {span([line.ratio for line in steps], 2)} times a dense step"
    return Outcome(verdict, figure, sentence, [line.model_dump() for line in steps])


def _times(line: SpeedLine) -> str:
    interval = "" if line.low is None or line.high is None else f" [{line.low:.3f}, {line.high:.3f}]"
    return f"{line.ratio:.3f}{interval}"


def _of_cost(line: SpeedLine) -> Verdict:
    if line.low is None or line.high is None:  # too few rounds for an interval
        return Verdict.INCONCLUSIVE
    if line.high <= 1 + COST:
        return Verdict.PASS
    return Verdict.FAIL if line.low > 1 + COST else Verdict.INCONCLUSIVE


# -- common ----------------------------------------------------------------------------------------------------------


def histories(evidence: Evidence, rows: Rows) -> list[tuple[Mapping[Any, Any], pd.DataFrame]]:
    """(run, its history by epoch) of every run of some rows; the released networks have no history."""
    found: list[tuple[Mapping[Any, Any], pd.DataFrame]] = []
    for row in evidence.trained_rows:
        if not rows.of(evidence.table.row(row)):
            continue
        for run in evidence.row_runs(row).to_dict("records"):
            history = evidence.history[(evidence.history["row"] == row) & (evidence.history["seed"] == run["seed"])]
            if len(history):
                found.append((run, history.sort_values("epoch")))
    return found
