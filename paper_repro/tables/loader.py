"""What the papers say, as validated data: the one place where their numbers are read.

Per trainable table NAME: ``NAME.toml`` (how rows are trained, the claims) and ``NAME_*.csv`` (the printed numbers, as
text). A number is typed once: the column of Table 7 that repeats Table 6 is not there, nor the columns of Tables 10
and 11 that repeat Tables 1 and 2, and a row of ``family`` that another table holds only names it. What a file of
``NAME`` holds:

==========================  ======================================================================================
``_rows.csv``               the rows and their numbers; the columns after ``macs`` say how a row's sparsity is spread
                            over the layers, and ``same_as`` names the row of another table that is printed again
``_hyperparameters.csv``    Table 10, 11 or 12
``_layers.csv``             weights and FLOPs of the dense layers, as Tables 6 and 8 print them
``_budgets.csv``            Table 6 or 8: sparsity of every layer, overall, and of the backbone (all but the classifier)
``_budgets_90.csv``         Table 7 without its STR column. ERK is given there in whole per cent and SNFS in tenths,
                            padded with zeros; here they stand with the digits that they carry
``_networks.csv``           how large the network of a table is on each data set, where it is not always the same
``_sizes.csv``              sizes that another paper prints of such networks
``_curves.csv``             Figures 1 to 3, read off the vector paths of the PDF
``_quoted.csv``             what another source prints of a row's numbers
``_text_claims.csv``        numbers in the running text that follow from the tables
==========================  ======================================================================================

Layers and budgets of a table may be those of another one (``budgets_of`` in its TOML file).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from pydantic import Field

from paper_repro.errors import UserError, unknown
from paper_repro.spec import Spec
from paper_repro.tables import files, recipes
from paper_repro.tables.printed import (
    Claim,
    CurvePoint,
    File,
    HyperparameterRow,
    LayerRow,
    Name,
    NetworkRow,
    PrintedRow,
    QuotedRow,
    Reported,
    Row,
    SizeRow,
    TextClaim,
)
from paper_repro.tables.quantity import Quantity, parse
from paper_repro.tables.recipes import PROTOCOL, TierPlan

DATA = Path(__file__).parent
AUDIT = "audit"  # the tier that trains nothing, and so has no recipe
CHECKPOINT = "checkpoint"  # the tier that trains nothing either: its networks are the authors' own
TIERS = (AUDIT, "smoke", "small", CHECKPOINT, "paper")
FULL_SCALE = (CHECKPOINT, "paper")  # the paper's own network and data: what may be compared with its numbers
TOTALS = ("overall", "backbone")  # rows of a budget file that are no layers
AVERAGE_POOL = "average_pool"


class _ClaimKeys(File):
    id: Name
    text: Name
    source: Name
    quote: str = ""
    tiers: tuple[Name, ...] = Field(min_length=1)
    needs: str = ""
    whose: Literal["paper", "project"] = "paper"


class _TableKeys(File):
    title: Name
    paper_table: Name
    model: Name
    dataset: Name
    budgets_of: str = ""
    audited: list[Name]
    figures: list[Name]
    figure_layer: str | None = None
    figure_row: str | None = None
    claims: list[dict[str, Any]] = Field(default_factory=list)
    tiers: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Table:
    """One table of the paper that can be trained."""

    name: str
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
    def has_budgets(self) -> bool:
        """Whether the table is of sparse networks: low-rank ones have no budget."""
        return any(row.reported.sparsity_pct is not None for row in self.rows)

    def row(self, id: str) -> Row:
        """The row called ``id``; an unknown one is an error that names the nearest."""
        for row in self.rows:
            if row.id == id:
                return row
        raise unknown(f"row of table {self.name}", id, (row.id for row in self.rows))

    def tier(self, name: str) -> TierPlan:
        """The recipe of tier ``name``; UserError when the table has none."""
        if name not in TIERS:
            raise unknown("tier", name, TIERS)
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
        plan, seeds = self.tier(tier), tuple(seeds)
        own = ("dataset", "optimizer", "lr")  # of each row
        protocol = {key: getattr(plan, key) for key in PROTOCOL if key not in own}
        return [
            (
                self.row(id),
                Spec(
                    model=row.network[0],
                    model_args=row.network[1],
                    dataset=stand_ins.get(row.network[2], row.network[2]),
                    method=self.row(id).method,
                    method_args=row.method_args,
                    optimizer=row.optimizer,
                    lr=row.lr,
                    weight_decay=row.weight_decay,
                    nesterov=row.nesterov,
                    grad_clip_norm=row.grad_clip_norm,
                    seed=seed,
                    **protocol,
                ),
            )
            for id, row in plan.rows.items()
            for seed in seeds
        ]


def holders(table: Table, tier: str) -> dict[str, tuple[str, str]]:
    """Row -> (table, row) in whose results its runs stand, for the rows that a tier trains: a row that is trained as
    one of a table that this one builds on has its runs there, and nowhere else.
    """
    found: dict[str, tuple[str, str]] = {}
    runs: dict[str, list[str]] = {}  # several rows may show networks of one run
    for row, spec in table.specs(tier, [0]):
        found[row.id] = (table.name, row.id)
        runs.setdefault(spec.name, []).append(row.id)
    for other in (load(name) for name in reversed(sources(table.name)) if name != table.name):
        if tier in other.tiers:
            theirs = holders(other, tier)
            for row, spec in other.specs(tier, [0]):
                for id in runs.get(spec.name, []):
                    found[id] = theirs[row.id]
    return found


def names() -> list[str]:
    """The tables that can be trained."""
    return sorted(path.stem for path in DATA.glob("*.toml"))


def _path(table: str, file: str) -> Path:
    if table not in names():
        raise unknown("table", table, names())
    return DATA / f"{table}{file}"


def load(name: str) -> Table:
    """The table called ``name``, validated; an unknown name is an error that names the nearest."""
    return _load(_path(name, ".toml"))


@lru_cache
def _load(path: Path) -> Table:
    name, keys = path.stem, _keys(path)
    hyperparameters = _hyperparameters(name)
    printed = printed_rows(name)
    for id in hyperparameters:
        if id not in [row.row for row in printed]:
            raise UserError(
                f"{_path(name, '_hyperparameters.csv')}: {unknown('row', id, (row.row for row in printed))}"
            )
    rows = tuple(_row(row, keys, hyperparameters.get(row.row)) for row in printed)
    claims = tuple(
        Claim(**files.validate(path, f"claim {at}", values, _ClaimKeys).model_dump())
        for at, values in enumerate(keys.claims, 1)
    )
    files.unique(path, "claims", (claim.id for claim in claims))
    for tier in (*keys.tiers, *(tier for claim in claims for tier in claim.tiers)):
        if tier not in TIERS:
            raise UserError(f"{path}: {unknown('tier', tier, TIERS)}")
    # those that take over another tier come last, so that what is wrong there is said of it
    own_first = sorted(
        (tier for tier in TIERS if tier in keys.tiers), key=lambda tier: "trained_as" in keys.tiers[tier]
    )
    plans = {
        tier: recipes.tier_plan(
            path,
            tier,
            _inherited(path, tier, keys.tiers[tier]),
            rows,
            keys.model,
            methods=_methods,
            budgets=lambda: budgets(name),
            other_tier=partial(_tier_of, tier),
        )
        for tier in own_first
    }
    tiers = {tier: plans[tier] for tier in TIERS if tier in plans}
    return Table(
        name,
        keys.title,
        keys.paper_table,
        keys.model,
        keys.dataset,
        keys.budgets_of or name,
        tuple(keys.audited),
        tuple(keys.figures),
        keys.figure_layer,
        keys.figure_row,
        rows,
        MappingProxyType(tiers),
        claims,
    )


def _tier_of(tier: str, table: str) -> TierPlan:
    return load(table).tier(tier)


@lru_cache
def _keys(path: Path) -> _TableKeys:
    return files.validate(path, "top level", files.read_toml(path), _TableKeys)


def _inherited(path: Path, tier: str, values: Mapping[str, Any]) -> Mapping[str, Any]:
    """A tier's keys, with those of the table named in ``protocol_of``, or of the tier named in ``trained_as``, beneath
    them.
    """
    if "trained_as" in values:
        tiers = _keys(path).tiers
        if values["trained_as"] not in tiers:
            raise UserError(f"{path}, [tiers.{tier}], trained_as: {unknown('tier', str(values['trained_as']), tiers)}")
        return recipes.merged(values, tiers[values["trained_as"]])
    other = values.get("protocol_of")
    if other is None:
        return values
    theirs = _keys(_path(str(other), ".toml")).tiers.get(tier)
    if theirs is None or "protocol_of" in theirs:
        raise UserError(f"{path}, [tiers.{tier}]: protocol_of names {other!r}, which has no protocol of its own there")
    return recipes.merged(values, theirs)


def _row(row: PrintedRow, keys: _TableKeys, hyperparameters: HyperparameterRow | None) -> Row:
    same_as = _parts(row.same_as) if row.same_as else None
    if hyperparameters is None and same_as is not None:
        hyperparameters = _hyperparameters(same_as[0]).get(same_as[1])
    return Row(
        id=row.row,
        method=row.method,
        label=row.label,
        series=row.series or row.method,
        regime_pct=row.regime_pct,
        reported=Reported.of(row.printed()),
        weight_decay=hyperparameters.weight_decay if hyperparameters else None,
        s_init=hyperparameters.s_init if hyperparameters else None,
        note=row.note,
        source=row.source,
        paper_table=row.paper_table or keys.paper_table,
        same_as=same_as,
        model=row.model or keys.model,
        dataset=row.dataset or keys.dataset,
        ranks=row.ranks,
    )


def _rows(table: str, file: str, model: type[files.M], *key: str) -> list[files.M]:
    return files.read_rows(_path(table, file), model, *(key or ("row",)))


def printed_rows(table: str) -> list[PrintedRow]:
    """The rows of a table as printed, those that only name a row of another table filled from there."""
    path = _path(table, "_rows.csv")
    return files.read_rows(path, PrintedRow, "row", complete=lambda line, cells: _filled(path, line, cells))


def _filled(path: Path, line: int, cells: dict[str, str]) -> dict[str, str]:
    """The cells of a row, empty ones from the row of another table that it is the same as."""
    if not cells.get("same_as"):
        return cells
    try:
        table, id = _parts(cells["same_as"])
        theirs = _cells_of(table)
        if id not in theirs:
            raise unknown(f"row of table {table}", id, theirs)
    except UserError as error:
        raise files.at(path, line, "same_as", str(error)) from None
    if theirs[id].get("same_as"):
        raise files.at(path, line, "same_as", f"{cells['same_as']} is itself the same as {theirs[id]['same_as']}")
    paper_table = theirs[id].get("paper_table") or _keys(_path(table, ".toml")).paper_table
    return {**theirs[id], "paper_table": paper_table, **{name: text for name, text in cells.items() if text}}


def _methods() -> set[str]:
    """Every method that any table has a row of."""
    return {cells["method"] for table in names() for cells in _cells_of(table).values() if cells["method"]}


def _parts(same_as: str) -> tuple[str, str]:
    table, _, id = same_as.partition(":")
    return table, id


def _cells_of(table: str) -> dict[str, dict[str, str]]:
    _, rows = files.read_cells(_path(table, "_rows.csv"), "row")
    return {cells["row"]: cells for _, cells in rows}


def _hyperparameters(table: str) -> dict[str, HyperparameterRow]:
    return {row.row: row for row in _optional(table, "_hyperparameters.csv", HyperparameterRow, "row")}


def quoted_rows(table: str) -> list[QuotedRow]:
    """What other sources print about rows of this table."""
    return _optional(table, "_quoted.csv", QuotedRow, "row", "quantity")


def text_claims(table: str) -> list[TextClaim]:
    """Numbers of the running text that follow from this table."""
    return _optional(table, "_text_claims.csv", TextClaim, "claim")


def hidden_units(table: str) -> dict[str, int]:
    """Data set -> hidden units of the table's network there; empty for a table whose network is always the same."""
    return {row.dataset: row.hidden for row in _optional(table, "_networks.csv", NetworkRow, "dataset")}


