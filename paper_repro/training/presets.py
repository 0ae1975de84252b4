"""STR's weight decay and s_init on a schedule that is shorter than the paper's: from the forecast, not copied.

Over a training, decay alone shrinks s, and every weight, by the factor exp(-E), E = weight_decay * sum(lr) / (1 -
momentum). The paper's 500,500 steps make that 9 to 47 for its rows; on a hundredth of the steps its weight decay has a
hundredth of the pull, and the network stays dense. Two things are kept here:

- E, which says how hard decay pulls over the whole training: it gives the weight decay;
- the share of training at which g(s) leaves zero (``forecast.ONSET_U``): it gives s_init, by the exact simulation.

E is also kept for methods whose sparsity follows a schedule. ``python -m paper_repro.training.presets TABLE TIER``
prints the values of a tier, as they stand in the table's file; a third argument, a share of E to keep, tries others.

E cannot be kept on any schedule: momentum m makes s swing through zero instead of decaying once lr * weight_decay is
above (1 - sqrt(m))^2. And what E does not keep is the number of steps in which the gradient can answer: on fewer steps
decay is as many times faster per step, and the same E prunes more.
"""

from __future__ import annotations

import math
import sys
from dataclasses import replace

from paper_repro import methods, tables
from paper_repro.errors import UserError
from paper_repro.methods.str import STR
from paper_repro.spec import Spec
from paper_repro.training.forecast import decay_factors, forecast, onset_s, steps_per_epoch
from paper_repro.training.schedule import learning_rate


def pull_of_decay(spec: Spec) -> float:
    """E per unit of weight decay: the sum of the learning rates over 1 - momentum."""
    per_epoch = steps_per_epoch(spec)
    alike = 1 if spec.schedule == "step" else per_epoch  # steps in a row that have the same rate
    rates = sum(learning_rate(spec, step, per_epoch) for step in range(0, per_epoch * spec.epochs, alike))
    return alike * rates / (1.0 - spec.momentum)


def weight_decay(paper: Spec, spec: Spec, share: float = 1.0) -> float:
    """The weight decay that pulls as hard over the training of ``spec`` as the paper's does over its own, or by that
    ``share`` of it. UserError where momentum would make s swing.
    """
    found = share * paper.weight_decay * pull_of_decay(paper) / pull_of_decay(spec)
    most = (1.0 - math.sqrt(spec.momentum)) ** 2 / spec.lr
    if found > most:
        raise UserError(
            f"weight decay would have to be {found:.3g} to pull as hard as in the paper, and above {most:.3g} momentum "
            f"{spec.momentum:g} makes s swing through zero: take more steps, or keep a smaller share of the pull"
        )
    return found


def s_init(paper: Spec, spec: Spec) -> float:
    """The s_init with which g(s) leaves zero at the same share of training in ``spec``, at its weight decay, as in the
    paper.
    """
    method, expected = methods.get(spec.method, **spec.method_args), forecast(paper)
    assert isinstance(method, STR) and expected is not None and expected.onset_step is not None
    factors = decay_factors(spec, method.decay_of_s(spec.weight_decay))
    step = round(expected.onset_step / expected.total_steps * (len(factors) - 1))
    return onset_s(method) / factors[step]


def preset(paper: Spec, spec: Spec, share: float = 1.0) -> Spec:
    """``spec`` with the values that follow from the paper's spec of the same row, to four digits."""
    found = replace(spec, weight_decay=_rounded(weight_decay(paper, spec, share)))
    if paper.method != "str":
        return found
    return replace(found, method_args={**spec.method_args, "s_init": _rounded(s_init(paper, found))})


def presets(table: str, tier: str, share: float = 1.0) -> dict[str, Spec]:
    """Row -> its spec with seed 0 at ``tier``, with the values that follow from the paper's tier."""
    rows = tables.load(table)
    paper = {row.id: spec for row, spec in rows.specs("paper", [0])}
    return {row.id: preset(paper[row.id], spec, share) for row, spec in rows.specs(tier, [0])}


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def main() -> None:
    """Print the values, row by row."""
    table, tier, *share = sys.argv[1:]
    for row, spec in presets(table, tier, *map(float, share)).items():
        start = f"method_args = {{ s_init = {spec.method_args['s_init']} }}, " if spec.method == "str" else ""
        print(f'{{ row = "{row}", {start}weight_decay = {spec.weight_decay} }}')


if __name__ == "__main__":
    main()
