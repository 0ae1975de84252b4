"""The check of every claim that is a contrast: which rows its data names, the contrast of each (``contrast.py``), and
from these one verdict and one sentence. The same for printed numbers and for runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple

from paper_repro.data.catalog import dataset
from paper_repro.evidence.contrast import Answer, At, Contrast, Network, contrast, judge, judge_all
from paper_repro.evidence.contrast import printed as printed_networks
from paper_repro.evidence.contrast import trained as trained_networks
from paper_repro.evidence.evidence import Evidence
from paper_repro.evidence.layers import full_size_macs
from paper_repro.evidence.outcome import Outcome, span
from paper_repro.evidence.statistics import Summary, summarise
from paper_repro.tables import Claim, Row
from paper_repro.verdict import Verdict, worst

READ_OFF = {"sparsity": At.SPARSITY, "macs": At.MACS, "accuracy": At.ACCURACY}
Networks = Callable[[Row], list[Network]]


class Match(NamedTuple):
    """A row beside what it is compared with. ``name``: the row, or both rows."""

    row: Row
    name: str
    contrast: Contrast


@dataclass(frozen=True)
class Line:
    """A match in numbers. ``counts``: whether the claim is about its regime."""

    match: Match
    difference: Summary
    verdict: Verdict
    counts: bool

    @property
    def macs_ratio(self) -> float:
        """Ours as a share of theirs."""
        return self.match.contrast.ratio("macs_m")

    def numbers(self) -> dict[str, Any]:
        """For the table behind the sentence."""
        ratios = {"weights_ratio": self.match.contrast.ratio("density"), "macs_ratio": self.macs_ratio}
        return {
            "row": self.match.name,
            "difference": self.difference.mean,
            "low": self.difference.low,
            "high": self.difference.high,
            "n": self.difference.n,
            "p": self.difference.p,
            **{name: ratio for name, ratio in ratios.items() if math.isfinite(ratio)},
            "verdict": str(self.verdict),
        }


def check(claim: Claim, evidence: Evidence, printed: bool) -> Outcome | None:
    """The claim on the printed numbers, or on the runs of the tier: MISSING where a row has nothing to compare with,
    INCONCLUSIVE where a network lies outside of the range of the others, or no training came to the ranks of a row.
    """
    rows = [row for row in evidence.table.rows if printed or row.id in evidence.trained_rows]
    every = matches(claim, rows, printed_networks if printed else lambda row: trained_networks(evidence, row.id))
    lines = lines_of(claim, every, printed)
    outside = [match for match in every if match.contrast.outside and not printed]
    without = [match for match in every if not match.contrast.pairs and match not in outside and not printed]
    unreached = [match for match in without if _never_had_its_ranks(evidence, match.row)]
    missing = [match for match in without if match not in unreached]
    if not (lines or outside or unreached):
        return None
    verdicts = _verdicts(claim, lines, printed)
    verdicts += [Verdict.INCONCLUSIVE for match in (*outside, *unreached) if _counts(claim, match.row)]
    verdicts += [Verdict.MISSING for match in missing if _counts(claim, match.row)]
    without_pairs = {
        "Not compared, because it lies outside the range of the other networks": outside,
        "No training came to the ranks of": unreached,
        "Nothing to compare (not run, not reached, or other data) for": missing,
    }
    sentences = _on_paper(claim, lines) if printed else _on_runs(claim, evidence, rows, lines, without_pairs)
    figure = "no training came to the ranks" if unreached and not lines else _figure(claim, lines)
    numbers = [line.numbers() for line in lines]
    return Outcome(worst(verdicts), figure, " ".join(filter(None, sentences)), numbers)


def _never_had_its_ranks(evidence: Evidence, row: Row) -> bool:
    status = evidence.row_runs(row.id)["status"]
    return len(status) > 0 and bool((status == "not_reached").all())


# -- which rows are compared -----------------------------------------------------------------------------------------


def matches(claim: Claim, rows: Sequence[Row], networks: Networks) -> list[Match]:
    """The rows of one side, each beside what it is compared with, in table order."""
    assert claim.theirs is not None
    ours, theirs = ([row for row in rows if side.of(row)] for side in (claim.ours, claim.theirs))
    if claim.at_equal == "regime":
        return list(_best_of_regimes(ours, theirs, networks))
    if claim.at_equal not in READ_OFF:
        pairs = partners(ours, theirs, ranks=claim.at_equal == "ranks")
        return [Match(row, row.id, contrast(networks(row), networks(other), At.ROW)) for row, other in pairs]
    at, of_ours = READ_OFF[claim.at_equal], claim.read_off == "ours"
    single, curve = (theirs, ours) if of_ours else (ours, theirs)
    known = [network for row in curve for network in networks(row)]
    compared = [(row, contrast(networks(row), known, at)) for row in single]
    return [Match(row, row.id, there.swapped() if of_ours else there) for row, there in compared]


def partners(ours: Iterable[Row], theirs: Iterable[Row], ranks: bool) -> list[tuple[Row, Row]]:
    """(row of ours, row of theirs) of one data set, and of the same ``ranks`` where they matter."""

    def key(row: Row) -> tuple[str, str]:
        return row.dataset, row.ranks if ranks else ""

    by_key = {key(row): row for row in theirs}
    return [(row, by_key[key(row)]) for row in ours if key(row) in by_key]


def _best_of_regimes(ours: Sequence[Row], theirs: Sequence[Row], networks: Networks) -> Iterator[Match]:
    """Best beside best by mean accuracy, in each regime that both sides have."""

    def accuracy(row: Row) -> float:
        there = networks(row)
        return summarise(network.top1_pct for network in there).mean if there else -math.inf

    for regime in dict.fromkeys(row.regime_pct for row in ours):
        sides = [[row for row in side if row.regime_pct == regime] for side in (ours, theirs)]
        if all(sides):
            first, second = (max(side, key=accuracy) for side in sides)
            there = contrast(networks(first), networks(second), At.ROW)
            weights = f", with {100 * there.ratio('density'):.0f} % of its weights" if there.pairs else ""
            yield Match(first, f"{first.id} against {second.id}{weights}", there)


# -- from contrasts to a verdict -------------------------------------------------------------------------------------


def lines_of(claim: Claim, every: Iterable[Match], printed: bool) -> list[Line]:
    """A claim of several rows holds where each of them shows it, which needs no correction: all have to. It fails where
    one of them shows the opposite, and of many one may by chance, so that this is said under Holm's.
    """
    pairs = [(match, match.contrast.difference(claim.measure)) for match in every]
    lines = [
        Line(match, difference, _holds(claim, printed, difference, _least(claim)), _counts(claim, match.row))
        for match, difference in pairs
        if difference is not None
    ]
    together = iter(judge_all([line.difference.plus(-_least(claim)) for line in lines if line.counts]))
    for at, line in enumerate(lines):
        by_chance = line.counts and next(together)[0] is not Answer.WORSE
        if line.verdict is Verdict.FAIL and by_chance and not printed:
            lines[at] = replace(line, verdict=Verdict.INCONCLUSIVE)
    return lines


def _counts(claim: Claim, row: Row) -> bool:
    return (row.regime_pct or 0.0) >= claim.counts_from_pct


def _least(claim: Claim) -> float:
    return -claim.margin if claim.at_least is None else claim.at_least


def _holds(claim: Claim, printed: bool, difference: Summary, least: float) -> Verdict:
    """Printed numbers are single runs: who is ahead stays open. Where a claim names an amount, whether they come to it
    is arithmetic.
    """
    if printed and _names_amount(claim):
        return Verdict.PASS if difference.mean >= least else Verdict.FAIL
    answer = Answer.TOO_FEW if printed else judge(difference.plus(-least))
    return {Answer.BETTER: Verdict.PASS, Answer.WORSE: Verdict.FAIL}.get(answer, Verdict.INCONCLUSIVE)


def _names_amount(claim: Claim) -> bool:
    return claim.at_least is not None or claim.up_to is not None


def _verdicts(claim: Claim, lines: Sequence[Line], printed: bool) -> list[Verdict]:
    """What the lines that count come to."""
    counted = [line for line in lines if line.counts]
    verdicts = [line.verdict for line in counted]
    if claim.up_to is not None and counted:
        differences = [line.difference for line in counted]
        at = max(range(len(counted)), key=lambda at: differences[at].mean)
        ahead = _holds(claim, printed, differences[at], 0.0)
        if ahead is Verdict.PASS and not printed and judge_all(differences)[at][0] is not Answer.BETTER:
            ahead = Verdict.INCONCLUSIVE  # the largest of several
        short = differences[at].mean < claim.up_to
        if short and _holds(claim, printed, differences[at], claim.up_to) is Verdict.FAIL:
            verdicts.append(Verdict.FAIL)
        if ahead is Verdict.PASS and short:
            ahead = Verdict.INCONCLUSIVE  # it may come to so much, and did not here
        verdicts = [Verdict.FAIL if Verdict.FAIL in verdicts else ahead]
    if claim.fewer_macs and any(line.macs_ratio >= 1 for line in counted):
        verdicts.append(Verdict.FAIL)
    if claim.grows and not _grows(lines):
        verdicts.append(Verdict.INCONCLUSIVE)
    return verdicts


def _grows(lines: Iterable[Line]) -> bool:
    return all(after > before for before, after in pairwise(line.difference.mean for line in lines if line.counts))


# -- in words --------------------------------------------------------------------------------------------------------


def _on_paper(claim: Claim, lines: Sequence[Line]) -> list[str]:
    each = "; ".join(f"{line.match.name}: {line.difference.mean:+.2f}" for line in lines)
    between = ", read off between the printed rows" if claim.at_equal in READ_OFF else ""
    return [
        f"Printed numbers, {_what(claim)}{between}: {each}.",
        _by_data(lines, lambda row: dataset(row.dataset).title),
        _macs(claim, lines),
        "" if _names_amount(claim) else "They are single runs without a spread.",
        claim.caveat,
    ]


def _on_runs(
    claim: Claim,
    evidence: Evidence,
    rows: Sequence[Row],
    lines: Sequence[Line],
    without_pairs: Mapping[str, Sequence[Match]],
) -> list[str]:
    each = [f"{line.match.name}: {line.difference.signed()}, n = {line.difference.n}, {line.verdict}" for line in lines]
    sentences = [
        f"{_what(claim)} on {evidence.setting}, paired by seed [95 % interval]: {'; '.join(each) or 'none'}.",
        _by_data(lines, lambda row: evidence.setting_of(row.id)),
        _macs(claim, lines),
        _at_full_size(claim, evidence, rows),
        f"The claim allows a deficit of {claim.margin:g} points." if claim.margin else "",
        f"The claim is about {claim.counts_from_pct:g} % and more." if claim.counts_from_pct else "",
    ]
    if claim.up_to is not None and lines and max(line.difference.mean for line in lines) < claim.up_to:
        sentences.append(f"The largest mean is to come to {claim.up_to:g}.")
    if claim.fewer_macs and not evidence.full_scale and any(line.macs_ratio >= 1 for line in lines):
        sentences.append("A narrow network has its MACs in other layers than the paper's, which tier audit has.")
    if claim.grows and sum(line.counts for line in lines) > 1:
        sentences.append(f"There the mean lead {'grows' if _grows(lines) else 'does not grow'} with every step.")
    sentences += [f"{why}: {_named(some)}." for why, some in without_pairs.items() if some]
    if any(line.difference.n < 2 for line in lines):
        sentences.append("One seed gives no interval: more seeds are needed to decide.")
    elif len(lines) > 1:
        sentences.append("A single row fails by Holm's correction for their number; the intervals are without it.")
    return sentences


def _what(claim: Claim) -> str:
    at = {name: f" at equal {at}" for name, at in READ_OFF.items()}
    at |= {"ranks": " at the same ranks", "regime": " in each regime", "data": ""}
    return f"{claim.difference}{at[str(claim.at_equal)]}, {'top-1 points' if claim.measure == 'points' else 'in %'}"


def _figure(claim: Claim, lines: Sequence[Line]) -> str:
    """The evidence in a few words."""
    counted = [line for line in lines if line.counts]
    means = [line.difference.mean for line in counted]
    if not means:
        return "nothing to compare"
    if claim.measure == "macs_saved_pct":
        return f"saves {span(means)} % of the MACs"
    if claim.up_to is not None:
        return f"{max(means):.2f} points at most"
    if claim.grows:
        regimes = "/".join(f"{line.match.row.regime_pct:g}" for line in counted)
        return f"{regimes} %: {', '.join(f'{mean:+.2f}' for mean in means)} points"
    told = f"{span(means, 2, sign=True)} points"
    return f"{told}, {span([100 * line.macs_ratio for line in counted])} % of the MACs" if claim.fewer_macs else told


def _named(some: Iterable[Match]) -> str:
    return ", ".join(match.name for match in some)


def _by_data(lines: Iterable[Line], data: Callable[[Row], str]) -> str:
    """The smallest and the largest difference on each data set, where there are several."""
    means: dict[str, list[float]] = {}
    for line in lines:
        means.setdefault(data(line.match.row), []).append(line.difference.mean)
    each = "; ".join(f"{name} {span(values, 2, sign=True)}" for name, values in means.items())
    return f"Range on each data set: {each}." if len(means) > 1 else ""


def _macs(claim: Claim, lines: Sequence[Line]) -> str:
    """What the lead costs, where MACs are not what is compared or what is equal."""
    shares = {line.match.name: 100 * line.macs_ratio for line in lines if math.isfinite(line.macs_ratio)}
    if claim.at_equal != "sparsity" or claim.measure != "points" or not shares:
        return ""
    more = [name for name, share in shares.items() if claim.fewer_macs and share >= 100]
    told = f"MACs, as a share of the other's: {span(list(shares.values()))} %."
    return f"{told} It needs more in: {', '.join(more)}." if more else told


def _at_full_size(claim: Claim, evidence: Evidence, rows: Sequence[Row]) -> str:
    """The MACs saved if the layers were as large as those of the full-size network, with the same densities."""
    if claim.measure != "macs_saved_pct" or evidence.full_scale:
        return ""

    def networks(row: Row) -> list[Network]:
        macs = full_size_macs(evidence, row.id)
        return [replace(net, macs_m=macs[net.seed]) for net in trained_networks(evidence, row.id) if net.seed in macs]

    differences = (match.contrast.difference(claim.measure) for match in matches(claim, rows, networks))
    saved = [difference.mean for difference in differences if difference is not None]
    return f"Weighed with the MACs of the full-size network: {span(saved)} %." if saved else ""
