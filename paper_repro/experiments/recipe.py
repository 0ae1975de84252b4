"""How the rows of a table are trained: a tier of ``NAME.toml`` becomes one ``RowPlan`` per row.

What holds for a row is put together from the general to the particular: the tier's protocol (or that of another
table's tier, ``protocol_of``, or of another tier, ``trained_as``), the tier's defaults for the row's method
(``methods``), the row's own values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import Field

from paper_repro import reading as files
from paper_repro.errors import UserError, unknown
from paper_repro.experiments.targets import overall_sparsity_pct
from paper_repro.paper.printed import File, Name, Percent, Positive, Row

Decay = Annotated[float, Field(allow_inf_nan=False, ge=0)]
Optimizer = Literal["sgd", "adam", "adamw"]
Budgets = Mapping[str, Mapping[str, float]]  # budget -> layer -> sparsity in percent


class MethodKeys(File):
    """What a row, or all rows of a method, may set; unset values come from further up."""

    method_args: dict[str, Any] = Field(default_factory=dict)
    model_args: dict[str, Any] = Field(default_factory=dict)
    dataset: Name | None = None
    optimizer: Optimizer | None = None
    lr: Positive | None = None
    weight_decay: Decay | None = None
    nesterov: bool | None = None
    grad_clip_norm: Decay | None = None
    target_sparsity_pct: Percent | None = None
    tolerance_pct: Positive | None = None


class RowKeys(MethodKeys):
    """An entry of ``rows``. ``budget`` names a published budget, which becomes method_args.budget, layer by layer."""

    row: Name
    budget: Name | None = None


class TierKeys(File):
    """The keys of a tier. ``recipes_of_same``: rows that are the same as another table's are trained by its recipe.
    ``trained_as``: the tier whose recipes the networks of this one were trained by. ``stand_ins``: data set -> the one
    that takes its place on a machine that has that one only. ``headline``: the rows that a command trains when it names
    none; all where there is no such list.
    """

    protocol_of: Name | None = None
    trained_as: Name | None = None
    dataset: Name
    epochs: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=1)]
    optimizer: Optimizer = "sgd"
    lr: Positive
    momentum: Annotated[float, Field(ge=0, lt=1)]
    warmup_epochs: Annotated[int, Field(ge=0)]
    schedule: Literal["epoch", "step", "drop"]
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    autocast: Literal["", "bf16", "fp16"] = ""
    channels_last: bool = False
    weight_decay: Decay
    tolerance_pct: Positive
    model_args: dict[str, Any] = Field(default_factory=dict)
    stand_ins: dict[str, Name] = Field(default_factory=dict)
    printed_hyperparameters: bool = False
    recipes_of_same: bool = False
    methods: dict[str, dict[str, Any]] = Field(default_factory=dict)
    rows: list[dict[str, Any]] = Field(default_factory=list)
    headline: list[Name] = Field(default_factory=list)


PROTOCOL = (
    "dataset", "epochs", "batch_size", "optimizer", "lr", "momentum", "warmup_epochs", "schedule", "label_smoothing",
    "autocast", "channels_last",
)  # fmt: skip


@dataclass(frozen=True)
class RowPlan:
    """How one row is trained at one tier. ``network``: model, its arguments and the data set it is made for."""

    row: str
    method_args: Mapping[str, Any]
    optimizer: str
    lr: float
    weight_decay: float
    nesterov: bool
    grad_clip_norm: float
    tolerance_pct: float
    stated_target_pct: float | None
    network: tuple[str, Mapping[str, Any], str]
    method: str

    @cached_property
    def target_sparsity_pct(self) -> float | None:
        """The sparsity that the row stands for: as stated, else as its arguments make it on its network; None for
        the dense network.
        """
        if self.stated_target_pct is not None:
            return self.stated_target_pct
        return overall_sparsity_pct(*self.network, self.method, self.method_args)


@dataclass(frozen=True)
class TierPlan:
    """The recipe of one tier; ``rows`` in table order. ``weight_decay`` holds where nothing more special is said,
    ``methods`` what all rows of a method share.
    """

    name: str
    dataset: str
    model_args: Mapping[str, Any]
    epochs: int
    batch_size: int
    optimizer: str
    lr: float
    momentum: float
    warmup_epochs: int
    schedule: str
    label_smoothing: float
    autocast: str
    channels_last: bool
    weight_decay: float
    stand_ins: Mapping[str, str]
    methods: Mapping[str, MethodKeys]
    rows: Mapping[str, RowPlan]
    headline: tuple[str, ...]


def merged(values: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """A tier's keys over those of the tier whose protocol it takes; ``methods`` are merged method by method."""
    inherited = {key: value for key, value in base.items() if key not in ("rows", "recipes_of_same", "headline")}
    methods = dict(inherited.get("methods", {}))
    for name, own in values.get("methods", {}).items():
        under = methods.get(name, {})
        methods[name] = {**under, **own, "method_args": {**under.get("method_args", {}), **own.get("method_args", {})}}
    return {**inherited, **values, "methods": methods}


