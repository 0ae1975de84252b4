"""One comparison of two sets of networks: paired by seed, at equal sparsity, multiply-adds or accuracy, with the 95 %
interval of the differences and what it decides. Claims, tables of ranks and ``regress`` all compare in this way.

**Pairing.** A network is compared with networks of its own seed: the same seed means the same initial weights and the
same order of the data, so that what two seeds differ in cancels. Networks measured on unlike data are never compared.

**At equal what.** STR's networks end near a sparsity and not at it, so the other side is read off between its networks
on either side, and what lies between them is a straight line in these scales:

- *Equal sparsity*: accuracy over the logarithm of density (1 - sparsity), because halving the weights costs about the
  same from 10 to 5 % as from 2 to 1 %. Multiply-adds are read off there too, as a power of density, which is exact for
  a uniform budget. Whoever asks for a sparsity gets the network of that sparsity, even if a sparser one is better: no
  network is left out.
- *Equal MACs*: accuracy over the logarithm of MACs, along the Pareto front. MACs are a price: whoever can pay for a
  network can also take a cheaper one that is more accurate, so that only networks that no cheaper one reaches count.
  Which rows these are is told by the means of the other seeds. By the seed's own accuracies it would be the lucky
  networks that count, and this side would look better than it is.
- *Equal accuracy*: the same front read the other way round.

**Nothing is extrapolated.** Up to ``EDGE`` of density or MACs beyond the outermost network, that network itself stands.
Further out nothing is compared, in either direction. A lead with fewer weights, or a deficit with more, would decide
for networks whose accuracy only falls with sparsity; those of the small tiers do not behave so. More MACs than the last
network of the front are compared with that one, as long as the other side has networks of so many MACs at all.

**Verdict.** An interval without zero decides; one within the margin shows that the two are equivalent. One seed gives
no interval and decides nothing. Of several comparisons made at once (``judge_all``), each of the two tests is corrected
by Holm's method. How often an answer is wrong: docs/compare.md, "What a verdict promises".

**One machine.** Rounding is part of a training: on another processor the same seed ends elsewhere, and what two runs of
a seed have in common is lost. Networks with another ``arithmetic`` are therefore no pair. Of committed runs it is what
their line says: the name of the processor or GPU, the processor's instructions where the line has them, threads, the
version of PyTorch, and the options of the run, such as its precision.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean
from typing import Any

import numpy as np

from paper_repro import tables
from paper_repro.data.catalog import dataset
from paper_repro.evidence.evidence import Evidence
from paper_repro.evidence.statistics import LEVEL, Summary, holm, summarise

EDGE = 0.1  # networks count as equally sparse, or as costly, up to this fraction of the smaller density or MACs


class At(StrEnum):
    """What two networks have in common when they are compared."""

    SPARSITY = "sparsity"
    MACS = "MACs"
    ACCURACY = "accuracy"
    ROW = "row"  # nothing is read off: the two rows are compared as they are


@dataclass(frozen=True)
class Network:
    """What a comparison needs to know of a network, trained or printed. ``density``: share of the weights that are
    left. ``macs_m`` may be NaN where it is not known. ``data``: what its accuracy is measured on. ``arithmetic``: the
    machine and library that trained it. ``row``: which one of its side it is, the same for all seeds.
    ``relative_variance``: the variance of its accuracy over seeds, by that of one run; less than 1 where it is read off
    between two runs.
    """

    seed: int
    data: str
    top1_pct: float
    density: float
    macs_m: float
    arithmetic: str = ""
    row: str = ""
    relative_variance: float = 1.0

    @property
    def pairs_with(self) -> tuple[int, str, str]:
        """What the two networks of a pair have in common."""
        return self.seed, self.data, self.arithmetic


@dataclass(frozen=True)
class Contrast:
    """``pairs``: (one of ours, what theirs has there), by seed. ``outside``: networks beyond the range of the other
    side's networks of their seed. ``alone``: networks for whose seed, data and arithmetic the other side has none.
    """

    pairs: tuple[tuple[Network, Network], ...]
    outside: tuple[Network, ...] = ()
    alone: tuple[Network, ...] = ()

    def swapped(self) -> Contrast:
        """The same with the two sides exchanged."""
        return Contrast(tuple((theirs, ours) for ours, theirs in self.pairs), self.outside, self.alone)

    def difference(self, measure: str = "points") -> Summary | None:
        """How far ours is ahead, by one of ``MEASURES``; None where there is no pair."""
        by_seed = {ours.seed: MEASURES[measure](ours, theirs) for ours, theirs in self.pairs}
        return summarise(by_seed.values()) if by_seed else None

    def ratio(self, quantity: str) -> float:
        """Mean of ours over mean of theirs: of "macs_m" or "density"; NaN where it is not known."""
        ours, theirs = (sum(getattr(pair[side], quantity) for pair in self.pairs) for side in (0, 1))
        return ours / theirs if theirs else math.nan


MEASURES: Mapping[str, Callable[[Network, Network], float]] = {
    "points": lambda ours, theirs: ours.top1_pct - theirs.top1_pct,
    "macs_saved_pct": lambda ours, theirs: 100.0 * (1.0 - ours.macs_m / theirs.macs_m),
}


def contrast(networks: Iterable[Network], others: Sequence[Network], at: At) -> Contrast:
    """Each network beside what the others have at its sparsity, MACs or accuracy, paired by seed."""
    pairs: list[tuple[Network, Network]] = []
    outside: list[Network] = []
    alone: list[Network] = []
    for network in sorted(networks, key=lambda network: network.seed):
        same = [other for other in others if other.pairs_with == network.pairs_with]
        there = counterpart(network, same, at, others) if same else None
        if there is not None:
            pairs.append((network, there))
        else:
            (outside if same else alone).append(network)
    return Contrast(tuple(pairs), tuple(outside), tuple(alone))


def counterpart(network: Network, others: Sequence[Network], at: At, every: Sequence[Network] = ()) -> Network | None:
    """The network that the others would have where this one is; None outside of their range. ``others``: at least one,
    of its seed and data; ``every``: those of other seeds too.
    """
    top1_pct, density, macs_m = network.top1_pct, network.density, network.macs_m
    if at is At.ROW:
        return others[0]
    if at is At.SPARSITY:
        x = [other.density for other in others]
        accuracy = _read_off(density, x, [other.top1_pct for other in others])
        log_macs = _read_off(density, x, [math.log(other.macs_m) if other.macs_m > 0 else math.nan for other in others])
        if accuracy is None or log_macs is None:
            return None
        variance = _variance_read_off(density, x)
        return Network(network.seed, network.data, accuracy, density, math.exp(log_macs), relative_variance=variance)
    front = [(other.macs_m, other.top1_pct) for other in _on_the_front(others, every)]
    if at is At.ACCURACY:
        front = pareto_front(front)  # accuracies that rise can be read both ways
    if not front:
        return None
    macs, accuracies = zip(*front, strict=True)
    if at is At.MACS:
        most = max(other.macs_m for other in others if other.macs_m > 0.0)  # NaN where they are not known
        accuracy = _read_off(macs_m, [*macs, most], [*accuracies, accuracies[-1]])
        if accuracy is None:
            return None
        variance = _variance_read_off(macs_m, macs)
        return Network(network.seed, network.data, accuracy, math.nan, macs_m, relative_variance=variance)
    if not accuracies[0] <= top1_pct <= accuracies[-1]:
        return None
    return Network(
        network.seed, network.data, top1_pct, math.nan, float(np.exp(np.interp(top1_pct, accuracies, np.log(macs))))
    )


def _on_the_front(networks: Sequence[Network], every: Sequence[Network]) -> list[Network]:
    """Those networks of one seed whose rows are on the Pareto front, in order of MACs. The front is that of the rows'
    means over the other seeds in ``every``; a row that has no other seed is there with its own.
    """
    means = {}
    for network in networks:
        of_row = [
            other
            for other in every
            if network.row and other.row == network.row and other.seed != network.seed
            if (other.data, other.arithmetic) == (network.data, network.arithmetic)
        ] or [network]
        means[network] = fmean(one.macs_m for one in of_row), fmean(one.top1_pct for one in of_row)
    front = set(pareto_front(place for place in means.values() if place[0] > 0))
    return sorted((network for network in networks if means[network] in front), key=lambda network: network.macs_m)


def pareto_front(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """The (MACs, accuracy) that are more accurate than every one that costs no more, in order of MACs."""
    front: list[tuple[float, float]] = []
    for macs, accuracy in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or accuracy > front[-1][1]:
            front.append((macs, accuracy))
    return front


def _read_off(x: float, at: Sequence[float], values: Sequence[float]) -> float | None:
    """Piecewise linear in the logarithm of x; the outermost values hold up to EDGE beyond them."""
    points = sorted((place, value) for place, value in zip(at, values, strict=True) if place > 0.0)
    if not points or not points[0][0] / (1 + EDGE) <= x <= points[-1][0] * (1 + EDGE):
        return None
    places, y = zip(*points, strict=True)
    return float(np.interp(math.log(x), np.log(places), y))


def _variance_read_off(x: float, at: Sequence[float]) -> float:
    """The variance of what is read off there, by that of one run: w^2 + (1 - w)^2 between two runs that are weighted by
    w and 1 - w, independent and equally spread; 1 at a run and beyond the outermost.
    """
    places = np.log(sorted(place for place in at if place > 0.0))
    weight = float(np.interp(math.log(x), places, np.arange(len(places)))) % 1.0
    return weight**2 + (1.0 - weight) ** 2


# -- what an interval decides ----------------------------------------------------------------------------------------


class Answer(StrEnum):
    """Is one better than the other?"""

    BETTER = "better"
    WORSE = "worse"
    EQUIVALENT = "equivalent within the margin"
    TOO_FEW = "not enough seeds"
    OUTSIDE = "outside STR's range"
    NO_RESULT = "no result"

    @property
    def decided(self) -> bool:
        return self in (Answer.BETTER, Answer.WORSE, Answer.EQUIVALENT)


def judge(difference: Summary, margin: float = 0.0) -> Answer:
    """What an interval says. Inside -margin to +margin the two are equivalent, even where it leaves out zero: the
    margin is what does not matter. Otherwise an interval without zero decides.
    """
    return judge_all([difference], margin)[0][0]


def judge_all(differences: Sequence[Summary], margin: float = 0.0) -> list[tuple[Answer, float | None]]:
    """What each of several comparisons made at once says, by ``judge``'s rule under Holm's correction; and the
    corrected p value of its difference from zero. Those of one seed have none, and do not count.
    """
    p_values = {at: item.p_values(margin) for at, item in enumerate(differences) if item.sd is not None}
    differs, equivalent = (
        dict(zip(p_values, holm([p[test] for p in p_values.values()]), strict=True)) for test in (0, 1)
    )
    answers: list[tuple[Answer, float | None]] = []
    for at, difference in enumerate(differences):
        answer = Answer.TOO_FEW
        if equivalent.get(at, 1.0) <= 1.0 - LEVEL:
            answer = Answer.EQUIVALENT
        elif differs.get(at, 1.0) <= 1.0 - LEVEL:
            answer = Answer.BETTER if difference.mean > 0.0 else Answer.WORSE
        answers.append((answer, differs.get(at)))
    return answers


# -- the networks of a table -----------------------------------------------------------------------------------------


def trained(evidence: Evidence, row: str) -> list[Network]:
    """The networks that the runs of a row ended with; none of a run that diverged, or pruned nothing."""
    runs = evidence.row_runs(row)
    runs = runs[runs["status"] == "finished"]
    return [
        Network(
            run["seed"],
            _examples(run["dataset"]),
            run["top1_pct"],
            _density(run["sparsity_pct"]),
            run["sparse_macs_m"],
            arithmetic(run),
            row,
        )
        for run in runs.to_dict("records")
    ]


def trained_by(evidence: Evidence, method: str) -> list[Network]:
    """The same of all rows of a method."""
    return [network for row in evidence.table.rows if row.method == method for network in trained(evidence, row.id)]


def arithmetic(run: Mapping[Any, Any]) -> str:
    """What rounded, as far as a line of results says it."""
    threads = f"{run['threads']} thread{'s' * (run['threads'] > 1)}"
    return ", ".join(filter(None, (run["device"], run["processor"], threads, f"torch {run['torch']}", run["options"])))


def printed(row: tables.Row) -> list[Network]:
    """The one network that is printed of a row, as if it had a seed; none without an accuracy."""
    numbers = row.reported
    if numbers.top1_pct is None:
        return []
    macs_m = math.nan if numbers.macs_m is None else numbers.macs_m
    return [Network(0, _examples(row.dataset), numbers.top1_pct, _density(numbers.sparsity_pct or 0.0), macs_m)]


def paired(evidence: Evidence, row: str, other: str) -> Summary | None:
    """Points of accuracy between two rows as they are; None without a seed in common on the same data."""
    return contrast(trained(evidence, row), trained(evidence, other), At.ROW).difference()


def _density(sparsity_pct: float) -> float:
    return 1.0 - sparsity_pct / 100.0


def _examples(name: str) -> str:
    """The data set, or the one that has the same examples in another scale."""
    return dataset(name).same_as or name
