"""Statistics over seeds: means, Student's t intervals, paired differences, Holm's correction for several of them, the
range of one more run, and how many seeds decide. One seed gives no interval.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import special  # scipy.stats has the same functions, and takes two seconds to import

from paper_repro.errors import UserError

LEVEL = 0.95  # of intervals; 1 - LEVEL is the error rate that tests keep
POWER = 0.8  # a number of seeds is enough when it decides in four cases of five
PERCENT = (0.0, 100.0)  # between which an accuracy lies
MOST_SEEDS = 100  # more are not worth naming


@dataclass(frozen=True)
class Summary:
    """Mean over ``n`` runs with the sample standard deviation and the two-sided t interval of ``LEVEL``.

    With one run there is neither: ``sd``, ``low`` and ``high`` are None.
    """

    n: int
    mean: float
    sd: float | None
    low: float | None
    high: float | None

    @property
    def p(self) -> float | None:
        """Of the t test of the mean being zero; None where it has no meaning: for one run, and for runs that have all
        the same number.
        """
        # rounding leaves a spread of 1e-14 among equal differences: no evidence of anything
        if self.sd is None or self.sd <= 1e-9 * max(1.0, abs(self.mean)):
            return None
        t = self.mean / (self.sd / float(np.sqrt(self.n)))
        return float(2 * special.stdtr(self.n - 1, -abs(t)))

    def p_values(self, margin: float) -> tuple[float, float]:
        """The smallest levels a at which the 1 - a interval leaves out zero (p of the t test), and lies within -margin
        to +margin (twice the p of two one-sided tests, TOST). Needs two runs; without spread, each is 0 or 1.
        """
        assert self.sd is not None
        distance = abs(self.mean)
        if self.sd <= 1e-9 * max(1.0, distance):
            return float(distance <= 1e-9), float(distance > margin + 1e-9)
        t = np.array([distance, margin - distance]) / (self.sd / np.sqrt(self.n))
        differs, equivalent = np.minimum(1.0, 2.0 * special.stdtr(self.n - 1, -t))
        return float(differs), float(equivalent)

    def of_one_more(self, relative_variance: float = 1.0) -> tuple[float, float] | None:
        """The prediction interval: where one more run falls with a probability of ``LEVEL``. None for one number.

        ``relative_variance`` c: the variance of these numbers by that of a run, where they are read off between runs.
        A run has the variance s^2 / c, with s the deviation of the numbers, and their mean has s^2 / n. The difference
        of the two, divided by s * sqrt(1 / c + 1 / n), is t distributed with n - 1 degrees of freedom.
        """
        if self.sd is None:
            return None
        half = half_width(self.sd, self.n) * math.sqrt(self.n / relative_variance + 1.0)
        return self.mean - half, self.mean + half

    def text(self, digits: int = 2, unit: str = "", within: tuple[float, float] = (-math.inf, math.inf)) -> str:
        """For people: "89.01 (n = 1)" or "89.01 [88.70, 89.32] (n = 3)". The interval ends where nothing can lie."""
        interval = ""
        if self.low is not None and self.high is not None:
            low, high = max(self.low, within[0]), min(self.high, within[1])
            interval = f" [{low:.{digits}f}, {high:.{digits}f}]"
        return f"{self.mean:.{digits}f}{unit}{interval} (n = {self.n})"

    def signed(self) -> str:
        """A difference for people: "+0.70 [-1.33, +2.73]", or without the interval."""
        interval = "" if self.low is None or self.high is None else f" [{self.low:+.2f}, {self.high:+.2f}]"
        return f"{self.mean:+.2f}{interval}"

    def plus(self, constant: float) -> Summary:
        """The summary of the same numbers, each larger by ``constant``."""
        if self.low is None or self.high is None:
            return replace(self, mean=self.mean + constant)
        return replace(self, mean=self.mean + constant, low=self.low + constant, high=self.high + constant)


def half_width(sd: float, n: int) -> float:
    """Half the width of the t interval of ``n`` runs, two or more, with this standard deviation."""
    return float(special.stdtrit(n - 1, 0.5 + LEVEL / 2)) * sd / float(np.sqrt(n))


def summarise(values: Iterable[float]) -> Summary:
    """Summary of at least one finite number. Raises UserError for none, and for numbers that are not finite."""
    data = np.asarray(list(values), dtype=float)
    if not len(data) or not np.isfinite(data).all():
        raise UserError(f"a mean needs at least one value, and finite ones: {data.tolist()}")
    mean = float(data.mean())
    if len(data) == 1:
        return Summary(1, mean, None, None, None)
    sd = float(data.std(ddof=1))
    half = half_width(sd, len(data))
    return Summary(len(data), mean, sd, mean - half, mean + half)


def paired_difference(a: Mapping[int, float], b: Mapping[int, float]) -> Summary | None:
    """a - b over the seeds (the mappings' keys) that both have; None when they have no seed in common."""
    seeds = sorted(set(a) & set(b))
    return summarise(a[seed] - b[seed] for seed in seeds) if seeds else None


# -- several comparisons at once, and numbers of seeds ---------------------------------------------------------------


def holm(p_values: Sequence[float]) -> list[float]:
    """P values corrected for their number (Holm, 1979): with those up to a rejected, a true hypothesis is among the
    rejected ones with a probability of at most a, however the tests depend on each other.
    """
    values, count = np.asarray(p_values, dtype=float), len(p_values)
    order = np.argsort(values)
    corrected = np.empty(count)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(values[order] * (count - np.arange(count))))
    return [float(value) for value in corrected]


