"""Other methods beside STR, in docs/ and on their pages: as their recipes are, and after equal tuning."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from paper_repro.evidence import evidence, regression, results
from paper_repro.evidence.contrast import Answer, At, contrast, judge_all, trained, trained_by
from paper_repro.evidence.lines import TrialLine
from paper_repro.evidence.regression import AXES, Comparison, Measured, networks
from paper_repro.evidence.statistics import LEVEL, POWER, apart_by_reseeding, pooled_sd, smallest_decided
from paper_repro.experiments import ranges
from paper_repro.methods import METHODS
from paper_repro.report.markdown import NOT_RUN, markdown_table, of_tier, signed
from paper_repro.verdict import MARGIN

TABLE, TIER = "resnet50", "smoke"  # whose STR rows are the regimes, unless regress is told otherwise
OF_FAMILY = {"smoke": (At.SPARSITY,), "small": AXES}  # tier -> what is held equal; both, where regimes are few
HEADER = (
    "Method",
    "Regime",
    "Top-1 (%)",
    "STR's top-1 (%)",
    "Points at equal sparsity",
    "MACs / STR's",
    "Points at equal MACs",
)


# -- by the recipes --------------------------------------------------------------------------------------------------


def successors(results_dir: Path) -> str:
    """The methods that came after STR."""
    e = evidence.load("successors", TIER, results_dir)
    of_str = evidence.load("family", TIER, results_dir)
    return _beside_str(e, of_str, sorted({row.regime_pct for row in e.table.rows if row.regime_pct}), AXES)


def family(results_dir: Path) -> str:
    """The methods that the papers compare with, and STR's extensions, at the regimes of STR's rows, tier by tier."""
    loaded = ((evidence.load("family", tier, results_dir), axes) for tier, axes in OF_FAMILY.items())
    return "\n".join(_family_at(e, axes) for e, axes in loaded if len(e.runs)) or NOT_RUN


def _family_at(e: evidence.Evidence, axes: Sequence[At]) -> str:
    rows = [row for row in e.table.rows if len(e.row_runs(row.id))]
    of_str = {row.regime_pct for row in rows if row.is_str}
    of_others = {row.regime_pct for row in rows if row.method not in ("str", "gmp")}  # both are of table resnet50 too
    return _beside_str(e, e, sorted(regime for regime in of_str & of_others if regime), axes)


def _beside_str(e: evidence.Evidence, of_str: evidence.Evidence, regimes: Sequence[float], axes: Sequence[At]) -> str:
    """The methods of a table by their recipes: points of accuracy ahead of STR, and multiply-adds. ``of_str`` has STR's
    rows of every regime.
    """
    ours = trained_by(of_str, "str")
    rows = [row for row in e.table.rows if len(e.row_runs(row.id)) and row.regime_pct in regimes]
    lines, single = [], False
    for method in dict.fromkeys(row.method for row in rows if row.method != "str"):
        networks = {row.regime_pct: trained(e, row.id) for row in rows if row.method == method}
        ahead = {at: [contrast(networks.get(regime, ()), ours, at) for regime in regimes] for at in axes}
        points = [signed(pairs.difference()) for of_axis in ahead.values() for pairs in of_axis]
        macs = [pairs.ratio("macs_m") for pairs in ahead[At.SPARSITY] if pairs.pairs]
        ends = dict.fromkeys(f"{ratio:.1f}" for ratio in (min(macs), max(macs))) if macs else ["–"]
        lines.append([f"`{method}`", *points, " to ".join(ends)])
        single |= any(len(pairs.pairs) == 1 for of_axis in ahead.values() for pairs in of_axis)
    header = ["Method", *(f"Points at equal {at}, {regime:g} %" for at in axes for regime in regimes)]
    header.append("MACs / STR's at equal sparsity")
    return of_tier(e, header, lines) + (_of_one_pair(of_str) if single else "")


def _of_one_pair(of_str: evidence.Evidence) -> str:
    """What a difference without an interval has to exceed, by the spread of STR's own seeds."""
    rows = [row.id for row in of_str.table.rows if row.is_str]
    apart = apart_by_reseeding([list(of_str.by_seed(row, "top1_pct").values()) for row in rows])
    if apart is None:
        return ""
    return (
        f"\nA number without an interval is a single pair. Two runs of STR that differ by their seed alone lie within "
        f"{apart:.1f} points of each other in {100 * LEVEL:.0f} % of cases, so a smaller difference says little.\n"
    )


