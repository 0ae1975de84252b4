"""Is a method better than STR? The comparison: paired by seed, at equal sparsity and at equal multiply-adds (MACs).

STR's rows end near their sparsity, not at the method's own, so STR's accuracy there is read off between its runs of
the same seed: piecewise linear in the logarithm of density, which is 1 - sparsity. At equal MACs it is read off, in the
same way, STR's Pareto front of that seed: the runs that no cheaper or equally cheap one reaches or surpasses.

Nothing is extrapolated. Up to ``EDGE`` beyond STR's outermost run, in density or MACs, that run's own accuracy stands;
further out there is no comparison. Whoever has more MACs than the last run of the front, and no more than STR's most
expensive run, is compared with the last run of the front: STR needs no more for this accuracy.

A verdict needs two seeds, because one gives no interval. Intervals are of 95 %, each for itself: with ten of them, one
may miss its truth by chance more often than one time in twenty.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from scipy import special

from paper_repro.evidence.statistics import LEVEL, Summary, paired_difference, summarise

EDGE = 0.1  # of the density or the MACs of STR's outermost run
MOST_SEEDS = 100  # more are not worth naming
Curve = Sequence[tuple[float, float]]  # (density or MACs, accuracy in percent)


class Answer(StrEnum):
    """The verdict on one regime."""

    BETTER = "better"
    WORSE = "worse"
    EQUIVALENT = "equivalent within the margin"
    TOO_FEW = "not enough seeds"
    OUTSIDE = "outside STR's range"
    NO_RESULT = "no result"

    @property
    def decided(self) -> bool:
        return self in (Answer.BETTER, Answer.WORSE, Answer.EQUIVALENT)


@dataclass(frozen=True)
class Measured:
    """One run, of the method or of STR. ``origin`` says where it was found."""

    spec: str
    regime_pct: float
    seed: int
    status: str
    top1_pct: float | None
    sparsity_pct: float | None
    macs_m: float | None
    origin: str = ""
    commit: str = "unknown"
    dirty: str = "unknown"
    torch: str = "unknown"
    device: str = "unknown"
    claimed_sparsity_pct: float | str | None = None

    @property
    def usable(self) -> bool:
        return self.status == "finished" and self.top1_pct is not None

    @property
    def density(self) -> float:
        assert self.sparsity_pct is not None
        return 1.0 - self.sparsity_pct / 100.0


@dataclass(frozen=True)
class Comparison:
    """The method's accuracy minus STR's in one regime, in points. ``seeds_needed`` is an estimate from the spread that
    was seen, and None where there is none or more than ``MOST_SEEDS`` would be needed.
    """

    answer: Answer
    difference: Summary | None = None
    str_top1_pct: float | None = None
    seeds: tuple[int, ...] = ()
    seeds_needed: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def note(self) -> str:
        return "; ".join(self.notes)

    @property
    def verdict(self) -> str:
        """The answer in words, with the number of seeds that would be enough."""
        if self.answer is not Answer.TOO_FEW:
            return str(self.answer)
        if self.seeds_needed is not None:
            return f"{self.answer} ({self.seeds_needed} would be)"
        one = self.difference is None or self.difference.sd is None
        return str(self.answer) if one else f"{self.answer} (more than {MOST_SEEDS} would be)"


@dataclass(frozen=True)
class Regime:
    """What is known at one of STR's regimes."""

    target_pct: float
    runs: tuple[Measured, ...]
    at_sparsity: Comparison
    at_macs: Comparison
    problems: tuple[str, ...] = field(default=())  # runs of the method that came to nothing, and why

    def mean(self, quantity: str) -> Summary | None:
        """Mean over the usable runs of "top1_pct", "sparsity_pct" or "macs_m"."""
        values = [getattr(run, quantity) for run in self.runs if run.usable]
        return summarise(values) if values else None


def compare(
    targets: Sequence[float],
    method: Iterable[Measured],
    str_runs: Iterable[Measured],
    margin: float,
    failures: Mapping[str, str] | None = None,
) -> list[Regime]:
    """One ``Regime`` per target, in their order. ``failures``: spec name -> why its run failed."""
    mine, theirs = list(method), [run for run in str_runs if run.usable]
    sparsity_curves: dict[int, Curve] = {}
    macs_curves: dict[int, Curve] = {}
    for seed in {run.seed for run in theirs}:
        own = [run for run in theirs if run.seed == seed]
        sparsity_curves[seed] = [(run.density, run.top1_pct or 0.0) for run in own]
        macs_curves[seed] = [(run.macs_m or 0.0, run.top1_pct or 0.0) for run in own]
    regimes = []
    for target in targets:
        runs = tuple(sorted((run for run in mine if run.regime_pct == target), key=lambda run: run.seed))
        problems = tuple(_problem(run, (failures or {}).get(run.spec)) for run in runs if not run.usable)
        there = [run for run in runs if run.usable]
        at_sparsity = _compare(there, lambda run: run.density, sparsity_curves, at_density, "density", margin, problems)
        at_macs = _compare(there, lambda run: run.macs_m or 0.0, macs_curves, at_cost, "MACs", margin, problems)
        regimes.append(Regime(target, runs, at_sparsity, at_macs, problems))
    return regimes


def exit_code(regimes: Sequence[Regime], strict: bool = False) -> int:
    """For scripts: 2 when a run of the method came to nothing, else 1 when it is worse than STR in a regime, else, if
    ``strict``, 4 when a regime is not decided, else 0. Only the comparison at equal sparsity counts.
    """
    answers = {regime.at_sparsity.answer for regime in regimes}
    if any(regime.problems for regime in regimes):
        return 2
    if Answer.WORSE in answers:
        return 1
    return 4 if strict and not all(answer.decided for answer in answers) else 0


