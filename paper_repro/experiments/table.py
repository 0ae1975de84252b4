"""A table that can be trained: what a paper prints of it, or what this project asks, and how its rows are trained.

``NAME.toml`` says how rows are trained, which figures are drawn and what is claimed. Where no paper prints table NAME,
it says what it is of as well, and ``NAME_rows.csv`` beside it has the rows: those are experiments of this project.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import Field

from paper_repro import reading
from paper_repro.errors import UserError, require_known
from paper_repro.experiments.claims import Claim
from paper_repro.experiments.recipe import Place, TierPlan, inherited, tier_plan
from paper_repro.experiments.tiers import AUDIT, TIERS
from paper_repro.paper import library
from paper_repro.paper.printed import File, LayerRow, Name, PrintedTable, Row, TableFacts
from paper_repro.spec import Spec

FOLDER = Path(__file__).parent
PRINTED = "family_rows.csv"  # of the project's own tables, the one that has printed numbers: of the RigL paper
OF_FACTS = ("title", "paper_table", "model", "dataset", "audited", "figure_layer", "figure_row")


class _Plan(File):
    """The keys of ``NAME.toml``."""

    figures: tuple[Name, ...]
    claims: list[dict[str, Any]] = Field(default_factory=list)
    tiers: dict[str, dict[str, Any]]


class _Experiment(TableFacts, _Plan):
    """The keys of a TOML file whose table no paper prints. ``experiment``: what it is called."""

    experiment: Name

    @property
    def paper_table(self) -> str:
        """What stands in the place of a table of the paper."""
        return self.experiment


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table of a paper, or one experiment of this project (``is_experiment``), that can be trained."""

    name: str
    is_experiment: bool
    title: str
    paper_table: str
    model: str
    dataset: str
    budgets_of: str  # the table whose layers and published budgets are this one's too; its own name by default
    audited: tuple[str, ...]  # the tables of the paper, numbers of its text and other sources that it stands for
    figures: tuple[str, ...]  # of its notebook
    figure_layer: str | None  # the layer of the paper's Figure 1
    figure_row: str | None
    rows: tuple[Row, ...]
    tiers: Mapping[str, TierPlan]
    claims: tuple[Claim, ...]

    @property
    def heading(self) -> str:
        """What it is, in a line: "Table 1: ResNet50 on ImageNet-1K"."""
        return f"{'Experiment of this project, ' if self.is_experiment else ''}{self.paper_table}: {self.title}"

    @property
    def of_paper(self) -> bool:
        """Whether it is a table of STR's paper."""
        return self.paper_table.startswith("Table")

    @property
    def has_budgets(self) -> bool:
        """Whether the table is of sparse networks: low-rank ones have no budget."""
        return any(row.reported.sparsity_pct is not None for row in self.rows)

    def row(self, id: str) -> Row:
        """The row called ``id``; an unknown one is an error that names the nearest."""
        rows = {row.id: row for row in self.rows}
        require_known(f"row of table {self.name}", id, rows)
        return rows[id]

    def tier(self, name: str) -> TierPlan:
        """The recipe of tier ``name``; UserError when the table has none."""
        require_known("tier", name, TIERS)
        if name not in self.tiers:
            raise UserError(
                f"table {self.name} has no recipe for tier {name!r}; it has: {', '.join([AUDIT, *self.tiers])}"
            )
        return self.tiers[name]

    def specs(
        self, tier: str, seeds: Iterable[int], stand_ins: Mapping[str, str] = MappingProxyType({})
    ) -> list[tuple[Row, Spec]]:
        """The runs of a tier: row by row in table order, seed by seed. ``stand_ins``: data set -> the one to take in
        its place.
        """
        seeds = tuple(seeds)
        return [
            (self.row(id), replace(plan.spec, seed=seed, dataset=stand_ins.get(plan.spec.dataset, plan.spec.dataset)))
            for id, plan in self.tier(tier).rows.items()
            for seed in seeds
        ]


