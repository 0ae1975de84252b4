"""The authors' released checkpoints, brought in by file: what each is, which row of the paper, and where it is kept.

An imported network lies in ``checkpoints/<table>/<row>``. If it is of no row that tier ``checkpoint`` has, the folder
has the file's own name, with ``-no-row`` behind it where a row has that name. It holds ``model.safetensors``,
``checkpoint.json`` that says where it is from, and ``balance.csv`` where the file has raw weights and thresholds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
from torch import nn

from paper_repro import models, tables
from paper_repro.accounting import counted_layers
from paper_repro.data.catalog import dataset
from paper_repro.errors import UserError, require_known
from paper_repro.files import write
from paper_repro.interchange import networks, released
from paper_repro.interchange.networks import Imported
from paper_repro.interchange.released import Released
from paper_repro.methods import balance
from paper_repro.tables import CHECKPOINT, Row, Table
from paper_repro.terminal import Console
from paper_repro.training import measure

MADE_BY_THE_AUTHORS = ("str", "dense")  # methods of the rows that a file of theirs may be of
BALANCE = "balance.csv"
FORMS = {
    "native": "native: raw weights and thresholds",
    "doubled": "native, with a stored copy of the sparse weights that agrees with them",
    "dense": "dense-converted: no thresholds",
}


@dataclass(frozen=True)
class Candidate:
    """A checkpoint that was read and measured, and the table that its network is of."""

    released: Released
    table: Table
    input_size: tuple[int, ...]
    measured: Mapping[str, float]

    @property
    def full_size(self) -> bool:
        """Whether the network has the paper's own size."""
        return same_shapes(self.released.network, self.table)

    @cached_property
    def layer_balances(self) -> pd.DataFrame:
        """A layer a line, in forward order: how many weights it keeps, its threshold g(s), the L1 norm of its kept raw
        weights, the norm at which the threshold would be balanced, and the ratio that is 1 there.
        """
        layers, weights = counted_layers(self.released.network), self.released.weights
        return pd.DataFrame(
            {
                "layer": name,
                "kept_weights": int(layers[name].weight.count_nonzero()),
                "threshold": weights.thresholds[name],
                "kept_l1": of_layer.l1,
                "implied_l1": balance.implied_l1(weights.thresholds[name]),
                "balance": of_layer.ratio,
            }
            for name, of_layer in weights.balances.items()
        )

    def row(self) -> Row | None:
        """The row of tier checkpoint whose printed sparsity and MACs are both those measured, if there is one."""
        for id in self.table.tier(CHECKPOINT).rows if self.full_size else ():
            printed = self.table.row(id).reported.printed
            same_sparsity = printed["sparsity_pct"].matches(self.measured["sparsity_pct"])
            if same_sparsity and printed["macs_m"].matches(self.measured["sparse_macs_m"]):
                return self.table.row(id)
        return None

    def nearest(self, printed: str, measured: str) -> str:
        """The row whose printed number is the nearest to the measured one, with that number."""
        numbers = {
            row.id: row.reported.printed[printed]
            for row in self.table.rows
            if row.method in MADE_BY_THE_AUTHORS and printed in row.reported.printed
        }
        id = min(numbers, key=lambda id: abs(numbers[id].value - self.measured[measured]))
        return f"{id} ({numbers[id].text})"


def same_shapes(network: nn.Module, table: Table) -> bool:
    """Whether a network has the weights of the full-size network of ``table``."""
    whole = models.outline(table.model, **dataset(table.dataset).fitting)
    shapes, wanted = ({key: value.shape for key, value in net.state_dict().items()} for net in (network, whole))
    return shapes == wanted


def import_file(file: Path, table: str | None, row: str | None, out: Path, console: Console) -> Path:
    """Read a checkpoint of the authors, say what it is, and keep its network under ``out``; returns the folder.

    ``table`` and ``row``: what it is to be taken for; without them, what its network, sparsity and MACs say. Raises
    UserError for a file that is refused, and for a table or row that it cannot be of.
    """
    candidate = _candidate(file, table)
    own = candidate.row()
    chosen = own if row is None else _named(candidate, row)
    console.say(*description(candidate))
    if chosen is None:
        said = f"none of tier {CHECKPOINT} has this sparsity and these MACs; --row names one all the same"
    elif chosen == own:
        said = f"{chosen.id}, whose printed sparsity and MACs are those of the file"
    else:
        said = f"{chosen.id}, as asked for; its printed sparsity and MACs are not those of the file"
    console.print(f"row: {said}")
    folder = out / candidate.table.name / (chosen.id if chosen else _own_name(file, candidate.table))
    _say_what_is_replaced(folder, candidate.released.sha256, console)
    _keep(candidate, file, folder)
    console.say(f"kept in {folder}")
    if (folder / BALANCE).exists():
        console.say(f"balance layer by layer: {folder / BALANCE}")
    if chosen is not None:
        console.print(f"next: make reproduce TABLE={candidate.table.name} TIER={CHECKPOINT}")
    return folder


