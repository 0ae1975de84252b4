"""How the rows of a table are trained: a tier of ``NAME.toml`` becomes one ``RowPlan`` per row.

A recipe is put together from the general to the particular: the tier (or that of another table, ``protocol_of``, or
another tier, ``trained_as``), the tier's section for the row's method (``methods``), the hyperparameters that the paper
prints (``printed_hyperparameters``), the row's own entry. Each may set any field of ``Spec`` but those that say what
the row is; ``model_args`` and ``method_args`` are merged key by key. What comes out is validated once, as a ``Spec``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from pydantic import Field

from paper_repro.errors import UserError, require_known
from paper_repro.experiments.targets import asks, overall_sparsity_pct
from paper_repro.paper.printed import File, Name, Percent, Positive, Row
from paper_repro.reading import unique, validate
from paper_repro.spec import Spec, SpecError

Budgets = Mapping[str, Mapping[str, float]]  # budget -> layer -> sparsity in percent
Section = Mapping[str, Any]
NO_RECIPE = ("model", "method", "seed", "method_sha256", "model_sha256")  # fields of a spec that say what a run is of
ARGUMENTS = ("model_args", "method_args")


class Goal(File):
    """What a row's result is held to. ``target_sparsity_pct``: where its arguments do not say it."""

    target_sparsity_pct: Percent | None = None
    tolerance_pct: Positive


class RowKeys(File):
    """An entry of ``rows``. ``budget`` names a published budget, which becomes method_args.budget, layer by layer."""

    row: Name
    budget: Name | None = None


class TierKeys(File):
    """A tier. ``recipes_of_same``: rows that are the same as another table's are trained by its recipe.
    ``trained_as``: the tier whose recipes the networks of this one were trained by. ``stand_ins``: data set -> the one
    that takes its place on a machine that has that one only. ``headline``: the rows that a command trains when it names
    none; all where there is no such list.
    """

    protocol_of: Name | None = None
    trained_as: Name | None = None
    stand_ins: dict[str, Name] = Field(default_factory=dict)
    printed_hyperparameters: bool = False
    recipes_of_same: bool = False
    methods: dict[str, dict[str, Any]] = Field(default_factory=dict)
    rows: list[dict[str, Any]] = Field(default_factory=list)
    headline: list[Name] = Field(default_factory=list)


Keys = TypeVar("Keys", bound=File)


@dataclass(frozen=True)
class RowPlan:
    """How one row is trained at one tier: the spec of seed 0, and what the result is held to."""

    row: str
    spec: Spec
    tolerance_pct: float
    stated_target_pct: float | None

    @cached_property
    def target_sparsity_pct(self) -> float | None:
        """The sparsity that the row stands for: as stated, else as its arguments make it on its network; None for
        the dense network, and where a row says of no sparsity that it ends there.
        """
        if self.stated_target_pct is not None:
            return self.stated_target_pct
        return overall_sparsity_pct(self.spec)


@dataclass(frozen=True)
class TierPlan:
    """The recipe of one tier. ``base``: what holds where no method or row says otherwise, as the spec of a dense
    network. ``sections``: method -> what all of its rows share. ``rows`` are in table order.
    """

    name: str
    base: Spec
    stand_ins: Mapping[str, str]
    sections: Mapping[str, Section]
    rows: Mapping[str, RowPlan]
    headline: tuple[str, ...]

    def spec(self, method: str, *sections: Section, shared: bool = True) -> Spec:
        """The spec of ``method`` by the tier's recipe, what ``sections`` say over it; ``shared``: with what all rows of
        the method share.
        """
        of_method = self.sections.get(method, {}) if shared else {}
        sparing = merged({name: getattr(self.base, name) for name in ARGUMENTS}, of_method, *sections)
        return replace(self.base, method=method, **{key: sparing[key] for key in sparing if key in hyperparameters()})


def hyperparameters() -> list[str]:
    """What a recipe may set."""
    return [item.name for item in fields(Spec) if item.name not in NO_RECIPE]


def merged(*sections: Section) -> dict[str, Any]:
    """Sections over each other, the particular ones last; arguments, and methods of a tier, key by key."""
    result: dict[str, Any] = {}
    for section in sections:
        for key, value in section.items():
            if key in ARGUMENTS and key in result:
                value = {**result[key], **value}
            elif key == "methods" and key in result:
                value = {**result[key], **{name: merged(result[key].get(name, {}), own) for name, own in value.items()}}
            result[key] = value
    return result


def inherited(tier: Section, base: Section) -> dict[str, Any]:
    """A tier over the one whose protocol it takes; which rows are trained is its own."""
    own = ("rows", "recipes_of_same", "headline")
    return merged({key: value for key, value in base.items() if key not in own}, tier)


@dataclass(frozen=True)
class Place:
    """A section of a TOML file, and how to say where it is."""

    path: Path
    where: str
    section: Section = field(default_factory=dict)

    def split(self, model: type[Keys]) -> tuple[Keys, Place]:
        """The keys of ``model``, and the others, which are to be hyperparameters or of the goal."""
        recipe = {*hyperparameters(), *Goal.model_fields}
        require_known("key", self.section, [*model.model_fields, *recipe], self)
        own = {key: value for key, value in self.section.items() if key in model.model_fields}
        rest = {key: value for key, value in self.section.items() if key in recipe}
        return validate(self.path, self.where, own, model), replace(self, section=rest)

    def error(self, problem: str) -> UserError:
        return UserError(f"{self}: {problem}")

    def __str__(self) -> str:
        return f"{self.path}, {self.where}"


