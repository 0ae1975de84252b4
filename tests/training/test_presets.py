"""The presets of tier small are those that follow from the forecast, and do what they are for."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from paper_repro import tables
from paper_repro.errors import UserError
from paper_repro.training.forecast import decay_factors, forecast
from paper_repro.training.presets import preset, presets, pull_of_decay
from tests.training.test_forecast import PAPER, SHORT


def test_the_tier_holds_what_the_forecast_gives() -> None:
    given = {row.id: spec for row, spec in tables.load("resnet50").specs("small", [0])}
    expected = presets("resnet50", "small", share=0.2)
    assert list(given) == list(expected)
    for row, spec in expected.items():
        assert given[row].weight_decay == pytest.approx(spec.weight_decay, rel=1e-9), row
        assert given[row].method_args == spec.method_args, row
    assert sum(spec.method == "str" for spec in given.values()) == 16


def test_onset_and_pull_are_those_of_the_paper() -> None:
    short = preset(PAPER, replace(SHORT, dataset="cifar10", epochs=30))
    theirs, ours = forecast(PAPER), forecast(short)
    assert ours.onset_step / ours.total_steps == pytest.approx(theirs.onset_step / theirs.total_steps, abs=0.002)
    assert short.weight_decay * pull_of_decay(short) == pytest.approx(PAPER.weight_decay * pull_of_decay(PAPER), 1e-3)


def test_the_pull_is_the_exponent_with_which_s_decays() -> None:
    for schedule in ("epoch", "step"):
        slow = replace(SHORT, dataset="cifar10", epochs=20, schedule=schedule, weight_decay=1e-3)
        exponent = slow.weight_decay * pull_of_decay(slow)
        assert -math.log(decay_factors(slow, slow.weight_decay)[-1]) == pytest.approx(exponent, rel=0.01)


def test_other_methods_get_the_weight_decay_alone() -> None:
    gmp = replace(PAPER, method="gmp", method_args={"sparsity_pct": 90.0})
    short = replace(SHORT, method="gmp", method_args=gmp.method_args, epochs=30)
    found = preset(gmp, short)
    assert found.method_args == gmp.method_args
    assert found.weight_decay == preset(PAPER, replace(short, method="str", method_args=PAPER.method_args)).weight_decay


def test_a_schedule_too_short_for_the_pull_is_refused() -> None:
    short = replace(SHORT, dataset="cifar10", epochs=8)
    with pytest.raises(UserError, match="makes s swing through zero"):
        preset(PAPER, short)
    assert preset(PAPER, short, share=0.25).weight_decay < SHORT.weight_decay * 10
