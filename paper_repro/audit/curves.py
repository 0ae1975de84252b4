"""The forecast of the paper's own run, held against Figures 1 and 2.

Figure 1 is the test: it shows g(s) at the first epoch at which it can be read, and the simulation, which has no free
constant, says what g(s) is there. Figure 2 then says whether ``ONSET_U``, which was read off Figure 1, is where
sparsity becomes visible: it has one point per epoch, so it names the two epochs between which 1 % was passed. Points
were read off the page, to 0.02 epochs of the whole ones and to 2e-5 of a threshold.
"""

from __future__ import annotations

import math

from paper_repro import methods, tables
from paper_repro.audit.comparison import Comparison
from paper_repro.methods.str import STR
from paper_repro.training.forecast import decay_factors, onset_s, steps_per_epoch
from paper_repro.verdict import Verdict

CURVE_ACCURACY = 2e-5  # of a threshold read off Figure 1


def audit_curves(table: tables.Table) -> list[Comparison]:
    """The lines of both figures; nothing for a table without them."""
    if table.figure_row is None:
        return []
    spec = table.tier("paper").rows[table.figure_row].spec
    method = methods.get(spec.method, **spec.method_args)
    assert isinstance(method, STR)
    factors, per_epoch = decay_factors(spec, spec.weight_decay), steps_per_epoch(spec)

    def epoch_at(level: float) -> float:
        """Epochs until weight decay alone has brought s to ``level``."""
        return next((at for at, factor in enumerate(factors) if method.s_init * factor >= level), math.nan) / per_epoch

    visible = next((x, y) for x, y in tables.curve(table.name, "fig1_threshold") if y > 0.0)
    epoch, shown = round(visible[0]), 1e6 * visible[1]
    simulated = 1e6 * (1.0 / (1.0 + math.exp(-method.s_init * factors[epoch * per_epoch])))
    onset, at_a_tenth, at_ten_times = map(epoch_at, (onset_s(method), -12.3, -7.7))
    curve = tables.curve(table.name, "fig2_sparsity")
    first_sparse = min(round(epoch) for epoch, sparsity_pct in curve if sparsity_pct > 1.0)
    outside = max(first_sparse - 1 - onset, onset - first_sparse, 0.0)
    lines = (
        ("Figure 1", f"threshold_at_epoch_{epoch}", "1e-6", f"{shown:.0f}", simulated, simulated - shown,
         1e6 * CURVE_ACCURACY, "g(s) as weight decay, s_init and schedule alone make it; the figure can be read to 20"),
        ("Figure 2", "onset_epoch", "epoch", f"{first_sparse - 1}-{first_sparse}", onset, outside, 0.0,
         "when g(s) reaches 4.5e-5, a level taken from Figure 1 of the same run; at a tenth or ten times of it the "
         f"forecast is epoch {at_a_tenth:.1f} or {at_ten_times:.1f}"),
    )  # fmt: skip
    return [
        Comparison(
            figure, table.figure_row, quantity, unit, printed, recomputed, difference,
            Verdict.PASS if abs(difference) <= allowed else Verdict.FAIL, note,
        )
        for figure, quantity, unit, printed, recomputed, difference, allowed, note in lines
    ]  # fmt: skip