def tier_plan(
    path: Path,
    name: str,
    values: Mapping[str, Any],
    rows: tuple[Row, ...],
    model: str,
    methods: Callable[[], Iterable[str]],
    budgets: Callable[[], Budgets],
    other_tier: Callable[[str], TierPlan],
) -> TierPlan:
    """The recipe of tier ``name``, validated. ``methods``: those that any table has rows of; ``other_tier``: the same
    tier of another table.
    """
    keys = files.validate(path, f"[tiers.{name}]", values, TierKeys)
    where = f"[tiers.{name}] rows"
    known_methods = set(methods()) if keys.methods else set()
    for method in keys.methods:
        if method not in known_methods:
            raise UserError(f"{path}, [tiers.{name}.methods]: {unknown('method', method, known_methods)}")
    defaults = {
        method: files.validate(path, f"[tiers.{name}.methods] {method}", given, MethodKeys)
        for method, given in keys.methods.items()
    }
    given = [files.validate(path, f"{where}, entry {at}", row, RowKeys) for at, row in enumerate(keys.rows, 1)]
    files.unique(path, where, (row.row for row in given))
    known = {row.id: row for row in rows}
    for entry in given:
        if entry.row not in known:
            raise UserError(f"{path}, {where}: {unknown('row', entry.row, known)}")
    plans = _recipes_of_same(path, name, keys, rows, other_tier) if keys.recipes_of_same else {}
    for entry in given:
        row = known[entry.row]
        method_args = dict(entry.method_args)
        if entry.budget is not None:
            published = budgets()
            if entry.budget not in published:
                raise UserError(f"{path}, {where}, {row.id!r}: {unknown('budget', entry.budget, published)}")
            method_args["budget"] = dict(published[entry.budget])
        entry = entry.model_copy(update={"method_args": method_args})
        plans[row.id] = _row_plan(path, where, entry, row, keys, defaults.get(row.method, MethodKeys()), model)
    for id in keys.headline:
        if id not in plans:
            raise UserError(f"{path}, [tiers.{name}] headline: {unknown('trained row', id, plans)}")
    return TierPlan(
        name=name,
        model_args=keys.model_args,
        weight_decay=keys.weight_decay,
        stand_ins=MappingProxyType(keys.stand_ins),
        methods=MappingProxyType(defaults),
        rows=MappingProxyType({id: plans[id] for id in known if id in plans}),
        headline=tuple(keys.headline),
        **{key: getattr(keys, key) for key in PROTOCOL},
    )


def _recipes_of_same(
    path: Path, name: str, keys: TierKeys, rows: tuple[Row, ...], other_tier: Callable[[str], TierPlan]
) -> dict[str, RowPlan]:
    """The recipes of the rows that are the same as a row of another table which has one at this tier."""
    plans = {}
    for row in rows:
        if row.same_as is None:
            continue
        table, id = row.same_as
        theirs = other_tier(table)
        for key in (*PROTOCOL, "model_args"):
            if getattr(theirs, key) != getattr(keys, key):
                raise UserError(
                    f"{path}, [tiers.{name}]: row {row.id!r} is to be trained as in table {table}, whose {key} differs"
                )
        if id in theirs.rows:
            plans[row.id] = replace(theirs.rows[id], row=row.id)
    return plans


def _row_plan(
    path: Path,
    where: str,
    given: RowKeys,
    row: Row,
    tier: TierKeys,
    method: MethodKeys,
    model: str,
) -> RowPlan:
    """The row's own values over those of its method over those of the tier."""
    method_args = {**method.method_args, **given.method_args}
    if "budget" in given.method_args:  # the row says how sparse each layer is, whatever its method does otherwise
        method_args.pop("distribution", None)

    def first(*values: float | None) -> float | None:
        return next((value for value in values if value is not None), None)

    printed = row if tier.printed_hyperparameters else None
    if printed is not None and printed.s_init is not None:
        method_args = {**method.method_args, "s_init": printed.s_init, **given.method_args}
    weight_decay = first(given.weight_decay, printed.weight_decay if printed else None, method.weight_decay)
    model_args = {**tier.model_args, **method.model_args, **given.model_args}
    dataset = given.dataset or method.dataset or tier.dataset
    aimed = "target_sparsity_pct" in method_args
    if row.method == "str" and not aimed and ("s_init" not in method_args or weight_decay is None):
        raise UserError(f"{path}, {where}: STR row {row.id!r} needs weight_decay and method_args.s_init")
    target = first(given.target_sparsity_pct, method.target_sparsity_pct)
    # low rank leaves no zeros behind
    if target is None and not row.ranks and not {"sparsity_pct", "budget", "target_sparsity_pct"} & method_args.keys():
        target = None if row.method == "dense" else row.reported.sparsity_pct
        if target is None and row.method not in ("dense", "str-rank"):  # the latter ends where it ends
            raise UserError(
                f"{path}, {where}: nothing says how sparse {row.id!r} is to be; give target_sparsity_pct, a budget, or "
                "method_args.sparsity_pct"
            )
    tolerance = first(given.tolerance_pct, method.tolerance_pct, tier.tolerance_pct)
    assert tolerance is not None
    return RowPlan(
        row=row.id,
        method_args=MappingProxyType(method_args),
        optimizer=given.optimizer or method.optimizer or tier.optimizer,
        lr=first(given.lr, method.lr) or tier.lr,
        weight_decay=tier.weight_decay if weight_decay is None else weight_decay,
        nesterov=bool(first(given.nesterov, method.nesterov)),
        grad_clip_norm=first(given.grad_clip_norm, method.grad_clip_norm) or 0.0,
        tolerance_pct=tolerance,
        stated_target_pct=target,
        network=(model, MappingProxyType(model_args), dataset),
        method=row.method,
    )
