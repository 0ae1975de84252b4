"""When will STR begin to prune? Known before training, from the spec alone.

At s = -3200, sigmoid(s) and its slope are exactly 0 in float32: the loss cannot move s, and only weight decay does.
SGD with momentum m and coupled decay lambda then multiplies s by a factor that depends on nothing but the schedule:

    buffer <- m * buffer + lambda * s;    s <- s - lr * buffer

so the step at which g(s) starts to matter is simulated exactly, step by step. AdamW multiplies it by 1 - lr * lambda
at every step. Adam divides the gradient lambda * s by its own root mean square: whatever lambda is, s moves by about
the learning rate a step, and by less the nearer it is to 0. Its update is simulated as exactly.

With the paper's settings on a shorter schedule or a smaller data set the step at which g(s) starts to matter never
comes, and the network stays dense: the most common trouble with STR. Such a run is refused here, with the values that
would prune.

"Starts to matter" is a matter of degree: what a threshold zeroes depends on how small the weights are. Here it means
g(s) = sigmoid(-10) = 4.5e-5, a level taken from the paper's own run, in which Figure 1 leaves zero at 4.1e-5 and
Figure 2 shows the first 1.6 % of sparsity. A tenth or ten times of it is a little more than an epoch earlier or later
there.

Where all that is thresholded starts at one magnitude and decays with s, as the importances of ranks do
(``STR.starts_at``), nothing is zeroed before g(s) has met it: with s = -10 * f and importances of f, that is where
exp(-10 * f) = f. The loss holds importances up, so that the first rank falls a little later. Under Adam decay says
nothing about importances, since the gradient of the loss sets the scale of their steps: ranks are taken to fall once
g(s) is a tenth (``HELD``) of what importances start at.

A run with ``target_sparsity_pct`` does not wait for weight decay: its target says when it prunes (``str_target.py``),
whatever s_init and weight decay are. It is refused only when that is too late in training.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice

from paper_repro import methods
from paper_repro.data.catalog import dataset
from paper_repro.errors import UserError
from paper_repro.methods.str import ONSET_U, STR
from paper_repro.spec import Spec
from paper_repro.training.optimizer import BETA2, EPS
from paper_repro.training.schedule import learning_rates

# A row is refused when sparsity would begin this late: what the paper's schedule leaves for pruning after its latest
# onset (epoch 38 of 100) is far more, and after 90 % of a cosine schedule the learning rate is too small to move s
# any further.
LATEST = 0.9
# Where the suggested values put the onset, as a share of training: the middle of the paper's range (epochs 10 to 38
# of 100).
SUGGESTED = 0.25
HELD = 0.1  # under Adam: the share of its first magnitude that the smallest of many importances still has


@dataclass(frozen=True)
class Forecast:
    """What weight decay alone will do to s. ``onset_step`` is None when g(s) stays at zero to the end."""

    total_steps: int
    steps_per_epoch: int
    onset_step: int | None
    final_s: float  # s at the end of training if nothing but weight decay moved it

    @property
    def onset_epoch(self) -> float | None:
        """Epochs done when g(s) leaves zero, for example 27.99."""
        return None if self.onset_step is None else self.onset_step / self.steps_per_epoch

    @property
    def stays_dense(self) -> bool:
        return self.onset_step is None or self.onset_step > LATEST * self.total_steps


def steps_per_epoch(spec: Spec) -> int:
    """Training steps of one epoch; the last, smaller batch counts."""
    return math.ceil(dataset(spec.dataset).train_examples / spec.batch_size)


def decay_factors(spec: Spec, weight_decay: float) -> list[float]:
    """s(t) / s_init after t = 0, 1, ... steps in which s has no gradient but its decay, whatever s_init is: of SGD and
    AdamW.
    """
    per_epoch = steps_per_epoch(spec)
    s, buffer = 1.0, 0.0
    factors = [s]
    for rate in learning_rates(spec, per_epoch):
        if spec.optimizer == "adamw":
            s -= rate * weight_decay * s
        else:
            assert spec.optimizer == "sgd"
            buffer = spec.momentum * buffer + weight_decay * s
            s -= rate * (weight_decay * s + spec.momentum * buffer if spec.nesterov else buffer)
        factors.append(s)
    return factors


def decay_under_adam(spec: Spec, weight_decay: float, start: float, steps: int | None = None) -> list[float]:
    """What ``start`` is after t = 0, 1, ... steps of Adam in which it has no gradient but its decay; of all steps of
    the training, or the first ``steps``.
    """
    per_epoch = steps_per_epoch(spec)
    s, mean, square, beta1 = start, 0.0, 0.0, spec.momentum
    values = [s]
    for step, rate in enumerate(islice(learning_rates(spec, per_epoch), steps)):
        gradient = weight_decay * s
        mean = beta1 * mean + (1.0 - beta1) * gradient
        square = BETA2 * square + (1.0 - BETA2) * gradient * gradient
        scale = math.sqrt(square / (1.0 - BETA2 ** (step + 1))) + EPS
        s -= rate * mean / (1.0 - beta1 ** (step + 1)) / scale
        values.append(s)
    return values


def decay_alone(spec: Spec, method: STR) -> list[tuple[float, float]]:
    """(s, share of its first magnitude that an importance has) after t = 0, 1, ... steps if nothing but decay moved
    them; under Adam the latter is ``HELD`` all the time.
    """
    decay = method.decay_of_s(spec.weight_decay)
    if spec.optimizer == "adam":
        return [(s, HELD) for s in decay_under_adam(spec, decay, method.s_init)]
    return [(method.s_init * factor, factor) for factor in decay_factors(spec, decay)]


def forecast(spec: Spec) -> Forecast | None:
    """The forecast of an STR run; None for methods whose sparsity follows a schedule."""
    method = methods.get(spec.method, **spec.method_args)
    if not isinstance(method, STR):
        return None
    course = decay_alone(spec, method)
    onset = next((step for step, (s, share) in enumerate(course) if s >= level(method, share)), None)
    if method.target is not None:
        onset = method.target.onset_step(onset, len(course) - 1)
    return Forecast(len(course) - 1, steps_per_epoch(spec), onset, course[-1][0])


def level(method: STR, share: float) -> float:
    """The s at which thresholds begin to zero something, where all that has one first magnitude has this ``share`` of
    it left.
    """
    if method.starts_at is None:
        return onset_s(method)
    magnitude = method.starts_at * share
    if magnitude <= 0.0:  # strong decay swings through zero, where any threshold is enough
        return -math.inf
    if method.g == "exp":
        return math.log(magnitude) / method.slope
    return math.inf if magnitude >= 1.0 else math.log(magnitude / (1.0 - magnitude)) / method.slope


def onset_s(method: STR) -> float:
    """The s at which g(slope * s) starts to matter."""
    return ONSET_U[method.g] / method.slope


def require_pruning(spec: Spec) -> Forecast | None:
    """The forecast, or a UserError with values that would work when the network would stay dense, but for a method that
    is not asked for anything else.
    """
    result = forecast(spec)
    if result is None or not result.stays_dense:
        return result
    method = methods.get(spec.method, **spec.method_args)
    assert isinstance(method, STR)
    if not method.must_prune:
        return result
    if method.target is not None:
        raise UserError(
            f"{spec.name} would stay dense too long: with target_sparsity_pct it prunes from epoch "
            f"{result.onset_epoch:.3g} of {spec.epochs} on, and what is pruned after {LATEST:.0%} of training has no "
            f"time to learn; take an earlier start and end (0.2 and 0.6 are the defaults)"
        )
    when = (
        f"only at epoch {result.onset_epoch:.1f}" if result.onset_epoch else f"never (s ends at {result.final_s:.4g})"
    )
    if not method.decay_of_s(1.0):
        lowest = math.ceil(100.0 * onset_s(method)) / 100.0
        raise UserError(
            f"{spec.name} would stay dense: with s_init = {method.s_init:g}, g(s) never leaves zero. {spec.method} has "
            f"no weight decay on s, and little else moves s from there; take s_init = {lowest:g} or above"
        )
    begins = "leaves zero" if method.starts_at is None else "meets what it is to zero"
    raise UserError(
        f"{spec.name} would stay dense: with s_init = {method.s_init:g} and {method.decay_name} = "
        f"{method.decay_of_s(spec.weight_decay):g}, g(s) {begins} {when} in {spec.epochs} epochs of "
        f"{result.steps_per_epoch} steps. To begin at epoch {SUGGESTED * spec.epochs:.3g}, take {advice(spec, method)}."
    )


def advice(spec: Spec, method: STR) -> str:
    """The settings, each by itself, that put the onset at SUGGESTED of training."""
    name = method.decay_name
    if spec.optimizer != "adam":
        s_init, decay = suggestion(spec, method)
        or_s_init = "" if s_init is None else f"s_init = {s_init:.3g} at this {name}, or "
        return f"{or_s_init}{name} = {decay:.3g} at this s_init"
    if not method.decay_of_s(spec.weight_decay):
        return f"a {name} above 0: under Adam any moves s, by about the learning rate a step"
    s_init, lr = suggestion_under_adam(spec, method)
    return f"s_init = {s_init:.4g} at this lr, or lr = {lr:.4g} at this s_init (Adam's steps do not depend on {name})"


def suggestion(spec: Spec, method: STR) -> tuple[float | None, float]:
    """(s_init at this decay of s, decay of s at this s_init) that put the onset at SUGGESTED of training; None where
    thresholds that begin so late would have to begin above zero.
    """
    step = round(SUGGESTED * spec.epochs * steps_per_epoch(spec))
    factor = decay_factors(spec, method.decay_of_s(spec.weight_decay))[step]
    s_init = level(method, factor) / factor

    def too_low(decay: float) -> bool:
        factor = decay_factors(spec, decay)[step]
        return method.s_init * factor < level(method, factor)

    decay = _bisected(0.0, 1.0 if spec.optimizer == "sgd" else 1.0 / spec.lr, too_low)
    return s_init if s_init <= onset_s(method) else None, decay


def suggestion_under_adam(spec: Spec, method: STR) -> tuple[float, float]:
    """(s_init at this learning rate, learning rate at this s_init) that put the onset at SUGGESTED of training."""
    step = round(SUGGESTED * spec.epochs * steps_per_epoch(spec))
    decay, wanted = method.decay_of_s(spec.weight_decay), level(method, HELD)

    def too_low(s_init: float = method.s_init, lr: float = spec.lr) -> bool:
        """Whether g(s) does not matter by then."""
        return max(decay_under_adam(replace(spec, lr=lr), decay, s_init, step)) < wanted

    lowest = wanted - 2.0 * spec.lr * step  # a step of Adam is seldom longer than the learning rate
    s_init = _bisected(lowest, wanted, lambda tried: too_low(s_init=tried))
    return s_init, _bisected(0.0, 20.0 * abs(method.s_init) / step, lambda tried: too_low(lr=tried or 1e-12))


def _bisected(low: float, high: float, too_low: Callable[[float], bool]) -> float:
    """The smallest value between ``low`` and ``high`` that is not too low, to a millionth of the distance."""
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if too_low(middle) else (low, middle)
    return high