def names() -> list[str]:
    """The tables that can be trained."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load(name: str) -> Table:
    """The table called ``name``, validated; an unknown name is an error that names the nearest."""
    return _load(_path(name))


def ending(method: str, tier: str, like: Spec) -> dict[float, Spec]:
    """Regime, in percent -> a run of a method that ends there, by the rows of any table that train it at this tier, on
    the network and data of ``like``.
    """
    plans = [table for name in names() if tier in (table := load(name)).tiers]
    runs = [(row.regime_pct, spec) for table in plans for row, spec in table.specs(tier, [0]) if row.method == method]
    return {at: spec for at, spec in runs if at and (spec.model, spec.dataset) == (like.model, like.dataset)}


def sources(table: str) -> list[str]:
    """The tables whose files ``table`` is read from, its own first."""
    loaded = load(table)
    of_tiers = (tier.get("protocol_of", table) for tier in _plan(_path(table)).tiers.values())
    of_rows = (row.same_as[0] for row in loaded.rows if row.same_as is not None)
    return list(dict.fromkeys([table, loaded.budgets_of, *of_tiers, *of_rows]))


def holders(table: Table, tier: str) -> dict[str, tuple[str, str]]:
    """Row -> (table, row) whose results file holds its runs, for the rows that a tier trains: a row that is trained as
    one of a table that this one builds on has its runs there, and nowhere else.
    """
    holder: dict[str, tuple[str, str]] = {}
    runs: dict[str, list[str]] = {}  # several rows may show networks of one run
    for row, spec in table.specs(tier, [0]):
        holder[row.id] = (table.name, row.id)
        runs.setdefault(spec.name, []).append(row.id)
    for other in (load(name) for name in reversed(sources(table.name)) if name != table.name):
        if tier in other.tiers:
            of_other = holders(other, tier)
            for row, spec in other.specs(tier, [0]):
                for id in runs.get(spec.name, []):
                    holder[id] = of_other[row.id]
    return holder


def budgets(table: str) -> Mapping[str, dict[str, float]]:
    """The published budgets: name such as "str-90.23" or "erk-90" -> layer name, in order -> sparsity in percent."""
    return library.budgets(load(table).budgets_of)


def layer_rows(table: str) -> dict[str, LayerRow]:
    """The printed counts of the dense network's layers (``library.layer_rows``)."""
    return library.layer_rows(load(table).budgets_of)


def verify() -> None:
    """Raise UserError when printed numbers were changed by hand (their checksums differ from those on file)."""
    reading.verify(library.FOLDER)
    reading.verify(FOLDER, PRINTED)


def _path(table: str) -> Path:
    require_known("table", table, names())
    return FOLDER / f"{table}.toml"


@lru_cache
def _load(path: Path) -> Table:
    name, plan, facts = path.stem, _plan(path), _facts(path)
    rows = tuple(_rows(path))
    return Table(
        name=name,
        is_experiment=name not in library.tables(),
        **{key: getattr(facts, key) for key in OF_FACTS},
        budgets_of=facts.budgets_of or name,
        figures=plan.figures,
        rows=rows,
        tiers=MappingProxyType(_tiers(path, facts, rows)),
        claims=_claims(path),
    )


@lru_cache
def _plan(path: Path) -> _Plan:
    model = _Plan if path.stem in library.tables() else _Experiment
    plan = reading.validate(path, "top level", reading.read_toml(path), model)
    require_known("tier", plan.tiers, TIERS, path)
    return plan


def _facts(path: Path) -> PrintedTable | _Experiment:
    """What the table is of."""
    plan = _plan(path)
    facts = plan if isinstance(plan, _Experiment) else library.tables()[path.stem]
    require_known("table", facts.budgets_of or [], library.tables(), f"table {path.stem}, budgets_of")
    return facts


def _claims(path: Path) -> tuple[Claim, ...]:
    claims = tuple(
        reading.validate(path, f"claim {at}", values, Claim) for at, values in enumerate(_plan(path).claims, 1)
    )
    reading.unique(path, "claims", (claim.id for claim in claims))
    require_known("tier", (tier for claim in claims for tier in claim.tiers), TIERS, path)
    return claims


def _rows(path: Path) -> list[Row]:
    """The rows of a paper's table, or of one of this project's own."""
    if path.stem in library.tables():
        return library.rows(path.stem)
    facts = _facts(path)
    return library.read_rows(path.with_name(f"{path.stem}_rows.csv"), facts, facts.paper_table)


def _tiers(path: Path, facts: TableFacts, rows: tuple[Row, ...]) -> dict[str, TierPlan]:
    sections = _plan(path).tiers
    # those that take over another tier come last, so that what is wrong there is said of it
    own_first = sorted(sections, key=lambda tier: "trained_as" in sections[tier])
    plans = {
        tier: tier_plan(
            Place(path, f"[tiers.{tier}]", _inherited(path, tier)),
            tier,
            rows,
            facts.model,
            methods=_methods,
            budgets=lambda: library.budgets(facts.budgets_of or path.stem),
            other_tier=lambda table, tier=tier: load(table).tiers.get(tier),  # type: ignore[misc]
        )
        for tier in own_first
    }
    return {tier: plans[tier] for tier in TIERS if tier in plans}


def _inherited(path: Path, tier: str) -> Mapping[str, Any]:
    """A tier's keys, with those of the table named in ``protocol_of``, or of the tier named in ``trained_as``, beneath
    them.
    """
    sections = _plan(path).tiers
    own, where = sections[tier], f"{path}, [tiers.{tier}]"
    if "trained_as" in own:
        require_known("tier", str(own["trained_as"]), sections, f"{where}, trained_as")
        return inherited(own, sections[own["trained_as"]])
    if "protocol_of" not in own:
        return own
    protocol = _plan(_path(str(own["protocol_of"]))).tiers.get(tier)
    if protocol is None or "protocol_of" in protocol:
        raise UserError(f"{where}: protocol_of names {own['protocol_of']!r}, which has no protocol of its own there")
    return inherited(own, protocol)


def _methods() -> set[str]:
    """Every method that any table has a row of."""
    return {row.method for name in names() for row in _rows(FOLDER / f"{name}.toml")}
