"""Statistics over seeds: means, Student's t intervals and paired differences. One seed gives no interval."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import special  # scipy.stats has the same functions, and takes two seconds to import

from paper_repro.errors import UserError

LEVEL = 0.95


@dataclass(frozen=True)
class Summary:
    """Mean over ``n`` runs with the sample standard deviation and the two-sided t interval of ``level``.

    With one run there is neither: ``sd``, ``low`` and ``high`` are None.
    """

    n: int
    mean: float
    sd: float | None
    low: float | None
    high: float | None
    level: float = LEVEL

    def text(self, digits: int = 2, unit: str = "") -> str:
        """For people: "89.01 (n = 1)" or "89.01 [88.70, 89.32] (n = 3)"."""
        interval = "" if self.low is None or self.high is None else f" [{self.low:.{digits}f}, {self.high:.{digits}f}]"
        return f"{self.mean:.{digits}f}{unit}{interval} (n = {self.n})"


@dataclass(frozen=True)
class PairedDifference:
    """Mean of a - b over the seeds that both have, and the paired t test of its being zero.

    ``p`` is None where it has no meaning: with one seed, and when all differences are the same number.
    ``unpaired`` are the seeds that only one of the two has; they are left out.
    """

    difference: Summary
    p: float | None
    seeds: tuple[int, ...]
    unpaired: tuple[int, ...]

    def text(self) -> str:
        """For people: "+0.70 [-1.33, +2.73]", or without the interval."""
        gap = self.difference
        interval = "" if gap.low is None or gap.high is None else f" [{gap.low:+.2f}, {gap.high:+.2f}]"
        return f"{gap.mean:+.2f}{interval}"


def summarise(values: Iterable[float], level: float = LEVEL) -> Summary:
    """Summary of at least one finite number. Raises UserError for none, and for numbers that are not finite."""
    data = np.asarray(list(values), dtype=float)
    if not len(data) or not np.isfinite(data).all():
        raise UserError(f"a mean needs at least one value, and finite ones: {data.tolist()}")
    mean = float(data.mean())
    if len(data) == 1:
        return Summary(1, mean, None, None, None, level)
    sd = float(data.std(ddof=1))
    half = float(special.stdtrit(len(data) - 1, 0.5 + level / 2)) * sd / float(np.sqrt(len(data)))
    return Summary(len(data), mean, sd, mean - half, mean + half, level)


def paired_difference(a: Mapping[int, float], b: Mapping[int, float], level: float = LEVEL) -> PairedDifference | None:
    """a - b, paired by seed (the mappings' keys); None when they have no seed in common."""
    seeds = tuple(sorted(set(a) & set(b)))
    if not seeds:
        return None
    differences = [a[seed] - b[seed] for seed in seeds]
    summary = summarise(differences, level)
    p = None
    # rounding leaves a spread of 1e-14 among equal differences: no evidence of anything
    if summary.sd is not None and summary.sd > 1e-9 * max(1.0, abs(summary.mean)):
        t = summary.mean / (summary.sd / float(np.sqrt(summary.n)))
        p = float(2 * special.stdtr(summary.n - 1, -abs(t)))
    return PairedDifference(summary, p, seeds, tuple(sorted(set(a) ^ set(b))))
