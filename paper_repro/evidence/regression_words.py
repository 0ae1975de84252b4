"""What ``regress`` says beside its table: what is trained, what the seeds can decide, what came out, and which runs
that rests on.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from paper_repro.data.catalog import dataset
from paper_repro.evidence.contrast import At
from paper_repro.evidence.regression import Comparison, Measured
from paper_repro.evidence.statistics import MOST_SEEDS, POWER, pooled_sd, seeds_needed, smallest_decided
from paper_repro.spec import Spec


def setting(specs: Iterable[Spec]) -> str:
    """Network, width, data set and epochs of what is trained, for example "resnet50 of width 16 on CIFAR-10, 16
    epochs"; each one where they differ.
    """
    texts = []
    for spec in specs:
        width = f" of width {spec.model_args['width']}" if "width" in spec.model_args else ""
        epochs = f"{spec.epochs} epoch{'s' * (spec.epochs != 1)}"
        texts.append(f"{spec.model}{width} on {dataset(spec.dataset).title}, {epochs}")
    return "; ".join(dict.fromkeys(texts))


def plan(str_runs: Sequence[Measured], regimes: int, seeds: int, margin: float) -> str:
    """What so many seeds can decide, from the spread of STR's finished runs; empty where none has a second seed.

    A method is taken to spread as STR does, and a pair to have nothing in common: the difference then has sqrt(2) times
    the deviation of one run. Pairs that do share their seed's luck decide with fewer. The spread is itself estimated:
    docs/compare.md, "What a verdict promises", says how often the differences are decided then.
    """
    tops: dict[float, list[float]] = {}
    for run in str_runs:
        if run.usable:
            tops.setdefault(run.regime_pct, []).append(run.network.top1_pct)
    spread = pooled_sd(tops.values())
    if spread is None:
        return ""
    sd = math.sqrt(2.0) * spread
    text = f"STR's finished runs spread by {spread:.2f} points from seed to seed (standard deviation within a regime). "
    if seeds > 1:
        text += f"So {seeds} seeds decide differences from {smallest_decided(sd, seeds, regimes):.1f} points on "
        text += f"in {100 * POWER:.0f} % of cases, with {regimes} regimes at once, if that spread is the true one"
    else:
        text += "One seed decides nothing"
    if margin > 0.0:
        needed = seeds_needed(margin, sd, 0.0, regimes) or f"more than {MOST_SEEDS}"
        text += f"; a difference of {margin:g} takes {needed} seeds"
    return f"{text}."


def summary(name: str, lines: Sequence[Comparison]) -> str:
    """One sentence: in how many regimes what came out, at equal sparsity."""
    answers = [str(line.answer) for line in lines if line.at is At.SPARSITY]
    counted = ", ".join(f"{answer} in {answers.count(answer)}" for answer in dict.fromkeys(answers))
    regimes = f"{len(answers)} regime{'s' * (len(answers) != 1)}"
    return f"{name} against STR at equal sparsity, {regimes}: {counted}."


def notes(lines: Sequence[Comparison]) -> list[tuple[str, str]]:
    """What does not fit into the table: (where, why a regime has no verdict, or fewer seeds), each said once."""
    places: dict[str, list[str]] = {}
    for line in lines:
        for note in line.notes:
            places.setdefault(note, []).append(f"{line.target_pct:g} % at equal {line.at}")
    return [("everywhere" if len(where) == len(lines) else ", ".join(where), note) for note, where in places.items()]


def claimed_sparsity(runs: Sequence[Measured]) -> list[str]:
    """What the method's own ``sparsity()`` said, where it has one."""
    claimed = [run for run in runs if run.usable and run.claimed_sparsity_pct is not None]
    if not claimed:
        return []
    failed = next((run.claimed_sparsity_pct for run in claimed if isinstance(run.claimed_sparsity_pct, str)), None)
    if failed is not None:
        return [f"the method's own sparsity() {failed}; it is ignored, because sparsity is always measured"]
    off = max(abs(float(run.claimed_sparsity_pct or 0.0) - (run.sparsity_pct or 0.0)) for run in claimed)
    return [
        f"the method's own sparsity() was off by up to {off:.2f} points, and is ignored: sparsity is always measured"
    ]


def sources(runs: Sequence[Measured]) -> list[str]:
    """How many runs came from where, and what trained them."""
    origins = [f"{run.origin}, {run.machine}" for run in runs if run.origin]
    return [f"{origins.count(origin)} runs from {origin}" for origin in sorted(set(origins))]


def cost_of_reuse(runs: Sequence[Measured], twice: Sequence[float]) -> str:
    """What it costs to pair runs whatever trained them; empty where all that can be paired were trained here.
    ``twice``: for each run that is here and among the committed ones, the points of accuracy between the two.
    """
    paired = [run for run in runs if run.usable]
    machines = sorted({run.machine for run in paired})
    if len(machines) < 2 and all(run.origin.endswith("/") for run in paired):
        return ""
    text = f"these runs are of {len(machines)} machines, as far as results name them ({'; '.join(machines)}). "
    if len(machines) < 2:
        text = f"these runs are of {machines[0]}; whether of one machine, results do not say. "
    text += (
        "Rounding is part of a training: a pair of two machines shares less than its seed promises, its interval is "
        "wider, and another torch may shift one side. "
    )
    if not twice:
        return f"{text}How far, nobody has measured here: no run is there from both."
    return (
        f"{text}{len(twice)} run{'s' if len(twice) > 1 else ''} trained here and committed differ by "
        f"{sum(twice) / len(twice):.2f} points in the mean, and by up to {max(twice):.2f}."
    )
