"""The forecast against the paper's own table of epochs, its figures, and the optimizer that it predicts."""

from __future__ import annotations

import csv
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from paper_repro import methods, tables
from paper_repro.errors import UserError
from paper_repro.spec import Spec
from paper_repro.training.forecast import (
    HELD,
    decay_factors,
    decay_under_adam,
    forecast,
    require_pruning,
    steps_per_epoch,
    suggestion,
)
from paper_repro.training.optimizer import optimizer
from paper_repro.training.schedule import learning_rate
from tests.reference.sgd import decay_only

PAPER = Spec(
    model="resnet50",
    dataset="imagenet1k",
    method="str",
    method_args={"s_init": -3200.0},
    epochs=100,
    batch_size=256,
    lr=0.256,
    weight_decay=2.251757813e-5,
)
SHORT = replace(
    PAPER, dataset="fashion_mnist", epochs=2, batch_size=1000, warmup_epochs=0, schedule="step", weight_decay=0.01
)
EPOCHS = list(csv.DictReader((Path(__file__).parent / "onset_epochs.csv").read_text(encoding="utf-8-sig").splitlines()))


@pytest.mark.parametrize("row", EPOCHS, ids=lambda row: f"{row['table']} {row['row']}")
def test_predicted_epochs_of_every_str_row(row: dict[str, str]) -> None:
    spec = {row.id: spec for row, spec in tables.load(row["table"]).specs("paper", [0])}[row["row"]]
    factors = decay_factors(spec, spec.weight_decay)
    for s in (-20, -10, -7):
        step = next(at for at, factor in enumerate(factors) if spec.method_args["s_init"] * factor >= s)
        assert step / steps_per_epoch(spec) == pytest.approx(float(row[f"epoch_s_reaches_minus_{-s}"]), abs=0.005)


@pytest.mark.parametrize("nesterov", [False, True])
def test_simulation_is_what_the_optimizer_does(nesterov: bool) -> None:
    per_epoch = steps_per_epoch(SHORT)
    s = torch.nn.Parameter(torch.tensor(-20.0, dtype=torch.float64))
    kind = {"momentum": SHORT.momentum, "weight_decay": SHORT.weight_decay, "nesterov": nesterov}
    optimizer = torch.optim.SGD([s], lr=SHORT.lr, **kind)
    rates = [learning_rate(SHORT, step, per_epoch) for step in range(120)]
    values = [s.item()]
    for rate in rates:
        optimizer.param_groups[0]["lr"] = rate
        s.grad = torch.zeros_like(s)
        optimizer.step()
        values.append(s.item())
    factors = decay_factors(replace(SHORT, nesterov=nesterov), SHORT.weight_decay)
    assert [-20.0 * factor for factor in factors] == pytest.approx(values, rel=1e-12)
    if not nesterov:
        assert decay_only(-20.0, rates, SHORT.momentum, SHORT.weight_decay) == pytest.approx(values, rel=1e-12)


@pytest.mark.parametrize("decay", [1e-3, 5e-3, 1e-9])  # with the last, eps is not small beside the gradient
@pytest.mark.parametrize("momentum", [0.9, 0.5])
def test_simulation_is_what_adam_does(momentum: float, decay: float) -> None:
    spec = replace(SHORT, optimizer="adam", momentum=momentum, lr=0.01)
    values = decayed(spec, -10.0, decay, steps=120)
    assert decay_under_adam(spec, decay, -10.0) == pytest.approx(values, rel=1e-10)
    assert decay_under_adam(spec, decay, -10.0, 30) == pytest.approx(values[:31], rel=1e-10)
    if decay > 1e-6:  # whatever the decay, the first steps are as long as the learning rate
        assert values[1] == pytest.approx(-10.0 + learning_rate(spec, 0, steps_per_epoch(spec)), rel=1e-5)
    else:
        assert values[1] < -10.0 + 0.6 * 0.01


