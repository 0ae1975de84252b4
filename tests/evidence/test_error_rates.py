"""The error rates that docs/compare.md promises, on differences drawn from distributions that are known here.

Every draw goes the way of a comparison: ``summarise`` a regime's differences, ``judge_all`` regimes together.
"""

from __future__ import annotations

import numpy as np
import pytest

from paper_repro import tables
from paper_repro.evidence import contrast_claims
from paper_repro.evidence.contrast import Answer, At, Network, contrast, judge_all
from paper_repro.evidence.statistics import LEVEL, chance_to_decide, summarise
from paper_repro.verdict import Verdict

REGIMES, FAMILIES = 5, 1500
ERROR = 1.0 - LEVEL
SAMPLING = 3.0 * np.sqrt(ERROR * LEVEL / FAMILIES)  # three standard errors of a rate of 5 % among so many


def answers(means: list[float], sd: float, seeds: int, margin: float, seed: int = 0, shared: float = 0.0) -> np.ndarray:
    """(families, regimes) answers. ``shared``: deviation of what the regimes of one seed have in common, as they do
    where they share initial weights and the order of the data.
    """
    generator = np.random.default_rng(seed)
    noise = generator.normal(0.0, sd, (FAMILIES, len(means), seeds)) + generator.normal(
        0.0, shared, (FAMILIES, 1, seeds)
    )
    drawn = np.array(means)[:, None] + noise
    return np.array([[answer for answer, _ in judge_all([summarise(row) for row in one], margin)] for one in drawn])


def rate(said: np.ndarray) -> float:
    """Share of families in which something was said at least once."""
    return float(said.any(axis=1).mean())


@pytest.mark.parametrize(("seeds", "shared"), [(3, 0.0), (5, 1.0)])
def test_without_a_difference_a_wrong_verdict_is_as_rare_as_promised(seeds: int, shared: float) -> None:
    """At most 5 % over all five regimes; and without the correction it would not be."""
    drawn = answers([0.0] * REGIMES, 1.0, seeds, margin=0.5, shared=shared)
    assert rate(np.isin(drawn, (Answer.BETTER, Answer.WORSE))) <= ERROR + SAMPLING
    generator = np.random.default_rng(1)
    singly = [
        any(judge_all([summarise(row)])[0][0] is not Answer.TOO_FEW for row in generator.normal(0, 1, (REGIMES, 3)))
        for _ in range(300)
    ]
    assert np.mean(singly) > 3 * ERROR


def test_where_some_differences_are_real_the_others_stay_as_safe() -> None:
    """Holm's steps after the first: two regimes are far apart, three are not; all are decided as often as promised."""
    drawn = answers([0.0, 0.0, 0.0, 30.0, -30.0], 1.0, 5, margin=0.0)
    wrong = rate(drawn[:, :3] != Answer.TOO_FEW)
    assert 0.4 * ERROR < wrong <= ERROR + SAMPLING  # it is not bought with a correction that decides nothing
    assert (drawn[:, 3] == Answer.BETTER).mean() > 0.99 and (drawn[:, 4] == Answer.WORSE).mean() > 0.99


@pytest.mark.parametrize(
    ("accuracies", "seeds", "most"),
    [([86.0] * 5, 3, ERROR), ([86.0] * 5, 10, 0.12), ([86.2, 85.7, 85.0, 84.1, 82.6], 10, 0.06)],
    ids=["flat, three seeds", "flat, ten seeds", "as at tier smoke"],
)
def test_at_equal_macs_no_side_gains_by_being_read_off(accuracies: list[float], seeds: int, most: float) -> None:
    """Two methods that are the same: five rows each, whose accuracy and MACs are drawn anew for every seed. The front
    of a seed's own runs would put the side that is read off half a point ahead.
    """
    generator, families = np.random.default_rng(5), 300
    macs_m = np.array([1.2, 0.68, 0.33, 0.13, 0.06])

    def side() -> list[Network]:
        top1_pct = generator.normal(accuracies, 0.52, (seeds, 5))
        macs = macs_m * generator.normal(1.0, 0.02, (seeds, 5))
        return [
            Network(seed, "made up", float(top1_pct[seed, row]), 1.0, float(macs[seed, row]), row=str(row))
            for seed in range(seeds)
            for row in range(5)
        ]

    wrong, leads = [], []
    for _ in range(families):
        ours, theirs = side(), side()
        pairs = [contrast([one for one in ours if one.row == str(row)], theirs, At.MACS) for row in range(5)]
        differences = [difference for one in pairs if (difference := one.difference()) is not None]
        leads.append([difference.mean for difference in differences])
        wrong.append(any(answer in (Answer.BETTER, Answer.WORSE) for answer, _ in judge_all(differences, 0.5)))
    assert abs(np.mean(leads)) < 0.1
    assert np.mean(wrong) <= most + 3.0 * np.sqrt(most * (1 - most) / families)