def at_density(points: Curve, density: float) -> float | None:
    """STR's accuracy at a density, between its runs; None outside their range."""
    return _between(sorted(points), density)


def at_cost(points: Curve, macs: float) -> float | None:
    """The best accuracy that STR reaches with so many MACs; None outside the range of its runs."""
    most = max(cost for cost, _ in points)
    front = pareto_front(points)
    if front[-1][0] < macs <= most * (1 + EDGE):
        return front[-1][1]
    return _between(front, macs)


def pareto_front(points: Curve) -> list[tuple[float, float]]:
    """The points that are more accurate than every one that costs no more, in order of cost."""
    front: list[tuple[float, float]] = []
    for cost, accuracy in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or accuracy > front[-1][1]:
            front.append((cost, accuracy))
    return front


def judge(difference: Summary, margin: float) -> tuple[Answer, int | None]:
    """The verdict on an interval, and how many seeds would give one where these do not.

    Inside -margin to +margin the two are equivalent, even where the interval leaves out zero: the margin is what does
    not matter. Otherwise an interval without zero decides.
    """
    if difference.low is None or difference.high is None or difference.sd is None:
        return Answer.TOO_FEW, None
    if -margin <= difference.low and difference.high <= margin:
        return Answer.EQUIVALENT, None
    if difference.low > 0.0:
        return Answer.BETTER, None
    if difference.high < 0.0:
        return Answer.WORSE, None
    return Answer.TOO_FEW, seeds_needed(difference.mean, difference.sd, difference.n, margin)


def seeds_needed(mean: float, sd: float, n: int, margin: float) -> int | None:
    """The smallest number of seeds, above ``n``, whose interval would leave out zero or lie within the margin, were
    mean and spread to stay what they are; None when more than MOST_SEEDS.
    """
    for count in range(n + 1, MOST_SEEDS + 1):
        half = float(special.stdtrit(count - 1, 0.5 + LEVEL / 2)) * sd / math.sqrt(count)
        if half < abs(mean) or abs(mean) + half <= margin:
            return count
    return None


def _between(points: Curve, x: float) -> float | None:
    """Piecewise linear in log x through points in order; the outermost hold up to EDGE beyond them."""
    (first, low), (last, high) = points[0], points[-1]
    if not first / (1 + EDGE) <= x <= last * (1 + EDGE) or x <= 0.0:
        return None
    if x <= first:
        return low
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        if x <= x1:
            return y1 if x1 == x0 else y0 + (y1 - y0) * math.log(x / x0) / math.log(x1 / x0)
    return high


def _compare(
    runs: Sequence[Measured],
    x: Callable[[Measured], float],
    curves: Mapping[int, Curve],
    read_off: Callable[[Curve, float], float | None],
    quantity: str,
    margin: float,
    problems: Sequence[str],
) -> Comparison:
    if not runs:
        return Comparison(Answer.NO_RESULT, notes=tuple(problems) or ("no run",))
    mine: dict[int, float] = {}
    theirs: dict[int, float] = {}
    outside: list[Measured] = []
    for run in runs:
        assert run.top1_pct is not None
        curve = curves.get(run.seed)
        value = None if curve is None else read_off(curve, x(run))
        if value is None:
            outside.append(run)
        else:
            mine[run.seed], theirs[run.seed] = run.top1_pct, value
    notes = (*problems, *_outside(outside, x, curves, quantity))
    paired = paired_difference(mine, theirs)
    if paired is None or (outside and len(mine) < 2):
        return Comparison(Answer.OUTSIDE, notes=notes)
    answer, needed = judge(paired.difference, margin)
    if answer is Answer.TOO_FEW and paired.difference.n == 1:
        notes = (*notes, "one seed gives no interval; two are the least, three the default")
    return Comparison(answer, paired.difference, sum(theirs.values()) / len(theirs), tuple(sorted(mine)), needed, notes)


def _outside(
    runs: Sequence[Measured],
    x: Callable[[Measured], float],
    curves: Mapping[int, Curve],
    quantity: str,
) -> list[str]:
    """For the runs that STR cannot be read off at: how far out they lie, and what would decide."""
    notes = []
    alone = [run.seed for run in runs if run.seed not in curves]
    if alone:
        notes.append(f"{_seeds(alone)}: STR has no finished run")
    known = [run for run in runs if run.seed in curves]
    for side in ("sparser", "denser"):
        there = [run for run in known if (x(run) < min(curves[run.seed])[0]) == (side == "sparser")]
        if not there:
            continue
        ends = [value for run in there for value, _ in curves[run.seed]]
        mine, theirs = [x(run) for run in there], [min(ends), max(ends)]
        if quantity == "density":
            span, unit = [_span([100.0 * (1.0 - value) for value in values], ".2f") for values in (mine, theirs)], "%"
        else:
            span, unit = [_span(values, ".3g") for values in (mine, theirs)], "million MACs"
        notes.append(
            f"{_seeds([run.seed for run in there])} at {span[0]} {unit}, where STR's runs have {span[1]}; "
            f"{side} STR runs would decide"
        )
    return notes


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"


def _span(values: Sequence[float], digits: str) -> str:
    low, high = format(min(values), digits), format(max(values), digits)
    return low if low == high else f"{low} to {high}"


def _problem(run: Measured, failure: str | None) -> str:
    """A run of the method that has no accuracy, in words."""
    say = {
        "diverged": "the loss or the weights stopped being finite",
        "not_sparse": f"pruned nothing ({run.sparsity_pct or 0.0:.2f} % sparse at the end)",
    }
    return f"seed {run.seed}: {failure or say.get(run.status, run.status)}"