def _own_name(file: Path, table: Table) -> str:
    """The folder of a file that is of no row. A row's folder stands for the row, whatever the file is called."""
    return f"{file.stem}-no-row" if file.stem in {row.id for row in table.rows} else file.stem


def _candidate(file: Path, table: str | None) -> Candidate:
    having = {name: tables.load(name) for name in tables.names() if CHECKPOINT in tables.load(name).tiers}
    require_known(f"table with a tier {CHECKPOINT}", [] if table is None else table, having)
    read = released.read(file)
    fitting = [plan for name, plan in having.items() if plan.model == read.model and table in (None, name)]
    if not fitting:
        if table is not None:
            raise UserError(f"{file} is of {read.model}, which {table} is not")
        known = ", ".join(f"{name} ({plan.model})" for name, plan in having.items())
        raise UserError(f"{file} is of {read.model}, and no table with a tier {CHECKPOINT} is; those are: {known}")
    input_size = (read.model_args["in_channels"], *dataset(fitting[0].dataset).input_size[1:])
    size, _ = measure.size(read.network, input_size, {})
    return Candidate(read, fitting[0], input_size, size.model_dump())


def _named(candidate: Candidate, row: str) -> Row:
    rows = candidate.table.tier(CHECKPOINT).rows
    require_known(f"row of table {candidate.table.name} at tier {CHECKPOINT}", row, rows)
    if not candidate.full_size:
        has = _listed(candidate.released.model_args)
        raise UserError(f"row {row} is of the full-size network on {candidate.table.dataset}, and this one has {has}")
    return candidate.table.row(row)


def description(candidate: Candidate) -> list[str]:
    """What a file is, in sentences."""
    read, measured = candidate.released, candidate.measured
    weights, balances = read.weights, read.weights.balances
    names = f"with {weights.prefix!r}" if weights.prefix else "without 'module.'"
    lines = [
        f"network: {read.model} ({_listed(read.model_args)})",
        f"form: {FORMS[weights.form]}; names {names}",
        f"sparsity: {measured['sparsity_pct']:.4f} %",
        f"nonzero parameters: {measured['nonzero_params_m']:.4f} M of {measured['params_m']:.4f} M",
        f"MACs: {measured['sparse_macs_m']:.2f} M of {measured['macs_m']:.2f} M",
    ]
    g = list(weights.thresholds.values())
    if g:
        lines.append(f"thresholds g(s) of {len(g)} layers: {min(g):.4g} to {max(g):.4g}, median {median(g):.4g}")
        lines.append(f"balance of thresholds, g'(s) L1 / |s|: {balance.summary(balances.values())}")
        lines += _implied(candidate.layer_balances)
    near = candidate.nearest("sparsity_pct", "sparsity_pct"), candidate.nearest("macs_m", "sparse_macs_m")
    lines.append(f"the file states: {_listed(read.stated) or 'nothing'}")
    return [*lines, f"nearest rows of table {candidate.table.name}: by sparsity {near[0]}, by MACs {near[1]}"]


def _implied(layers: pd.DataFrame) -> list[str]:
    """What the paper's Figure 3 can be tested by, and beside it the direct test."""
    kept = layers[(layers["kept_weights"] > 0) & np.isfinite(layers["implied_l1"])]
    if len(kept) < 3:
        return []
    with_weights, with_norm = (
        np.corrcoef(np.log(kept["implied_l1"]), np.log(kept[column]))[0, 1] for column in ("kept_weights", "kept_l1")
    )
    return [
        f"the L1 norm that thresholds imply: correlation of the logarithms {with_weights:.3f} with the number of kept "
        f"weights, {with_norm:.3f} with the measured norm"
    ]


def _listed(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _say_what_is_replaced(folder: Path, sha256: str, console: Console) -> None:
    try:
        before = networks.imported(folder)
    except UserError:  # none, or one of which nothing can be said
        return
    if before.sha256 != sha256:
        which = f"{before.source} (sha256 {before.sha256[:12]}...)"
        console.say(f"note: it takes the place of another file, {which}, imported earlier")


def _keep(candidate: Candidate, file: Path, folder: Path) -> None:
    read = candidate.released
    about = Imported(
        source=file.name,
        input_size=candidate.input_size,
        **{name: getattr(read, name) for name in ("sha256", "model", "model_args", "stated")},
        **{name: getattr(read.weights, name) for name in ("form", "thresholds", "balances")},
    )
    networks.keep(read.network, about, folder)
    if read.weights.balances:
        write(folder / BALANCE, candidate.layer_balances.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
    else:
        (folder / BALANCE).unlink(missing_ok=True)
