"""The rules for slope, weight decay and s_init do what they are for, and the recipes follow them."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from paper_repro import tables
from paper_repro.errors import UserError
from paper_repro.methods.balance import implied_l1
from paper_repro.spec import Spec
from paper_repro.training.forecast import decay_factors, forecast
from paper_repro.workflows.presets import layer_slopes, pull_of_decay, s_init, weight_decay, write_slopes
from tests.training.test_forecast import PAPER, SHORT

SLOPES = {"smoke": 4.0, "small": 8.0}
CNN_TABLES = ["resnet50", "mobilenetv1", "extensions", "st3", "family", "target", "transfer"]


def str_specs(table: str, tier: str) -> dict[str, Spec]:
    """STR's rows of a table and what seed 0 of each trains at a tier."""
    return {row.id: spec for row, spec in tables.load(table).specs(tier, [0]) if spec.method == "str"}


@pytest.mark.parametrize(
    "table, tier",
    [(name, tier) for name in CNN_TABLES for tier in ("smoke", "small") if tier in tables.load(name).tiers],
)
def test_recipes_have_a_slope_for_each_tier_an_onset_like_the_papers_and_no_more_pull(table: str, tier: str) -> None:
    """At tier small the pull may be that of the paper's own row, whose sparser ones pull harder; at tier smoke 7."""
    paper, specs = str_specs("resnet50", "paper"), str_specs(table, tier)
    assert {spec.method_args["slope"] for spec in specs.values()} <= {SLOPES[tier]}
    for row, spec in specs.items():
        if "target_sparsity_pct" in spec.method_args:
            continue
        expected = forecast(spec)
        share = expected.onset_step / expected.total_steps
        assert 0.1 <= share <= 0.41
        assert spec.method_args["s_init"] == pytest.approx(s_init(spec, share), rel=0.02)  # a step moves it so far
        most = 7.0 if tier == "smoke" else paper[row].weight_decay * pull_of_decay(paper[row])
        assert 2.0 <= spec.weight_decay * pull_of_decay(spec) <= most, row


def test_s_init_puts_the_onset_where_it_is_wanted_at_any_slope() -> None:
    for steep in (1.0, 4.0):
        short = replace(
            SHORT, dataset="cifar10", epochs=30, weight_decay=2e-3, method_args={"s_init": -1.0, "slope": steep}
        )
        placed = replace(short, method_args={"s_init": s_init(short, 0.3), "slope": steep})
        expected = forecast(placed)
        assert expected.onset_step / expected.total_steps == pytest.approx(0.3, abs=0.002)


def test_the_pull_is_the_exponent_with_which_s_decays() -> None:
    for schedule in ("epoch", "step"):
        slow = replace(SHORT, dataset="cifar10", epochs=20, schedule=schedule)
        slow = replace(slow, weight_decay=weight_decay(slow, 3.0))
        assert -math.log(decay_factors(slow, slow.weight_decay)[-1]) == pytest.approx(3.0, rel=0.03)


def test_a_schedule_too_short_for_the_pull_is_refused() -> None:
    short = replace(SHORT, dataset="cifar10", epochs=8)
    with pytest.raises(UserError, match="makes s swing through zero"):
        weight_decay(short, 40.0)
    assert weight_decay(PAPER, 9.0) == pytest.approx(9.0 / pull_of_decay(PAPER))


def test_the_slope_of_a_layer_by_hand() -> None:
    weights = {"a": torch.tensor([0.4, -0.3, 0.2, 0.1, 0.05]), "b": torch.tensor([0.9, 0.8, 0.1]), "c": torch.ones(4)}
    # at a density of 0.4 the threshold of a is 0.2, and what it keeps has an L1 norm of 0.7
    found = layer_slopes(weights, {"a": 0.4, "b": 1 / 3, "c": 1.0})
    assert found == {"a": pytest.approx(math.sqrt(implied_l1(0.2) / 0.7))}  # b's lies above g(0), c keeps everything


def test_a_quarter_of_the_weights_takes_twice_the_slope() -> None:
    """With the same weights, L1 shrinks with their number, and the slope squared makes up for it."""
    many = torch.randn(4000, generator=torch.Generator().manual_seed(0)) * 0.05
    few = {"layer": many.abs().sort().values[::4]}
    slopes = [layer_slopes(weights, {"layer": 0.1})["layer"] for weights in (few, {"layer": many})]
    assert slopes[0] == pytest.approx(2 * slopes[1], rel=0.01)


def test_slopes_of_a_tier_replace_those_on_file(tmp_path: Path) -> None:
    def line(tier: str, median: str) -> dict[str, str]:
        return {"table": "resnet50", "tier": tier, "weights": "dense training", "median": median}

    file = tmp_path / "slopes.csv"
    write_slopes([line("smoke", "1.00"), line("small", "2.00")], file)
    write_slopes([line("smoke", "3.00")], file)
    assert file.read_text().splitlines()[1:] == [
        "resnet50,small,dense training,2.00", "resnet50,smoke,dense training,3.00"
    ]  # fmt: skip
