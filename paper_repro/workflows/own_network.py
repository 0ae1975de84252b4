"""A table's rows on a network of the user's: the tier's protocol, and STR's values by the balance of thresholds.

The network takes the place of the table's; a data set that its file brings along takes the place of the tier's, and is
trained for as many steps as the tier takes, in whole epochs. Three rules give STR's values (``presets``), from those of
the row:

- slope: the row's, times how much steeper the balance has to be on this network than on the tier's
  (``presets.balancing_slope``). Both are measured on initial weights, at one sparsity for all rows. Batch norm makes
  the scale that weights start with immaterial: it is taken to be He et al.'s in both.
- weight decay: the one that pulls as much over the whole training (``presets.weight_decay``).
- s_init: the one with which thresholds leave zero at the same share of training (``presets.s_init``).

Where plain STR ends depends on how far training shrinks the weights, which is not known beforehand. STR is therefore
asked for the sparsity that a row stands for: plain STR runs until that is reached, and then holds the sparsity of
every layer (``target = "freeze"``). If it is not reached by 60 % of training, all thresholds are moved at once to reach
it. Rows that have a budget, or ranks, of the paper's own network are left out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import torch

from paper_repro import record
from paper_repro.accounting import Account, account, counted_layers
from paper_repro.data import brought
from paper_repro.data.catalog import dataset
from paper_repro.errors import UserError
from paper_repro.interchange import networks
from paper_repro.methods.plugins import Plugin, explained
from paper_repro.models import MODELS, plugins
from paper_repro.report.console import new_grid, print_whole
from paper_repro.spec import Spec
from paper_repro.tables import Row, TierPlan
from paper_repro.terminal import Console
from paper_repro.training import randomness
from paper_repro.training.forecast import forecast, steps_per_epoch
from paper_repro.workflows import presets

LISTED = 12  # layers that are listed by name; of more, the largest ones are
BALANCED_PCT = 90.0  # the sparsity at which slopes are compared: about that of the paper's model of Figure 3
Run = tuple[Row, Spec]


@dataclass(frozen=True)
class OwnNetwork:
    """A user's network that can be trained. ``data``: the data set that it brings along, or "". ``size``: on it.
    ``takes_one``: whether it trains on a batch of one example; batch norm of single values does not.
    """

    plugin: Plugin
    data: str
    size: Account
    takes_one: bool


def runs(pairs: Iterable[Run], plan: TierPlan, source: str, wanted: Collection[str] = ()) -> list[Run]:
    """The runs of a tier with the user's network in place of the table's. STR's values are found for the rows that are
    ``wanted``, by default for all: not every network has any.
    """
    result = []
    for row, spec in pairs:
        if "budget" in spec.method_args or row.ranks:
            continue
        own = loaded(source, spec.dataset)
        changed = _fitted(spec, own)
        target = plan.rows[row.id].target_sparsity_pct
        if row.is_str and target is not None and (not wanted or row.id in wanted):
            changed = _preset(spec, changed)
            if "target_sparsity_pct" not in spec.method_args:
                ending = {"target_sparsity_pct": target, "target": "freeze"}
                changed = replace(changed, method_args={**changed.method_args, **ending})
        result.append((row, changed))
    return result


def loaded(source: str, data: str) -> OwnNetwork:
    """The user's network, checked on its own data set, or on ``data`` where it has none. UserError, with the place, for
    a file that cannot be used, a network that cannot read the data, and one with another number of outputs.
    """
    return _loaded(plugins.find(source), data)


@lru_cache
def _loaded(plugin: Plugin, data: str) -> OwnNetwork:
    own = brought.bring(plugin)
    facts = dataset(own or data)
    built = MODELS[plugin.name](**facts.fitting)
    inputs = torch.zeros(2, *facts.input_size)
    with explained(plugin, f"read inputs of shape {tuple(inputs.shape)}"), torch.no_grad():
        outputs = built.eval()(inputs)
    wanted = (2, facts.num_classes, *facts.label_shape)
    if not isinstance(outputs, torch.Tensor) or outputs.shape != wanted:
        given = tuple(outputs.shape) if isinstance(outputs, torch.Tensor) else type(outputs).__name__
        raise UserError(
            f"{plugin}: for two examples of {facts.title} it gives {given}, and a tensor of shape {wanted} is "
            f"expected (examples, classes{', pixels' if facts.label_shape else ''}); model() is given num_classes and "
            "in_channels"
        )
    if not counted_layers(built):
        raise UserError(f"{plugin}: it has no convolution or fully connected layer, and so nothing to prune")
    return OwnNetwork(plugin, own, account(built, facts.input_size), _takes_one(built, facts.input_size))


def _takes_one(network: torch.nn.Module, input_size: tuple[int, ...]) -> bool:
    try:
        with torch.no_grad():
            network.train()(torch.zeros(1, *input_size))
    except ValueError:  # as batch norm says it
        return False
    return True


def describe(source: str, specs: Iterable[Spec], console: Console) -> None:
    """Print the weights and the multiply-adds of every layer. Sparsity and MACs of its runs are counted in these."""
    for spec in {spec.dataset: spec for spec in specs}.values():
        own, shape = loaded(source, spec.dataset), dataset(spec.dataset).input_size
        layers = f"{len(own.size.layers)} layers that can be pruned"
        text = f"{own.plugin}: {own.size.params:,} weights and {own.size.macs / 1e6:,.4g} M multiply-adds in {layers}"
        console.say(f"{text}, on inputs of {shape}")
        grid = new_grid(("layer", "weights", "MACs M", "% of MACs"), left=("layer",))
        for cells in layer_lines(own.size):
            grid.add_row(*cells)
        print_whole(grid, console)


def layer_lines(size: Account) -> list[tuple[str, str, str, str]]:
    """Name, weights, millions of multiply-adds of an example and their share, of each layer in order. Of a network of
    many layers, those with the largest share of its weights or its multiply-adds are listed, and the others summed.
    """
    weights = [0 if layer.tied_to else layer.params for layer in size.layers]  # as in the totals
    share = [max(own / size.params, layer.macs / size.macs) for own, layer in zip(weights, size.layers, strict=True)]
    largest = sorted(range(len(share)), key=lambda index: -share[index])[:LISTED]
    lines = [(size.layers[index].name, weights[index], size.layers[index].macs) for index in sorted(largest)]
    if others := len(size.layers) - len(lines):
        listed, listed_macs = (sum(numbers) for numbers in list(zip(*lines, strict=True))[1:])
        lines.append((f"{others} smaller ones together", size.params - listed, size.macs - listed_macs))
    return [(name, f"{own:,}", f"{macs / 1e6:,.4g}", f"{100 * macs / size.macs:.1f}") for name, own, macs in lines]


def _fitted(spec: Spec, own: OwnNetwork) -> Spec:
    """The protocol of ``spec`` for this network, for as many steps as it takes there, or more to fill an epoch. Warm-up
    has whole epochs too, and fewer steps where it does not fill them; training is always longer.
    """
    changed = replace(
        spec,
        model=own.plugin.name,
        model_args={},
        model_sha256=own.plugin.sha256,
        dataset=own.data or spec.dataset,
        channels_last=spec.channels_last and len(dataset(own.data or spec.dataset).input_size) == 3,
    )
    facts = dataset(changed.dataset)
    if facts.train_examples % changed.batch_size == 1 and not own.takes_one:
        raise UserError(
            f"{own.plugin}: its batch norm cannot train on a single example, and the last batch of an epoch has one: "
            f"{facts.train_examples} examples in batches of {changed.batch_size}; leave one out, or add one"
        )
    epochs = steps_per_epoch(spec) / steps_per_epoch(changed)  # of this data for one of the tier's
    return replace(
        changed, epochs=math.ceil(spec.epochs * epochs), warmup_epochs=math.floor(spec.warmup_epochs * epochs)
    )


def _preset(spec: Spec, own: Spec) -> Spec:
    """STR's values on the own network, by those that ``spec`` has on the table's."""
    expected = forecast(spec)
    assert expected is not None and expected.onset_step is not None
    steeper = _balancing_slope(own) / _balancing_slope(spec)
    if not 0.0 < steeper < math.inf:
        raise UserError(f"{own.model}: it has too few weights for STR's slope to be found; take a larger network")
    slope = float(f"{float(spec.method_args.get('slope', 1.0)) * steeper:.3g}")
    decay = presets.weight_decay(own, spec.weight_decay * presets.pull_of_decay(spec))
    changed = replace(own, weight_decay=float(f"{decay:.4g}"), method_args={**own.method_args, "slope": slope})
    s_init = presets.s_init(changed, expected.onset_step / expected.total_steps)
    return replace(changed, method_args={**changed.method_args, "s_init": s_init})


def _balancing_slope(spec: Spec) -> float:
    return _measured_slope(replace(spec, seed=0, method="dense", method_args={}).canonical())


@lru_cache
def _measured_slope(canonical: str) -> float:
    spec = Spec.from_dict(json.loads(canonical))
    with torch.random.fork_rng(devices=[]):
        randomness.seed(spec.seed)
        layers = counted_layers(networks.untrained(spec))
        weights = [torch.nn.init.kaiming_normal_(layer.weight.detach()) for layer in layers.values()]
    return presets.balancing_slope(weights, BALANCED_PCT)


def show(pairs: Iterable[Run], folder: Path, console: Console) -> None:
    """What the finished runs ended with."""
    titles = ("row", "seed", "slope", "weight decay", "s_init", "sparsity %", "MACs M", "top-1 %", "empty layers")
    grid = new_grid(titles, left=("row",))
    for row, spec in pairs:
        done = record.finished(folder / spec.name, spec)
        if done is None:
            continue
        slope, s_init = (spec.method_args.get(name) for name in ("slope", "s_init"))
        settings = ((slope, "g"), (spec.weight_decay, ".4g"), (s_init, "g"))
        result = done.result
        measured = ((result.sparsity_pct, ".2f"), (result.sparse_macs_m, ".4f"), (result.top1_pct, ".2f"))
        cells = ("–" if value is None else format(value, form) for value, form in (*settings, *measured))
        grid.add_row(row.id, str(spec.seed), *cells, str(len(result.empty_layers)))
    print_whole(grid, console)