def ahead_of_str(e: evidence.Evidence, row: str, of_str: evidence.Evidence) -> str:
    """Points of accuracy of a row ahead of STR at equal sparsity, with its interval; a dash where they have no pair."""
    return signed(contrast(trained(e, row), trained_by(of_str, "str"), At.SPARSITY).difference())


# -- before anything is trained --------------------------------------------------------------------------------------


def what_seeds_decide(results_dir: Path) -> str:
    """Seeds -> runs, time, and the smallest difference that they decide, by the spread of STR's runs at this tier."""
    e = evidence.load(TABLE, TIER, results_dir)
    regimes = [row.id for row in e.table.rows if row.is_str and len(e.row_runs(row.id))]
    spread = pooled_sd(list(e.by_seed(id, "top1_pct").values()) for id in regimes)
    if spread is None:
        return "Not known yet: no row of STR has a second seed.\n"
    sd, minutes = math.sqrt(2.0) * spread, e.runs[e.runs["row"].isin(regimes)]["seconds"].median() / 60.0
    lines = []
    for seeds in (2, 3, 5, 10, 20):
        runs = 2 * seeds * len(regimes)
        points = (f"{smallest_decided(sd, seeds, at_once):.1f}" for at_once in (len(regimes), 1))
        lines.append([str(seeds), str(runs), f"{runs * minutes:.0f}", *points])
    header = ["Seeds", f"Runs, {len(regimes)} regimes", "Minutes of one core"]
    header += [f"Decides from (points), {len(regimes)} regimes at once", "One regime alone"]
    return (
        f"{markdown_table(header, lines)}\nTable `{TABLE}`, tier `{TIER}`. STR's committed runs spread by {spread:.2f} "
        f"points from seed to seed, and a run took {60 * minutes:.0f} s. A difference counts as decided when it is "
        f"found in {100 * POWER:.0f} % of cases.\n"
    )


# -- after equal tuning ----------------------------------------------------------------------------------------------


def trials(results_dir: Path) -> list[TrialLine]:
    """All lines of the trials file."""
    return results.lines_if_there(results.path(results_dir, TABLE, TIER, "trials"), TrialLine)


def compared(lines: Sequence[TrialLine], method: str) -> list[Comparison]:
    """The method against STR at the regimes of both, as ``regress`` compares them."""
    runs = {who: _final_runs(lines, who) for who in (method, "str")}
    regimes = sorted({run.regime_pct for run in runs[method]} & {run.regime_pct for run in runs["str"]})
    return regression.compare(regimes, runs[method], runs["str"], MARGIN)


def _final_runs(lines: Sequence[TrialLine], method: str) -> list[Measured]:
    return [_measured(line) for line in lines if line.method == method and not line.is_trial]


def _measured(line: TrialLine) -> Measured:
    return Measured(
        line.spec,
        line.regime_pct,
        line.seed,
        line.status,
        line.top1_pct,
        line.sparsity_pct,
        line.sparse_macs_m,
        dataset=line.dataset,
        arithmetic=line.machine,
    )


def _of_regime(sparsity: Comparison, macs: Comparison, of_str: Sequence[Measured]) -> list[str]:
    """The cells of a method at one regime, from the regime on."""
    known, str_top1_pct = sparsity.difference, sparsity.str_top1_pct
    both = "–", "–"
    if known is not None and str_top1_pct is not None:
        both = f"{str_top1_pct + known.mean:.2f}", f"{str_top1_pct:.2f}"
    pairs = contrast(networks(sparsity.runs), networks(of_str), At.SPARSITY)
    ratio = f"{pairs.ratio('macs_m'):.1f}" if pairs.pairs else "–"
    return [f"{sparsity.target_pct:g} %", *both, _said(sparsity), ratio, _said(macs)]


def _said(line: Comparison) -> str:
    """Difference and verdict; the seeds that have a pair, where not all have one."""
    difference = f"{line.difference.signed()}: " if line.difference is not None else ""
    of_some = f", {len(line.seeds)} of {len(line.runs)} seeds" if 0 < len(line.seeds) < len(line.runs) else ""
    return f"{difference}{line.verdict}{of_some}"


