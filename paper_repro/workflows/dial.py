"""The value that makes a method end at a sparsity, where the method cannot be asked for one.

Each such method has a dial, one argument that moves where it ends. The rule, the same for all: full runs of seed 0 by
the row's recipe, first at the row's own value and at one that asks for more; then the secant on the log-odds of the
sparsity over the dial (over its logarithm, where it is positive), until a run ends near enough. Accuracy is never
looked at.

``python -m paper_repro.workflows.dial TABLE TIER METHOD`` prints every run, and the value for each row of the method.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click

from paper_repro import record, tables
from paper_repro.errors import UserError, require_known
from paper_repro.spec import Spec
from paper_repro.terminal import Console, run_command
from paper_repro.workflows.job import Job
from paper_repro.workflows.train import train_named

DIALS = {  # method -> its dial, and the factor that asks for more sparsity
    "s-lats": ("final_threshold", 2.0),
    "lats": ("final_threshold", 2.0),
    "binmask": ("pressure", 2.0),
    "autosparse": ("s_init", 0.75),  # both s_init are negative
    "continuous-sparsification": ("s_init", 2.0),
}
RUNS = 8  # for a row, at most

Ends = dict[float, float]  # value of the dial -> the sparsity, in percent, that a run ended at


def log_odds(sparsity_pct: float) -> float:
    """Of a sparsity in percent, finite at 0 and 100 as well."""
    inside = min(max(sparsity_pct, 0.01), 99.99)
    return math.log(inside / (100.0 - inside))


def secant(ends: Ends, target_pct: float) -> float:
    """The next value to try, from those that ended nearest to the target on either side, or nearest at all."""
    values = sorted(ends, key=lambda value: abs(log_odds(ends[value]) - log_odds(target_pct)))
    below, above = ([v for v in values if (ends[v] < target_pct) == low] for low in (True, False))
    one, other = (below[0], above[0]) if below and above else values[:2]
    to, back = (math.log, math.exp) if min(ends) > 0.0 else (float, float)
    rise = log_odds(ends[other]) - log_odds(ends[one])
    if rise == 0.0:
        raise UserError(f"{one:g} and {other:g} end at the same sparsity; begin with other values")
    step = (to(other) - to(one)) / rise * (log_odds(target_pct) - log_odds(ends[one]))
    reach = 2.0 * abs(to(other) - to(one))
    return float(f"{back(to(one) + min(max(step, -reach), reach)):.3g}")


def find(ends_at: Callable[[float], float], ends: Ends, first: float, factor: float, target_pct: float) -> float:
    """The value that ends within 0.7 points of the target, 0.3 above 97 %; ``ends`` is what is known, and grows."""
    near = 0.3 if target_pct > 97.0 else 0.7
    for run in range(RUNS + 1):
        for value, end in ends.items():
            if abs(end - target_pct) <= near:
                return value
        if run == RUNS:
            break
        value = secant(ends, target_pct) if len(ends) > 1 else first * factor if ends else first
        if value in ends:
            break
        ends[value] = ends_at(value)
    raise UserError(f"no value ends near {target_pct:g} % after {run} runs: {ends}")


def end(spec: Spec, job: Job, console: Console) -> float:
    """The sparsity, in percent, that a run ends at; it is trained where it is not finished, and kept like any other."""
    failures = train_named({spec.name: spec}, job, console)
    if failures:
        raise UserError(f"{spec.name}: {failures[spec.name]}")
    return record.read(job.runs / spec.name).result.sparsity_pct or 0.0


@click.command()
@click.argument("table")
@click.argument("tier")
@click.argument("method")
@click.option("--runs", type=click.Path(path_type=Path), default=Path("runs"), show_default=True)
@click.option("--data-root", type=click.Path(path_type=Path), default=Path("data"), show_default=True)
def main(table: str, tier: str, method: str, runs: Path, data_root: Path) -> None:
    """Find the dial of every row of METHOD; finished runs are not trained again."""
    require_known("method with a dial", method, DIALS)
    dial, factor = DIALS[method]
    ends: Ends = {}
    job, console = Job(table, tier, runs=runs, data_root=data_root), Console()
    for row, spec in tables.load(table).specs(tier, [0]):
        if row.method != method:
            continue

        def ends_at(value: float, spec: Spec = spec) -> float:
            sparsity_pct = end(replace(spec, method_args={**spec.method_args, dial: value}), job, console)
            click.echo(f"{dial} = {value:g} ends at {sparsity_pct:.2f} %")
            return sparsity_pct

        assert row.regime_pct is not None
        value = find(ends_at, ends, spec.method_args[dial], factor, row.regime_pct)
        click.echo(f"{row.id}: {dial} = {value:g}, {ends[value]:.2f} %")


if __name__ == "__main__":
    run_command(main)
