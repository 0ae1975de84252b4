"""What STR takes on a network and a schedule that are not the paper's: slope, weight decay and s_init.

Copied to a smaller network and a shorter schedule, the paper's values do not work. Three rules replace them:

1. Slope, one number for a network and a tier. In the paper's 90.23 % model the thresholds settle where they are
   balanced (``methods/balance.py``). The smaller network is to balance at the same densities. ``layer_slopes`` asks of
   every layer which slope would balance it at its density in that model, with given weights. STR's kept weights lie
   between the initial ones and those that a dense training of the tier ends with, which decay has made smaller. That
   makes two estimates, medians over layers: one from the initial weights, as a multiple of the full-size network's,
   which has slope 1 in the paper, and one from the trained weights. For ResNet50 at tier smoke they are 1.8 and 7.1;
   its rows have slope 4, between them, and MobileNetV1 has the same. Trained later with slopes from 1 to 8, thresholds
   ended at their balance with 6 and 8, and far below it with 1 to 3 (table ``resnet50_choices``). At tier small both
   estimates are below 2, which is too low: its rows have slope 8, the best of three tried
   (``experiments/resnet50.toml``).
2. Weight decay, one number for a row. As in the paper, it steers where sparsity ends. It pulls by the factor exp(-E)
   over a training, E = weight_decay * sum(lr) / (1 - momentum); the paper's rows have E from 9 to 47. On few steps so
   strong a pull is noise: weights flip in and out, and layers die. The recipes of tier smoke stay between 2 and 7,
   those of tier small below the paper's own rows. They were chosen by the sparsity that seed 0 ends at, never by its
   accuracy.
3. s_init follows from the two by the exact simulation of decay: it puts the onset, where g(slope * s) leaves zero, at
   the wanted share of training. In the paper that is a tenth to four tenths.

A network of the user's has no layers whose densities the paper prints (``own_network.py``). Its slope is that of the
table's row, times how much steeper fresh weights of it balance than those of the table's network, at 90 % in both; the
other two rules are as above.

What is off. The estimates are rough: the one from trained weights doubles when the dense network's weight decay rises
by a third, and for MobileNetV1, whose dense network decays half as fast as STR's rows, it is 1.3. And thresholds have
to come to rest, which a short training only begins: the less sparse a row, the less its decay pulls, and the further
off balance it ends. ``results/slopes.csv`` has the estimates, with quartiles over layers; ``docs/balance.md`` has them
beside what STR's own trainings then showed.

``python -m paper_repro.workflows.presets TABLE TIER`` prints all this for a tier, from its trainings in ``runs/``.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pandas as pd
import torch
from torch import Tensor

from paper_repro import methods, tables
from paper_repro.accounting import counted_layers
from paper_repro.errors import UserError
from paper_repro.files import write
from paper_repro.interchange import networks, weight_files
from paper_repro.interchange.networks import untrained
from paper_repro.methods.balance import implied_l1, slopes_to_keep
from paper_repro.methods.distributions import kth_smallest
from paper_repro.methods.str import STR
from paper_repro.spec import Spec
from paper_repro.terminal import run_command
from paper_repro.training import randomness
from paper_repro.training.forecast import decay_factors, forecast, onset_s, steps_per_epoch
from paper_repro.training.schedule import learning_rates

# The published models whose densities a slope is to balance: that of Figure 3, and the one of Table 8.
BALANCED_LIKE = {"resnet50": "str-90.23", "mobilenetv1": "str-89.01"}


def pull_of_decay(spec: Spec) -> float:
    """E per unit of weight decay: the sum of the learning rates over 1 - momentum."""
    return math.fsum(learning_rates(spec, steps_per_epoch(spec))) / (1.0 - spec.momentum)


def weight_decay(spec: Spec, pull: float) -> float:
    """The weight decay with which E = ``pull`` over the training of ``spec``. UserError where momentum would make s
    swing through zero: above (1 - sqrt(momentum))^2 / lr.
    """
    decay = pull / pull_of_decay(spec)
    most = (1.0 - math.sqrt(spec.momentum)) ** 2 / spec.lr
    if decay > most:
        raise UserError(
            f"weight decay would have to be {decay:.3g} for a pull of {pull:g}, and above {most:.3g} momentum "
            f"{spec.momentum:g} makes s swing through zero: take more steps or a smaller pull"
        )
    return decay


def s_init(spec: Spec, onset: float) -> float:
    """The s_init with which g(slope * s) leaves zero at this share of training, to four digits, at the weight decay and
    the slope of ``spec``, an STR run.
    """
    method = methods.get(spec.method, **spec.method_args)
    assert isinstance(method, STR)
    factors = decay_factors(spec, method.decay_of_s(spec.weight_decay))
    return float(f"{onset_s(method) / factors[round(onset * (len(factors) - 1))]:.4g}")


def balancing_slope(weights: Iterable[Tensor], sparsity_pct: float) -> float:
    """The slope with which the balance prunes these layers, as their weights are, to an overall sparsity: the budget of
    ``distributions.Balanced`` is the one at this slope.
    """
    needed = torch.cat(
        [slopes_to_keep(weight.detach().abs().flatten().sort(descending=True).values) for weight in weights]
    )
    return float(kth_smallest(needed, max(1, round((1.0 - sparsity_pct / 100.0) * needed.numel()))))


def layer_slopes(weights: Mapping[str, Tensor], densities: Mapping[str, float]) -> dict[str, float]:
    """Layer -> the slope at which it is balanced at its density (a share between 0 and 1).

    The threshold is what prunes the layer to that density, and L1 the sum of what is larger. A layer that has no such
    threshold below g(0), or that keeps nothing or everything, has no slope and is left out.
    """
    slopes = {}
    for layer, density in densities.items():
        ordered = weights[layer].detach().double().abs().flatten().sort(descending=True).values
        kept = round(density * len(ordered))
        if not 0 < kept < len(ordered):
            continue
        threshold = float(ordered[kept])
        if 0.0 < threshold < 0.5:  # g(0), of a sigmoid
            slopes[layer] = math.sqrt(implied_l1(threshold) / float(ordered[:kept].sum()))
    return slopes


def densities(table: str, row: str) -> dict[str, float]:
    """Layer -> share of its weights that a published model keeps."""
    return {layer: 1.0 - sparsity_pct / 100.0 for layer, sparsity_pct in tables.budgets(table)[row].items()}


def slopes(table: str, tier: str, runs: Path) -> list[dict[str, Any]]:
    """What the rule for the slope goes by at a tier: one line for the initial weights (as a multiple of the full-size
    network's), and one for the dense run of seed 0 where ``runs`` holds it. Quartiles are over layers.
    """
    model_table = tables.load(table).budgets_of
    wanted = densities(model_table, BALANCED_LIKE[model_table])
    lines = []
    for row, spec in tables.load(table).specs(tier, [0]):
        folder = runs / spec.name
        if row.is_dense:
            own, full = (layer_slopes(_initial(made), wanted) for made in (spec, replace(spec, model_args={})))
            ratio = statistics.median(full.values())
            lines.append(_line(table, tier, "initial weights", (slope / ratio for slope in own.values())))
            if (folder / networks.WEIGHTS).exists():
                tensors = weight_files.read_weights(folder / networks.WEIGHTS)
                trained = {layer: tensors[f"{layer}.weight"] for layer in wanted}
                lines.append(_line(table, tier, "dense training", layer_slopes(trained, wanted).values()))
    return lines


def _initial(spec: Spec) -> dict[str, Tensor]:
    randomness.seed(spec.seed)
    return {name: layer.weight for name, layer in counted_layers(untrained(spec)).items()}


def _line(table: str, tier: str, source: str, slopes: Iterable[float]) -> dict[str, Any]:
    values = list(slopes)
    quartiles = [f"{value:.2f}" for value in statistics.quantiles(values, n=4, method="inclusive")]
    named = dict(zip(("lower_quartile", "median", "upper_quartile"), quartiles, strict=True))
    return {"table": table, "tier": tier, "weights": source, "layers": len(values), **named}


def write_slopes(lines: Iterable[Mapping[str, Any]], file: Path) -> Path:
    """Write ``lines`` over those of the same tables and tiers in ``file``."""
    key = ["table", "tier"]
    both = new = pd.DataFrame(list(lines)).astype(str)
    if file.exists():
        old = pd.read_csv(file, dtype=str)
        both = pd.concat([old[~old.set_index(key).index.isin(new.set_index(key).index)], new])
    return write(file, both.sort_values(key, kind="stable").to_csv(index=False, lineterminator="\n"))


@click.command()
@click.argument("table")
@click.argument("tier")
@click.option("--runs", type=click.Path(path_type=Path), default=Path("runs"), show_default=True)
@click.option("--results", type=click.Path(path_type=Path), help="Write slopes.csv there.")
@click.option("--pull", type=float, default=4.0, show_default=True, help="E of the weight decay that is shown.")
def main(table: str, tier: str, runs: Path, results: Path | None, pull: float) -> None:
    """Print slope, weight decay and s_init of a tier's STR rows, as its recipe has them and as the rules give them."""
    lines = slopes(table, tier, runs)
    for line in lines:
        click.echo("  ".join(f"{name} {value}" for name, value in line.items()))
    if results is not None:
        click.echo(write_slopes(lines, results / "slopes.csv"))
    for row, spec in tables.load(table).specs(tier, [0]):
        if row.is_str:
            expected = forecast(spec)
            assert expected is not None and expected.onset_step is not None
            share = expected.onset_step / expected.total_steps
            click.echo(
                f"{row.id}: weight_decay {spec.weight_decay:g} is E = {spec.weight_decay * pull_of_decay(spec):.2f} "
                f"({weight_decay(spec, pull):.4g} would be {pull:g}); onset at {share:.3f} of training, s_init there "
                f"{s_init(spec, share):g}"
            )


if __name__ == "__main__":
    run_command(main)