def pooled_sd(groups: Iterable[Sequence[float]]) -> float | None:
    """Standard deviation within groups, over all groups of two and more; None where there are none."""
    return pooled(groups)[0]


def pooled(groups: Iterable[Sequence[float]]) -> tuple[float | None, int]:
    """``pooled_sd``, and its degrees of freedom."""
    arrays = [np.asarray(group, dtype=float) for group in groups if len(group) > 1]
    freedom = sum(len(array) - 1 for array in arrays)
    squares = sum(float(((array - array.mean()) ** 2).sum()) for array in arrays)
    return (float(np.sqrt(squares / freedom)) if arrays else None), freedom


def apart_by_reseeding(groups: Iterable[Sequence[float]]) -> float | None:
    """How far two runs that differ by their seed alone lie apart at most, with a probability of ``LEVEL``, where runs
    spread as within these groups; None where no group has two.
    """
    sd, freedom = pooled(groups)
    return None if sd is None else float(special.stdtrit(freedom, 0.5 + LEVEL / 2)) * math.sqrt(2.0) * sd


def chance_to_decide(difference: float, sd: float, n: int, margin: float, comparisons: int = 1) -> float:
    """Probability that ``n`` pairs decide, where the paired differences are normal with this mean and deviation: that
    their interval leaves out zero or lies within the margin. ``comparisons`` made at once have intervals of level
    1 - (1 - LEVEL) / comparisons: the first step of Holm's correction, and so a lower bound of what it gives.
    """
    if sd <= 0.0:
        return 1.0
    quantiles = (np.arange(500) + 0.5) / 500  # of the standard deviation that the n pairs will show
    seen = sd * np.sqrt(special.chdtri(n - 1, quantiles) / (n - 1))
    half = special.stdtrit(n - 1, 1.0 - (1.0 - LEVEL) / comparisons / 2.0) * seen / np.sqrt(n)

    def mean_within(bound: np.ndarray) -> np.ndarray:
        ends = [special.ndtr((end - difference) * np.sqrt(n) / sd) for end in (-bound, bound)]
        return np.asarray(ends[1] - ends[0])

    # a mean nearer to zero than half is not told from it, and one nearer than margin - half is equivalent
    undecided = mean_within(half) - mean_within(np.maximum(margin - half, 0.0))
    return 1.0 - float(np.maximum(undecided, 0.0).mean())


def seeds_needed(difference: float, sd: float, margin: float, comparisons: int = 1, above: int = 1) -> int | None:
    """The smallest number of seeds, more than ``above``, that decides with a probability of ``POWER``; None when more
    than ``MOST_SEEDS``.
    """
    counts = range(above + 1, MOST_SEEDS + 1)
    return next((n for n in counts if chance_to_decide(difference, sd, n, margin, comparisons) >= POWER), None)


def smallest_decided(sd: float, n: int, comparisons: int = 1) -> float:
    """The difference from which on ``n`` seeds, two or more, tell it from zero with a probability of ``POWER``."""
    differences = sd * np.geomspace(0.01, 10_000.0, 500)
    chances = [chance_to_decide(float(difference), sd, n, 0.0, comparisons) for difference in differences]
    return float(np.interp(POWER, chances, differences))