def test_a_difference_of_the_margin_is_seldom_called_equivalent() -> None:
    """At the margin, where it is hardest: half of 5 %, because an interval has two ends."""
    drawn = answers([0.5, -0.5, 0.5, 0.5, -0.5], 0.2, 5, margin=0.5)
    wrong = rate(drawn == Answer.EQUIVALENT)
    assert 0.2 * ERROR < wrong <= ERROR / 2 + SAMPLING


@pytest.mark.parametrize(
    ("difference", "sd", "seeds", "margin"), [(1.0, 0.5, 3, 0.5), (0.3, 0.4, 10, 0.5), (0.0, 0.4, 10, 0.5)]
)
def test_the_number_of_seeds_decides_as_often_as_it_says(
    difference: float, sd: float, seeds: int, margin: float
) -> None:
    drawn = answers([difference], sd, seeds, margin)
    decided = (drawn != Answer.TOO_FEW).mean()
    assert decided == pytest.approx(chance_to_decide(difference, sd, seeds, margin), abs=0.04)


def test_one_more_run_falls_into_the_prediction_interval_as_often_as_promised() -> None:
    generator = np.random.default_rng(2)
    inside = []
    for *known, another in generator.normal(90.0, 0.7, (FAMILIES, 4)):
        low, high = summarise(known).of_one_more() or (0.0, 0.0)
        inside.append(low <= another <= high)
    assert np.mean(inside) == pytest.approx(LEVEL, abs=SAMPLING)


def verdicts_of_a_claim(lead: float, families: int = 800) -> np.ndarray:
    """What STR ahead of GMP from 95 % sparsity on comes to, where STR's networks are ahead by ``lead``: the networks of
    three seeds are drawn, STR's a little off GMP's sparsities, and the whole way is gone that the claim goes.
    """
    table = tables.load("resnet50")
    (claim,) = (claim for claim in table.claims if claim.id == "ahead-of-gmp-from-95")
    rows = [row for row in table.rows if row.method in ("gmp", "str") and row.reported.sparsity_pct]
    generator, said = np.random.default_rng(3), []
    for _ in range(families):
        drawn = {
            row.id: [
                Network(seed, "made up", top1_pct, 1.0 - (row.reported.sparsity_pct or 0.0) / 100.0, 1.0)
                for seed, top1_pct in enumerate(generator.normal(lead if row.method == "str" else 0.0, 1.0, 3))
            ]
            for row in rows
        }
        every = contrast_claims.matches(claim, rows, lambda row, drawn=drawn: drawn[row.id])
        lines = contrast_claims.lines_of(claim, every, False)
        said.append({line.verdict for line in lines if line.counts})
    return np.array([[Verdict.FAIL in verdicts, verdicts == {Verdict.PASS}] for verdicts in said])


def test_a_claim_of_several_rows_is_seldom_decided_by_chance() -> None:
    """Without a lead, it fails in 2.5 % at most, one side of 5 %, and hardly ever passes, for all rows have to; with a
    large one it passes.
    """
    failed, passed = verdicts_of_a_claim(0.0).mean(axis=0)
    assert 0.0 < failed <= ERROR / 2 + SAMPLING and passed <= 0.01
    failed, passed = verdicts_of_a_claim(20.0, families=50).mean(axis=0)
    assert failed == 0.0 and passed > 0.9