def test_simulation_is_what_adamw_does() -> None:
    spec = replace(SHORT, optimizer="adamw", lr=0.01)
    values = decayed(spec, -20.0, 0.5, steps=120)
    assert [-20.0 * factor for factor in decay_factors(spec, 0.5)] == pytest.approx(values, rel=1e-12)
    assert values[1] == pytest.approx(-20.0 * (1 - 0.5 * 0.01), rel=1e-6)  # and no more: not normalised


def decayed(spec: Spec, start: float, decay: float, steps: int) -> list[float]:
    """What torch's own optimizer makes of a number whose gradient is 0."""
    s = torch.nn.Parameter(torch.tensor(start, dtype=torch.float64))
    own = optimizer(spec, [{"params": [s], "weight_decay": decay}])
    values = [s.item()]
    for step in range(steps):
        own.param_groups[0]["lr"] = learning_rate(spec, step, steps_per_epoch(spec))
        s.grad = torch.zeros_like(s)
        own.step()
        values.append(s.item())
    return values


def test_learning_rate_of_the_paper() -> None:
    epochs = [learning_rate(PAPER, epoch * 5005, 5005) for epoch in range(100)]
    assert epochs[:6] == pytest.approx([0.0512, 0.1024, 0.1536, 0.2048, 0.256, 0.256])
    assert epochs[99] == pytest.approx(7.0e-5, rel=0.01)
    assert learning_rate(PAPER, 5004, 5005) == epochs[0]
    stepwise = replace(PAPER, schedule="step")
    assert learning_rate(stepwise, 5 * 5005 - 1, 5005) == pytest.approx(0.256)
    assert learning_rate(stepwise, 52 * 5005 + 5005 // 2, 5005) == pytest.approx(0.128, rel=1e-3)


def test_a_run_that_would_stay_dense_is_refused_with_values_that_work() -> None:
    """The most common trouble: the paper's s_init and weight decay on CIFAR-10 for 16 epochs."""
    dense = replace(PAPER, dataset="cifar10", epochs=16)
    with pytest.raises(UserError, match="would stay dense") as error:
        require_pruning(dense)
    words = str(error.value).replace(",", "").split()
    s_init = float(words[words.index("take") + 3])
    weight_decay = float(words[len(words) - 1 - words[::-1].index("weight_decay") + 2])
    for mended in (replace(dense, method_args={"s_init": s_init}), replace(dense, weight_decay=weight_decay)):
        assert require_pruning(mended).onset_epoch == pytest.approx(0.25 * 16, abs=0.3)


def test_an_onset_too_late_to_matter_is_refused_too() -> None:
    factors = decay_factors(SHORT, SHORT.weight_decay)
    late = -10.0 / factors[-2]
    with pytest.raises(UserError, match=r"only at epoch (1\.9|2\.0)"):
        require_pruning(replace(SHORT, method_args={"s_init": late}))


@pytest.mark.parametrize("slope", [1.0, 7.0])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_where_s_has_no_weight_decay_another_one_is_not_advised(optimizer: str, slope: float) -> None:
    low = replace(SHORT, method="autosparse", method_args={"s_init": -20.0, "slope": slope}, optimizer=optimizer)
    with pytest.raises(UserError, match="would stay dense") as error:
        require_pruning(low)
    assert not re.search(r"weight_decay|at this s_init|at epoch", str(error.value))
    s_init = float(re.search(r"take s_init = (\S+) or above", str(error.value)).group(1))
    assert s_init == pytest.approx(-10.0 / slope, abs=0.01)
    assert require_pruning(replace(low, method_args={"s_init": s_init, "slope": slope})).onset_step == 0


def test_methods_with_a_schedule_have_no_forecast() -> None:
    assert require_pruning(replace(PAPER, method="gmp", method_args={"sparsity_pct": 90.0})) is None
    assert require_pruning(replace(PAPER, method="dense", method_args={})) is None


def test_g_exp_reaches_the_same_threshold() -> None:
    sigmoid = forecast(replace(SHORT, method_args={"s_init": -12.0}))
    exp = forecast(replace(SHORT, method_args={"s_init": -12.0, "g": "exp"}))
    assert abs(sigmoid.onset_step - exp.onset_step) <= 1


RANKS = replace(
    {row.id: spec for row, spec in tables.load("rnn").specs("paper", [0])}["har2-str-9-8"],
    optimizer="sgd",
    method_args={"keep": [[9, 8]], "rank_decay": {"w": 0.001, "u": 0.008}},
)


def test_ranks_fall_where_the_threshold_meets_the_importances() -> None:
    """Both decay from the first step on: importances from 1, s from -10; U's, which decay faster, meet first."""
    onset = forecast(RANKS).onset_step
    factors = decay_factors(RANKS, 0.008)
    assert math.exp(-10.0 * factors[onset]) >= factors[onset]
    assert math.exp(-10.0 * factors[onset - 1]) < factors[onset - 1]
    assert 25 < forecast(RANKS).onset_epoch < 36  # measured with three seeds: epoch 36
    both = {**RANKS.method_args, "rank_decay": {"w": 0.008, "u": 0.001}}
    assert forecast(replace(RANKS, method_args=both)).onset_step == onset
    one = {**RANKS.method_args, "rank_decay": {"u": 0.0005}}  # W decays with the rest then
    assert forecast(replace(RANKS, method_args=one, weight_decay=0.008)).onset_step == onset


@pytest.mark.parametrize("method", ["str-bn", "str-filter-pruning"])
def test_filters_fall_where_the_threshold_meets_what_scales_them(method: str) -> None:
    """Importances and the scales of batch norm start at 1: g(s) has to be far higher than where small weights go."""
    spec = replace(SHORT, method=method, method_args={"s_init": -12.0}, weight_decay=0.03)
    onset, factors = forecast(spec).onset_step, decay_factors(spec, spec.weight_decay)
    threshold = [1.0 / (1.0 + math.exp(12.0 * factor)) for factor in factors]
    assert threshold[onset] >= factors[onset] and threshold[onset - 1] < factors[onset - 1]
    assert onset > forecast(replace(spec, method="str")).onset_step


def test_ranks_that_never_fall_are_refused_where_some_are_to_be_kept() -> None:
    """Table 12's lambda as SGD's weight decay: 300 epochs are not enough."""
    never = replace(RANKS, method_args={**RANKS.method_args, "rank_decay": {"w": 0.001, "u": 0.001}})
    with pytest.raises(UserError, match=r"rank_decay = 0\.001, g\(s\) meets what it is to zero never") as error:
        require_pruning(never)
    assert "take rank_decay = " in str(error.value)  # no s_init is a help: it would have to begin above zero
    decay = float(str(error.value).split("take rank_decay = ")[1].split()[0])
    mended = {**RANKS.method_args, "rank_decay": {"w": decay, "u": decay}}
    assert require_pruning(replace(never, method_args=mended)).onset_epoch == pytest.approx(75, abs=1)
    assert require_pruning(replace(never, method_args={"rank_decay": {"w": 0.001, "u": 0.001}})).stays_dense


@pytest.mark.parametrize("lr", [0.01, 0.05, 0.2])
@pytest.mark.parametrize("epochs", [3, 5, 10])
def test_a_decay_so_strong_that_importances_swing_through_zero(lr: float, epochs: int) -> None:
    """It is among those that are tried for the advice, and may be given."""
    never = replace(RANKS, lr=lr, epochs=epochs, method_args={"keep": [[9, 8]], "rank_decay": {"w": 1e-5, "u": 1e-5}})
    with pytest.raises(UserError, match="take rank_decay = ") as error:
        require_pruning(never)
    decay = float(str(error.value).split("take rank_decay = ")[1].split()[0])
    mended = require_pruning(replace(never, method_args={"keep": [[9, 8]], "rank_decay": {"w": decay, "u": decay}}))
    assert mended.onset_epoch == pytest.approx(0.25 * epochs, abs=0.05)
    strong = {"keep": [[9, 8]], "rank_decay": {"w": 0.5, "u": 0.5}}
    assert require_pruning(replace(never, method_args=strong)).onset_epoch < mended.onset_epoch


ADAM = replace(RANKS, optimizer="adam", weight_decay=0.001, method_args={"keep": [[9, 8]], "decay_rest": False})


def test_under_adam_thresholds_rise_at_the_same_pace_whatever_lambda_is() -> None:
    """Table 12's lambda, 0.001 to 0.005, from s_init -10 at learning rate 0.01."""
    onsets = [forecast(replace(ADAM, weight_decay=decay)).onset_epoch for decay in (0.001, 0.005)]
    assert onsets[0] == pytest.approx(onsets[1], abs=0.02) and 10 < onsets[0] < 20
    s = decay_under_adam(ADAM, 0.001, -10.0)[forecast(ADAM).onset_step]
    assert math.exp(s) == pytest.approx(HELD, rel=0.01)
    half = replace(ADAM, lr=0.5 * ADAM.lr)
    assert forecast(half).onset_step > 1.5 * forecast(ADAM).onset_step


@pytest.mark.parametrize("slope", [1.0, 4.0])
@pytest.mark.parametrize("spec", [ADAM, replace(SHORT, optimizer="adam", lr=0.01)], ids=["ranks", "weights"])
def test_a_run_by_adam_that_would_stay_dense_is_refused_with_values_that_work(spec: Spec, slope: float) -> None:
    never = replace(spec, method_args={**spec.method_args, "s_init": -3200.0, "slope": slope})
    with pytest.raises(UserError, match="do not depend on") as error:
        require_pruning(never)
    found = re.search(r"take s_init = (\S+) at this lr, or lr = (\S+) at this s_init", str(error.value))
    s_init, lr = map(float, found.groups())
    for mended in (replace(never, method_args={**never.method_args, "s_init": s_init}), replace(never, lr=lr)):
        assert require_pruning(mended).onset_epoch == pytest.approx(0.25 * spec.epochs, rel=0.05)
    with pytest.raises(UserError, match=r"take a (weight|rank)_decay above 0"):
        require_pruning(replace(never, weight_decay=0.0))


def test_under_adamw_ranks_fall_as_under_sgd_or_are_refused_with_a_decay() -> None:
    never = replace(ADAM, optimizer="adamw")
    with pytest.raises(UserError, match=r"would stay dense: .* never") as error:
        require_pruning(never)
    decay = float(str(error.value).split("take rank_decay = ")[1].split()[0])
    assert require_pruning(replace(never, weight_decay=decay)).onset_epoch == pytest.approx(75, abs=1)


def test_a_decay_of_adamw_may_exceed_1() -> None:
    """It counts times the learning rate."""
    spec = replace(SHORT, optimizer="adamw", lr=0.01)
    _, decay = suggestion(spec, methods.get(spec.method, **spec.method_args))
    assert decay > 1.0 and forecast(replace(spec, weight_decay=decay)).onset_epoch == pytest.approx(0.5, abs=0.02)


def test_the_rate_of_the_rnns_drops_to_a_tenth_in_the_last_third() -> None:
    spec = replace(SHORT, dataset="har2", epochs=300, batch_size=100, lr=0.01, schedule="drop")
    per_epoch = steps_per_epoch(spec)
    assert per_epoch == 74  # 7,352 windows, the last batch smaller
    rates = [learning_rate(spec, step, per_epoch) for step in (0, 199 * 74 + 73, 200 * 74, 300 * 74 - 1)]
    assert rates == pytest.approx([0.01, 0.01, 0.001, 0.001])
