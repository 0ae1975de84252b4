"""Is a method better than STR? The comparison of ``regress``: every regime of STR, at equal sparsity and at equal
multiply-adds, as ``contrast.py`` defines both; what came out, in words and as one data frame.

The regimes are judged together, those at equal sparsity and those at equal MACs each with Holm's correction. A verdict
needs two seeds, because one gives no interval; one is held against the range of STR's reseeded runs instead.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import pandas as pd

from paper_repro.evidence.contrast import Answer, At, Contrast, Network, contrast, counterpart, judge_all
from paper_repro.evidence.statistics import MOST_SEEDS, Summary, seeds_needed, summarise
from paper_repro.spec import Spec

TEXTS = ("dataset", "origin", "arithmetic", "machine", "commit", "dirty", "torch", "device")  # of a stored run
AXES = (At.SPARSITY, At.MACS)
NUMBERS = ("top1_pct", "sparsity_pct", "macs_m", "str_top1_pct", "difference", "low", "high", "p")


@dataclass(frozen=True)
class Measured:
    """One run, of the method or of STR. ``origin`` says where it was found, ``arithmetic`` what its pair has in common
    with it, and ``machine`` what trained it, in the same words wherever it was found.
    """

    spec: str
    regime_pct: float
    seed: int
    status: str
    top1_pct: float | None
    sparsity_pct: float | None
    macs_m: float | None
    dataset: str = ""
    origin: str = ""
    arithmetic: str = ""
    machine: str = ""
    commit: str = "unknown"
    dirty: str = "unknown"
    torch: str = "unknown"
    device: str = "unknown"
    claimed_sparsity_pct: float | str | None = None

    @property
    def usable(self) -> bool:
        return self.status == "finished" and self.top1_pct is not None

    @property
    def network(self) -> Network:
        """What is compared of it."""
        assert self.top1_pct is not None and self.sparsity_pct is not None
        macs_m = math.nan if self.macs_m is None else self.macs_m
        density = 1.0 - self.sparsity_pct / 100.0
        row = f"{self.regime_pct:g}"
        return Network(self.seed, self.dataset, self.top1_pct, density, macs_m, self.arithmetic, row)


def measured(runs: Iterable[tuple[float, Spec]], stored: Mapping[str, Mapping[str, Any]]) -> list[Measured]:
    """The runs with the regime that each stands for. ``stored``: spec name -> what is known of a finished run."""
    every = []
    for target, spec in runs:
        known = stored.get(spec.name, {"status": "failed"})
        numbers = (known.get(name) for name in ("top1_pct", "sparsity_pct", "sparse_macs_m"))
        top1_pct, sparsity_pct, macs_m = (None if pd.isna(value) else float(value) for value in numbers)
        texts = {name: str(known[name]) for name in TEXTS if name in known}
        claimed = known.get("claimed_sparsity_pct")
        every.append(
            Measured(
                spec.name,
                target,
                spec.seed,
                str(known["status"]),
                top1_pct,
                sparsity_pct,
                macs_m,
                **texts,
                claimed_sparsity_pct=claimed,
            )
        )
    return every


@dataclass(frozen=True)
class Comparison:
    """The method's accuracy minus STR's in one regime, in points. ``runs``: the method's. ``p``: of the difference,
    with Holm's correction over the regimes. ``seeds_needed``: how many seeds would decide this one regime with the
    probability ``POWER``, were mean and spread what they seem; None where there is no spread, or too many are needed.
    """

    target_pct: float
    at: At
    answer: Answer
    runs: tuple[Measured, ...] = ()
    difference: Summary | None = None
    p: float | None = None
    str_top1_pct: float | None = None
    seeds: tuple[int, ...] = ()
    seeds_needed: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def note(self) -> str:
        """Why it has no verdict, or fewer seeds."""
        return "; ".join(self.notes)

    @property
    def enough(self) -> str:
        """How many seeds would decide, where there are too few; empty where nothing is known of that."""
        if self.answer is not Answer.TOO_FEW or self.difference is None or self.difference.sd is None:
            return ""
        return f"{self.seeds_needed or f'more than {MOST_SEEDS}'} would decide"

    @property
    def verdict(self) -> str:
        """The answer in words, with the number of seeds that would decide."""
        return f"{self.answer} ({self.enough})" if self.enough else str(self.answer)

    def mean(self, quantity: str) -> float:
        """Mean over the usable runs of "top1_pct", "sparsity_pct" or "macs_m"; NaN without any."""
        values = [getattr(run, quantity) for run in self.runs if run.usable]
        return summarise(values).mean if values else math.nan


def compare(
    targets: Sequence[float],
    method: Sequence[Measured],
    str_runs: Sequence[Measured],
    margin: float,
    failures: Mapping[str, str] | None = None,
    across_machines: bool = False,
    left_out: Mapping[float, str] | None = None,
) -> list[Comparison]:
    """One comparison per target and axis, target by target. ``failures``: spec name -> why its run failed.
    ``across_machines``: pair runs whatever trained them. ``left_out``: target -> why the method has no run there.
    """
    if across_machines:
        method, str_runs = ([replace(run, arithmetic="") for run in runs] for runs in (method, str_runs))
    others, why = networks(str_runs), left_out or {}
    runs = {target: [run for run in method if run.regime_pct == target] for target in targets}
    of_axis = []
    for at in AXES:
        lines = [
            _line(target, at, of, contrast(networks(of), others, at), others, failures or {}, why.get(target, "no run"))
            for target, of in runs.items()
        ]
        of_axis.append(_judged(lines, margin))
    return [line for lines in zip(*of_axis, strict=True) for line in lines]


def networks(runs: Iterable[Measured]) -> list[Network]:
    """What is compared of the runs that have ended well."""
    return [run.network for run in runs if run.usable]


def _line(
    target: float,
    at: At,
    runs: Sequence[Measured],
    pairs: Contrast,
    others: Sequence[Network],
    failures: Mapping[str, str],
    no_run: str,
) -> Comparison:
    """What is known of one regime before the regimes are judged together. ``no_run``: why there is no run at all."""
    problems = [_problem(run, failures.get(run.spec)) for run in runs if not run.usable]
    ours = networks(runs)
    line = Comparison(target, at, Answer.NO_RESULT, tuple(sorted(runs, key=lambda run: run.seed)))
    if not ours:
        return replace(line, notes=tuple(problems) or (no_run,))
    notes = [*problems]
    if pairs.alone:
        notes.append(f"{_seeds(pairs.alone)}: STR has no finished run on the same data and machine")
    notes += _outside(pairs.outside, others, at)
    if len(ours) == 1:
        notes += _among_reseeded(ours[0], others, at)
    difference = pairs.difference()
    if difference is None or (pairs.outside and difference.n < 2):
        return replace(line, answer=Answer.OUTSIDE if pairs.outside else Answer.NO_RESULT, notes=tuple(notes))
    if difference.n == 1:
        notes.append("one seed gives no interval; two are the least, three the default")
    return replace(
        line,
        answer=Answer.TOO_FEW,
        difference=difference,
        str_top1_pct=summarise(there.top1_pct for _, there in pairs.pairs).mean,
        seeds=tuple(network.seed for network, _ in pairs.pairs),
        notes=tuple(notes),
    )


def _judged(lines: Sequence[Comparison], margin: float) -> list[Comparison]:
    """The lines of one axis with their answers, corrected for how many of them have an interval."""
    differences = [line.difference for line in lines if line.difference is not None]
    count = sum(difference.sd is not None for difference in differences)
    answers = iter(judge_all(differences, margin))
    return [line if line.difference is None else _answered(line, *next(answers), margin, count) for line in lines]


def _answered(line: Comparison, answer: Answer, p: float | None, margin: float, count: int) -> Comparison:
    known, needed = line.difference, None
    if answer is Answer.TOO_FEW and known is not None and known.sd is not None:
        needed = seeds_needed(known.mean, known.sd, margin, count, above=known.n)
    return replace(line, answer=answer, p=p, seeds_needed=needed)


def exit_code(lines: Sequence[Comparison], strict: bool = False) -> int:
    """For scripts: 2 when a run of the method came to nothing, else 1 when it is worse than STR in a regime, else, if
    ``strict``, 4 when a regime is not decided, else 0. Only the comparison at equal sparsity counts.
    """
    answers = {line.answer for line in lines if line.at is At.SPARSITY}
    if any(not run.usable for line in lines for run in line.runs):
        return 2
    if Answer.WORSE in answers:
        return 1
    return 4 if strict and not all(answer.decided for answer in answers) else 0


# -- notes: why a regime has no verdict, or fewer seeds --------------------------------------------------------------


def _among_reseeded(network: Network, others: Sequence[Network], at: At) -> list[str]:
    """Whether a single run lies where one more run of STR would: in the prediction interval of STR's seeds there.

    Between two runs of a seed, what is read off spreads less than a run. How much less (``relative_variance``) is known
    for runs that are independent and equally spread: "beyond" is then said of STR itself in 5 % of cases. If the runs
    of a seed go together, the interval is too wide, and "beyond" is said less often. It is not corrected for several
    regimes: no verdict follows from it, and corrected for five, that of three seeds would leave hardly anything out.
    """
    there = []
    for seed in sorted({other.seed for other in others}):
        same = [other for other in others if other.pairs_with == replace(network, seed=seed).pairs_with]
        if same and (place := counterpart(network, same, at, others)) is not None:
            there.append(place)
    if not there:
        return []
    of_str = summarise(place.top1_pct for place in there)
    expected = of_str.of_one_more(fmean(place.relative_variance for place in there))
    if expected is None:
        return [
            "one seed of STR gives no range of reseeding to hold a single run against; SEEDS=3 (--seeds 3) or more "
            "trains several seeds of both, which give an interval"
        ]
    low, high = expected
    where = "within" if low <= network.top1_pct <= high else "beyond"
    return [
        f"{network.top1_pct:.2f} % is {where} what reseeding STR gives, {low:.2f} to {high:.2f} % "
        f"(95 % prediction interval from {len(there)} seeds, of this regime alone)"
    ]


def _outside(networks: Sequence[Network], str_networks: Sequence[Network], at: At) -> list[str]:
    """For the networks that STR cannot be read off at: how far out they lie, and what would decide."""
    notes = []
    for side in ("sparser", "denser"):
        there: list[Network] = []
        ends: list[float] = []
        for network in networks:
            known = [_place(other, at) for other in str_networks if other.pairs_with == network.pairs_with]
            if (_place(network, at) < min(known)) == (side == "sparser"):
                there.append(network)
                ends += known
        if there:
            places = [_place(network, at) for network in there]
            notes.append(
                f"{_seeds(there)} at {_span(places, at)} {'%' if at is At.SPARSITY else 'million MACs'}, where STR's "
                f"runs have {_span(ends, at)}; {side} STR runs would decide"
            )
    return notes


def _place(network: Network, at: At) -> float:
    return network.density if at is At.SPARSITY else network.macs_m


def _span(places: Sequence[float], at: At) -> str:
    """The range, of densities as sparsities in percent."""
    values = [100.0 * (1.0 - place) for place in places] if at is At.SPARSITY else places
    low, high = (format(end, ".2f" if at is At.SPARSITY else ".3g") for end in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def _seeds(networks: Sequence[Network]) -> str:
    seeds = ", ".join(str(network.seed) for network in networks)
    return f"seed{'s' if len(networks) > 1 else ''} {seeds}"


def _problem(run: Measured, failure: str | None) -> str:
    """A run of the method that has no accuracy, in words."""
    say = {
        "diverged": "the loss or the weights stopped being finite",
        "not_sparse": f"pruned nothing ({run.sparsity_pct or 0.0:.2f} % sparse at the end)",
    }
    return f"seed {run.seed}: {failure or say.get(run.status, run.status)}"


# -- as a data frame -------------------------------------------------------------------------------------------------


def frame(lines: Sequence[Comparison]) -> pd.DataFrame:
    """A line per regime and axis, which the console, the CSV and the report all show; accuracies in percent,
    differences in points, NaN for what there is not.
    """
    rows = []
    for line in lines:
        difference = line.difference
        rows.append(
            {
                "regime_pct": f"{line.target_pct:g}",
                "at_equal": str(line.at),
                "seeds": difference.n if difference else 0,
                **{name: line.mean(name) for name in ("top1_pct", "sparsity_pct", "macs_m")},
                "str_top1_pct": line.str_top1_pct,
                "difference": difference.mean if difference else None,
                "low": difference.low if difference else None,
                "high": difference.high if difference else None,
                "p": line.p,
                "verdict": str(line.answer),
                "seeds_needed": str(line.seeds_needed or ""),
                "note": line.note,
            }
        )
    return pd.DataFrame(rows).astype(dict.fromkeys(NUMBERS, float))  # also where no line has one


def csv_text(lines: Sequence[Comparison]) -> str:
    """The frame as CSV."""
    return frame(lines).to_csv(index=False, float_format="%.4f", lineterminator="\n")
