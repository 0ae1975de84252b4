"""How the benchmarks are timed: as ratios of what takes turns in one run, or of the members of a group."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

from scipy.stats import quantile_test


def label(benchmark, group: str, name: str, reference: bool = False, at_most: float | None = None) -> None:
    """``reference``: the member of ``group`` against which the others are printed; ``at_most``: what the ratio to it is
    to be.
    """
    benchmark.group = group
    benchmark.extra_info.update(label=name, reference=reference, at_most=at_most)


def taking_turns(
    benchmark,
    mine: Callable[[], None],
    theirs: Callable[[], None],
    rounds: int,
    beside: str = "dense",
    between: Callable[[], None] = lambda: None,
) -> None:
    """Time ``mine``, each call right after one of ``theirs``, which is called ``beside`` in print: machines are never
    idle for long enough to compare a minute with the next. ``between`` is called after theirs and is not timed.
    """
    other: list[float] = []

    def one_of_theirs() -> None:
        began = time.perf_counter()
        theirs()
        other.append(time.perf_counter() - began)
        between()

    benchmark.pedantic(mine, setup=one_of_theirs, rounds=rounds, warmup_rounds=1)
    if not benchmark.disabled:
        pairs = zip(benchmark.stats.stats.data, other[-rounds:], strict=True)
        ratios = [own / their for own, their in pairs]
        low, high = interval(ratios)
        benchmark.extra_info.update(ratio=statistics.median(ratios), low=low, high=high, beside=beside)


def interval(ratios: Sequence[float]) -> tuple[float | None, float | None]:
    """The 95 % interval of their median, from their order alone: single rounds are slow for reasons of the machine's.
    Fewer than six have none.
    """
    if len(ratios) < 6:
        return None, None
    low, high = quantile_test(ratios, p=0.5).confidence_interval(0.95)
    return float(low), float(high)