def printed_sizes(table: str) -> list[SizeRow]:
    """Sizes that another paper prints of the table's network."""
    return _optional(table, "_sizes.csv", SizeRow, "network")


def _optional(table: str, file: str, model: type[files.M], *key: str) -> list[files.M]:
    return _rows(table, file, model, *key) if _path(table, file).exists() else []


def budgets_of(table: str) -> str:
    """The table that the layers and the published budgets of ``table`` stand in."""
    return _keys(_path(table, ".toml")).budgets_of or table


def sources(table: str) -> list[str]:
    """The tables whose files ``table`` is read from, its own first."""
    keys = _keys(_path(table, ".toml"))
    others = [budgets_of(table), *(str(tier.get("protocol_of") or table) for tier in keys.tiers.values())]
    others += [row.same_as[0] for row in load(table).rows if row.same_as is not None]
    return list(dict.fromkeys([table, *others]))


def layer_rows(table: str) -> dict[str, LayerRow]:
    """The dense counts of Table 6 or 8, by layer; with ``overall``, ``backbone`` and ``average_pool``. A table without
    layers has none.
    """
    return {row.layer: row for row in _optional(budgets_of(table), "_layers.csv", LayerRow, "layer")}


def budget_cells(table: str) -> dict[str, dict[str, Quantity]]:
    """Every published budget as printed: its name -> layer, ``overall`` or ``backbone`` -> sparsity in percent."""
    budgets: dict[str, dict[str, Quantity]] = {}
    layers = [layer for layer in layer_rows(table) if layer != AVERAGE_POOL]
    for file in ("_budgets.csv", "_budgets_90.csv"):
        path = _path(budgets_of(table), file)
        if not path.exists():
            continue
        _, rows = files.read_cells(path, "layer")
        given = [cells["layer"] for _, cells in rows]
        for layer in layers:
            if layer not in given:
                raise UserError(f"{path}: layer {layer!r} is missing")
        for line, cells in rows:
            layer = cells.pop("layer")
            if layer not in layers:
                raise files.at(path, line, "layer", str(unknown("layer", layer, layers)))
            for name, text in cells.items():
                try:
                    cell = parse(text)
                except ValueError as error:
                    raise files.at(path, line, name, str(error)) from None
                if not 0.0 <= cell.value <= 100.0:
                    raise files.at(path, line, name, f"a sparsity lies between 0 and 100 %, not at {text}")
                budgets.setdefault(name, {})[layer] = cell
    return budgets


def budgets(table: str) -> Mapping[str, dict[str, float]]:
    """The published budgets: name such as "str-90.23" or "erk-90" -> layer name, in order -> sparsity in percent."""
    order = [layer for layer in layer_rows(table) if layer not in (*TOTALS, AVERAGE_POOL)]
    return {name: {layer: cells[layer].value for layer in order} for name, cells in budget_cells(table).items()}


def curve(table: str, name: str) -> list[tuple[float, float]]:
    """A digitised curve of the 90.23 % ResNet50, as (x, y) points.

    "fig1_threshold": epoch, threshold of layer 10 (accurate to 2e-5); "fig2_sparsity": epoch, overall sparsity in
    percent (to 0.1); "fig3_threshold": number of the layer from 1, its final threshold (to 5e-5).
    """
    points = _optional(table, "_curves.csv", CurvePoint, "curve", "x")
    known = {point.curve for point in points}
    if name not in known:
        raise unknown(f"curve of table {table}", name, known)
    return [(point.x, point.y) for point in points if point.curve == name]


def verify() -> None:
    """Raise UserError when the paper's numbers were changed by hand (their checksums differ from those on file)."""
    files.verify(DATA)