def recipe(model: str, method: str, *places: Place) -> tuple[Spec, Goal]:
    """Everything that ``places`` say, the particular ones last. UserError where it makes no spec: it names the place
    that says so.
    """
    values = merged(*(place.section for place in places))
    goal = {key: values.pop(key) for key in Goal.model_fields if key in values}
    try:
        spec = Spec.from_dict({"model": model, "method": method, **values})
    except SpecError as error:
        place = next((place for place in reversed(places) if error.key in place.section), places[0])
        raise UserError(f"{place}, key {error.key!r} = {error.value!r}: {error.problem}") from None
    except UserError as error:
        raise places[0].error(str(error)) from None
    return spec, validate(places[0].path, places[0].where, goal, Goal)


def tier_plan(
    tier: Place,
    name: str,
    rows: Sequence[Row],
    model: str,
    methods: Callable[[], set[str]],
    budgets: Callable[[], Budgets],
    other_tier: Callable[[str], TierPlan | None],
) -> TierPlan:
    """The recipe of tier ``name``, validated. ``methods``: those that any table has rows of; ``other_tier``: the same
    tier of another table, where it has one.
    """
    keys, protocol = tier.split(TierKeys)
    shared = _of_methods(tier, keys, methods)
    base, _ = recipe(model, "dense", protocol)
    known = {row.id: row for row in rows}
    plans = _recipes_of_same(tier, base, rows, other_tier) if keys.recipes_of_same else {}
    where = f"{tier.where} rows"
    entries = [Place(tier.path, f"{where}, entry {at}", entry).split(RowKeys) for at, entry in enumerate(keys.rows, 1)]
    unique(tier.path, where, (entry.row for entry, _ in entries))
    for entry, own in entries:
        require_known("row", entry.row, known, f"{tier.path}, {where}")
        row = known[entry.row]
        own = replace(own, where=f"{where}, {row.id!r}")
        if entry.budget is not None:
            own = _with_budget(own, entry.budget, budgets())
        of_method = shared.get(row.method, Place(tier.path, tier.where))
        printed = _printed(tier, row) if keys.printed_hyperparameters else Place(tier.path, tier.where)
        plans[row.id] = _row_plan(row, protocol, of_method, printed, own)
    require_known("trained row", keys.headline, plans, f"{tier} headline")
    return TierPlan(
        name=name,
        base=base,
        stand_ins=MappingProxyType(keys.stand_ins),
        sections=MappingProxyType({method: place.section for method, place in shared.items()}),
        rows=MappingProxyType({id: plans[id] for id in known if id in plans}),
        headline=tuple(keys.headline),
    )


def _of_methods(tier: Place, keys: TierKeys, methods: Callable[[], set[str]]) -> dict[str, Place]:
    """What all rows of a method share."""
    known = methods() if keys.methods else set()
    where = f"{tier.where.removesuffix(']')}.methods]"
    require_known("method", keys.methods, known, f"{tier.path}, {where}")
    places = {method: Place(tier.path, f"{where} {method}", section) for method, section in keys.methods.items()}
    return {method: place.split(File)[1] for method, place in places.items()}


def _printed(tier: Place, row: Row) -> Place:
    """The hyperparameters that the paper prints of a row."""
    section: dict[str, Any] = {} if row.weight_decay is None else {"weight_decay": row.weight_decay}
    if row.s_init is not None:
        section["method_args"] = {"s_init": row.s_init}
    return Place(tier.path, f"{tier.where}, hyperparameters printed of {row.id!r}", section)


def _with_budget(own: Place, name: str, budgets: Budgets) -> Place:
    require_known("budget", name, budgets, own)
    return replace(own, section=merged(own.section, {"method_args": {"budget": dict(budgets[name])}}))


def _recipes_of_same(
    tier: Place, base: Spec, rows: Sequence[Row], other_tier: Callable[[str], TierPlan | None]
) -> dict[str, RowPlan]:
    """The recipes of the rows that are the same as a row of another table which has one at this tier."""
    plans = {}
    for row in rows:
        if row.same_as is None:
            continue
        table, id = row.same_as
        other = other_tier(table)
        if other is None:
            continue
        for key in base.differences(other.base):
            raise tier.error(f"row {row.id!r} is to be trained as in table {table}, whose {key} differs")
        if id in other.rows:
            plans[row.id] = replace(other.rows[id], row=row.id)
    return plans


def _row_plan(row: Row, tier: Place, method: Place, printed: Place, own: Place) -> RowPlan:
    """The row's own values over those of its method over those of the tier. STR alone may be held to no sparsity: in a
    row without a regime or a printed one.
    """
    if "budget" in own.section.get("method_args", {}):  # it says how sparse each layer is, whatever its method does
        of_method, spreads = method.section.get("method_args", {}), ("distribution", "keep_dense")
        kept = {name: value for name, value in of_method.items() if name not in spreads}
        method = replace(method, section={**method.section, "method_args": kept})
    spec, goal = recipe(row.model, row.method, tier, method, printed, own)
    arguments = spec.method_args
    decays = any("weight_decay" in place.section for place in (method, printed, own))
    if row.is_str and "target_sparsity_pct" not in arguments and not ("s_init" in arguments and decays):
        raise own.error(f"STR row {row.id!r} needs weight_decay and method_args.s_init")
    target = goal.target_sparsity_pct
    # low rank leaves no zeros behind
    if target is None and not row.ranks and not row.is_dense and not asks(arguments):
        target = row.reported.sparsity_pct
        ends_where_it_ends = row.learns_ranks or (row.is_str and row.regime_pct is None)
        if target is None and not ends_where_it_ends:
            raise own.error(
                f"nothing says how sparse {row.id!r} is to be; give target_sparsity_pct, a budget, or "
                "method_args.sparsity_pct"
            )
    return RowPlan(row.id, spec, goal.tolerance_pct, target)
