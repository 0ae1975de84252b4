"""Statistics over seeds: means, Student's t intervals and paired differences. One seed gives no interval."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy import special  # scipy.stats has the same functions, and takes two seconds to import

from paper_repro.errors import UserError

LEVEL = 0.95


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

    def text(self, digits: int = 2, unit: str = "") -> str:
        """For people: "89.01 (n = 1)" or "89.01 [88.70, 89.32] (n = 3)"."""
        interval = "" if self.low is None or self.high is None else f" [{self.low:.{digits}f}, {self.high:.{digits}f}]"
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
