"""Is a method better than STR? The comparison of ``regress``: every regime of STR, at equal sparsity and at equal
multiply-adds, as ``contrast.py`` defines both; what came out, in words and as CSV.

A verdict needs two seeds, because one gives no interval.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from paper_repro.evidence.contrast import MOST_SEEDS, Answer, At, Network, contrast, judge, seeds_needed
from paper_repro.evidence.statistics import Summary, summarise
from paper_repro.spec import Spec

TEXTS = ("dataset", "origin", "commit", "dirty", "torch", "device")  # of a stored run


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
    dataset: str = ""
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
    def network(self) -> Network:
        """What is compared of it."""
        assert self.top1_pct is not None and self.sparsity_pct is not None
        macs_m = math.nan if self.macs_m is None else self.macs_m
        return Network(self.seed, self.dataset, self.top1_pct, 1.0 - self.sparsity_pct / 100.0, macs_m)


def measured(runs: Iterable[tuple[float, Spec]], stored: Mapping[str, Mapping[str, Any]]) -> list[Measured]:
    """The runs with the regime that each stands for. ``stored``: spec name -> what is known of a finished run."""
    every = []
    for target, spec in runs:
        known = stored.get(spec.name, {"status": "failed"})
        numbers = (known.get(name) for name in ("top1_pct", "sparsity_pct", "sparse_macs_m"))
        top1_pct, sparsity_pct, macs_m = (None if pd.isna(value) else float(value) for value in numbers)
        texts = {name: str(known[name]) for name in TEXTS if name in known}
        claimed = known.get("claimed_sparsity_pct")
        status = str(known["status"])
        every.append(
            Measured(
                spec.name,
                target,
                spec.seed,
                status,
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
    problems: tuple[str, ...] = ()  # runs of the method that came to nothing, and why

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
    every = list(method)
    str_networks = [run.network for run in str_runs if run.usable]
    regimes = []
    for target in targets:
        runs = tuple(sorted((run for run in every if run.regime_pct == target), key=lambda run: run.seed))
        problems = tuple(_problem(run, (failures or {}).get(run.spec)) for run in runs if not run.usable)
        networks = [run.network for run in runs if run.usable]
        at_sparsity, at_macs = (_compare(networks, str_networks, at, margin, problems) for at in (At.SPARSITY, At.MACS))
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


def _compare(
    networks: Sequence[Network], str_networks: Sequence[Network], at: At, margin: float, problems: Sequence[str]
) -> Comparison:
    if not networks:
        return Comparison(Answer.NO_RESULT, notes=tuple(problems) or ("no run",))
    compared = contrast(networks, str_networks, at)
    notes = [*problems]
    if compared.alone:
        notes.append(f"{_seeds(compared.alone)}: STR has no finished run on the same data")
    notes += _outside(compared.outside, str_networks, at)
    difference = compared.difference()
    if difference is None or (compared.outside and difference.n < 2):
        return Comparison(Answer.OUTSIDE, notes=tuple(notes))
    answer = judge(difference, margin)
    if difference.n == 1:
        notes.append("one seed gives no interval; two are the least, three the default")
    return Comparison(
        answer,
        difference,
        summarise(there.top1_pct for _, there in compared.pairs).mean,
        tuple(network.seed for network, _ in compared.pairs),
        seeds_needed(difference, margin) if answer is Answer.TOO_FEW else None,
        tuple(notes),
    )


def _outside(networks: Sequence[Network], str_networks: Sequence[Network], at: At) -> list[str]:
    """For the networks that STR cannot be read off at: how far out they lie, and what would decide."""
    notes = []
    for side in ("sparser", "denser"):
        there: list[Network] = []
        ends: list[float] = []
        for network in networks:
            known = [_place(other, at) for other in str_networks if other.seed == network.seed]
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


# -- in words and as CSV ---------------------------------------------------------------------------------------------


def summary(name: str, regimes: Sequence[Regime]) -> str:
    """One sentence: in how many regimes what came out, at equal sparsity."""
    answers = [str(regime.at_sparsity.answer) for regime in regimes]
    counted = ", ".join(f"{answer} in {answers.count(answer)}" for answer in dict.fromkeys(answers))
    return f"{name} against STR at equal sparsity, {len(regimes)} regimes: {counted}."


def notes(regimes: Sequence[Regime]) -> list[tuple[str, str]]:
    """What does not fit into the table: (where, why a regime has no verdict, or fewer seeds), each said once."""
    places: dict[str, list[str]] = {}
    for regime in regimes:
        for axis, comparison in (("sparsity", regime.at_sparsity), ("MACs", regime.at_macs)):
            for note in comparison.notes:
                places.setdefault(note, []).append(f"{regime.target_pct:g} % at equal {axis}")
    return [
        ("everywhere" if len(where) == 2 * len(regimes) else ", ".join(where), note) for note, where in places.items()
    ]


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
    """How many runs came from where."""
    origins = [run.origin for run in runs if run.origin]
    return [f"{origins.count(origin)} runs from {origin}" for origin in sorted(set(origins))]


def csv_text(regimes: Sequence[Regime]) -> str:
    """The comparison as CSV: a line per regime and comparison; accuracies and differences in percent and points."""
    lines = []
    for regime in regimes:
        means = {name: regime.mean(name) for name in ("top1_pct", "sparsity_pct", "macs_m")}
        for at, comparison in (("sparsity", regime.at_sparsity), ("macs", regime.at_macs)):
            difference = comparison.difference
            lines.append(
                {
                    "regime_pct": f"{regime.target_pct:g}",
                    "at_equal": at,
                    "seeds": difference.n if difference else 0,
                    **{name: mean.mean if mean else None for name, mean in means.items()},
                    "str_top1_pct": comparison.str_top1_pct,
                    "difference": difference.mean if difference else None,
                    "low": difference.low if difference else None,
                    "high": difference.high if difference else None,
                    "verdict": str(comparison.answer),
                    "seeds_needed": str(comparison.seeds_needed or ""),
                    "note": comparison.note,
                }
            )
    numbers = ("top1_pct", "sparsity_pct", "macs_m", "str_top1_pct", "difference", "low", "high")
    frame = pd.DataFrame(lines).astype(dict.fromkeys(numbers, float))  # also where no line has one
    return frame.to_csv(index=False, float_format="%.4f", lineterminator="\n")