def tuned(results_dir: Path) -> str:
    """Every method that was tuned as STR was, beside it, on each machine that both were tuned on; then who is ahead."""
    lines = trials(results_dir)
    by_machine = _by_machine(lines)
    numbers = {machine: str(number) for number, machine in enumerate(by_machine, start=1)}
    found = _beside_tuned(by_machine)
    if not found:
        return "No method of the family has been tuned yet.\n"
    rows = [
        [f"`{method}`", *_of_regime(sparsity, macs, _final_runs(by_machine[machine], "str")), numbers[machine]]
        for (method, machine, sparsity), (_, _, macs) in zip(found[::2], found[1::2], strict=True)
    ]
    setting = evidence.load(TABLE, TIER, results_dir).setting
    counts = sorted(Counter((line.method, line.regime_pct, line.machine) for line in lines if line.is_trial).values())
    each = f"{counts[0]}" if counts[0] == counts[-1] else f"{counts[0]} to {counts[-1]}"
    counted = f"{each} trials for each method and for STR at each regime"
    title = f"Table `{TABLE}`, tier `{TIER}` ({setting}), {counted}"
    ahead = "\n".join([*(_who(at, found) for at in AXES), _not_tuned(lines)])
    if len(numbers) == 1:
        return f"{title}:\n\n{markdown_table(HEADER, [row[:-1] for row in rows])}\n{ahead}\n"
    named = "; ".join(f"{number}: {machine}" for machine, number in numbers.items())
    return f"{title}:\n\n{markdown_table([*HEADER, 'Machine'], rows)}\nMachines: {named}.\n\n{ahead}\n"


def who_is_ahead(results_dir: Path) -> str:
    """Which methods are better or worse than STR after equal tuning, in one cell of a table."""
    found = _beside_tuned(_by_machine(trials(results_dir)))
    told = (f"equal {at}: {_named(_judged(at, found))}" for at in AXES)
    return f"tier `{TIER}`, at {'<br>at '.join(told)}" if found else ""


def _by_machine(lines: Sequence[TrialLine]) -> dict[str, list[TrialLine]]:
    """The lines of every machine that has compared."""
    machines = sorted({line.machine for line in lines if not line.is_trial})
    return {machine: [line for line in lines if line.machine == machine] for machine in machines}


def _beside_tuned(by_machine: Mapping[str, Sequence[TrialLine]]) -> list[tuple[str, str, Comparison]]:
    """Method, machine and comparison, of all methods but STR; first at equal sparsity and then at equal MACs."""
    return [
        (method, machine, line)
        for method in METHODS
        if method != "str"
        for machine, here in by_machine.items()
        for line in compared(here, method)
    ]


def _who(at: At, found: Sequence[tuple[str, str, Comparison]]) -> str:
    """Which methods are better or worse than STR, and where, as an item of a list: each judged by itself, and then all
    comparisons of the axis at once.
    """
    judged = _judged(at, found)
    told = f"- At equal {at}, {_named(judged)}."
    if len(judged) < 2:
        return told
    answers = judge_all([line.difference for _, line in judged if line.difference is not None], MARGIN)
    at_once = [
        (method, replace(line, answer=answer)) for (method, line), (answer, _) in zip(judged, answers, strict=True)
    ]
    return f"{told} Corrected for all {len(judged)} comparisons at once, {_named(at_once)}."


def _judged(at: At, found: Sequence[tuple[str, str, Comparison]]) -> list[tuple[str, Comparison]]:
    """Method and comparison, of those of one axis that have a difference."""
    return [(method, line) for method, _, line in found if line.at is at and line.difference is not None]


def _named(judged: Sequence[tuple[str, Comparison]]) -> str:
    told = []
    for answer in (Answer.BETTER, Answer.WORSE):
        where: dict[str, set[float]] = {}
        for method, line in judged:
            if line.answer is answer:
                where.setdefault(method, set()).add(line.target_pct)
        names = (f"`{name}` ({', '.join(f'{one:g}' for one in sorted(of))} %)" for name, of in where.items())
        told.append(f"{answer} than STR: {', '.join(names) or 'none'}")
    return "; ".join(told)


def _not_tuned(lines: Sequence[TrialLine]) -> str:
    """The methods whose ranges stand written, and that no search has been made of."""
    left = [f"`{name}`" for name in ranges.of_family() if name not in {line.method for line in lines}]
    return f"- Not tuned yet: {', '.join(left) or 'none'}."
