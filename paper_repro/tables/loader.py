"""What the paper says, as validated data: the one place where its numbers are read.

Per trainable table NAME: ``NAME.toml`` (how rows are trained, the claims) and ``NAME_*.csv`` (the printed numbers, as
text). A number is typed once: the column of Table 7 that repeats Table 6 is not there, nor the columns of Tables 10
and 11 that repeat Tables 1 and 2. What a file of ``NAME`` holds:

==========================  ======================================================================================
``_rows.csv``               Table 1 or 2; the columns after ``macs`` say how a row's sparsity is spread over the layers
``_hyperparameters.csv``    Table 10 or 11
``_layers.csv``             weights and FLOPs of the dense layers, as Tables 6 and 8 print them
``_budgets.csv``            Table 6 or 8: sparsity of every layer, overall, and of the backbone (all but the classifier)
``_budgets_90.csv``         Table 7 without its STR column. ERK is given there in whole per cent and SNFS in tenths,
                            padded with zeros; here they stand with the digits that they carry
``_budget_transfer.csv``    Tables 4 and 5; ``same_as`` names the row of Table 1 that is printed again
``_global_threshold.csv``   Table 9
``_curves.csv``             Figures 1 to 3, read off the vector paths of the PDF
``_quoted.csv``             what another paper prints, where it shows a number of this one to be misquoted
``_text_claims.csv``        numbers in the running text that follow from the tables
==========================  ======================================================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from paper_repro.errors import UserError, unknown
from paper_repro.spec import Spec
from paper_repro.tables import files
from paper_repro.tables.quantity import Quantity, parse

DATA = Path(__file__).parent
AUDIT = "audit"  # the tier that trains nothing, and so has no recipe
TIERS = (AUDIT, "smoke", "small", "checkpoint", "paper")
TOTALS = ("overall", "backbone")  # rows of a budget file that are no layers
AVERAGE_POOL = "average_pool"

# --- the files' columns and keys -------------------------------------------------------------------------------------


def _printed(text: str) -> str:
    parse(text)
    return text


def _empty_is_none(text: Any) -> Any:
    return None if text == "" else text


Printed = Annotated[str, AfterValidator(_printed)]
PrintedOrEmpty = Annotated[Printed | None, BeforeValidator(_empty_is_none)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(allow_inf_nan=False, gt=0)]
Percent = Annotated[float, Field(allow_inf_nan=False, ge=0, le=100)]
Name = Annotated[str, Field(min_length=1)]
Distribution = Literal["dense", "uniform", "erk", "budget", "nominal", "unknown"]


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _HasNumbers(_File):
    """The four numbers of a row; the sparsity is always printed."""

    top1_pct: Printed
    params_m: Printed
    sparsity_pct: Printed
    macs: PrintedOrEmpty

    def printed(self) -> dict[str, Quantity]:
        """Quantities by unit-bearing name, the printed ones only."""
        texts = {
            "top1_pct": self.top1_pct,
            "params_m": self.params_m,
            "sparsity_pct": self.sparsity_pct,
            "macs_m": self.macs,
        }
        return {name: parse(text) for name, text in texts.items() if text is not None}


class PrintedRow(_HasNumbers):
    """A line of Table 1 or 2.

    ``distribution``: "budget" (the published budget named in ``budget``), "uniform" (but for the kinds of layers in
    ``keep_dense``; the pruned layers have ``pruned_layers_pct``, by default the printed sparsity), "erk", "dense",
    "nominal" (the printed sparsity is the target, the FLOPs are those of ``budget``) or "unknown".
    """

    row: Name
    method: Name
    label: Name
    regime_pct: Percent
    distribution: Distribution
    budget: str
    keep_dense: str
    pruned_layers_pct: PrintedOrEmpty
    counts_batch_norm: Literal["yes", "no"]
    note: str
    source: Name


class TransferRow(_HasNumbers):
    """A line of Table 4 or 5."""

    paper_table: Literal["Table 4", "Table 5"]
    row: Name
    method: Name
    label: Name
    distribution: Distribution
    budget: str
    same_as: str
    note: str
    source: Name


class GlobalThresholdRow(_HasNumbers):
    """A line of Table 9."""

    row: Name
    label: Name
    budget: str
    note: str
    source: Name


class HyperparameterRow(_File):
    """A line of Table 10 or 11."""

    row: Name
    weight_decay: Positive
    s_init: Number
    source: Name


class LayerRow(_File):
    """Weights and FLOPs of one dense layer, or of ``overall``, ``backbone``, ``average_pool``, as printed."""

    layer: Name
    params: Annotated[int, Field(ge=0)]
    macs: Annotated[int, Field(ge=0)]


class QuotedRow(_File):
    """A number that another paper prints."""

    row: Name
    quantity: Literal["macs_ratio", "top1_pct"]
    value: Printed
    source: Name


class TextClaim(_File):
    """A number of the running text."""

    claim: Name
    printed: Printed
    unit: Name
    text: Name
    source: Name


class CurvePoint(_File):
    """A point of a digitised figure."""

    curve: Name
    x: Number
    y: Number


class _ClaimKeys(_File):
    id: Name
    text: Name
    source: Name


class _RowKeys(_File):
    row: Name
    method_args: dict[str, Any] = {}
    weight_decay: Annotated[float, Field(allow_inf_nan=False, ge=0)] | None = None
    target_sparsity_pct: Percent | None = None
    tolerance_pct: Positive | None = None


class _TierKeys(_File):
    dataset: Name
    epochs: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=1)]
    lr: Positive
    momentum: Annotated[float, Field(ge=0, lt=1)]
    warmup_epochs: Annotated[int, Field(ge=0)]
    schedule: Literal["epoch", "step"]
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: Annotated[float, Field(allow_inf_nan=False, ge=0)]
    tolerance_pct: Positive
    model_args: dict[str, Any] = {}
    printed_hyperparameters: bool = False
    rows: list[dict[str, Any]]


class _TableKeys(_File):
    title: Name
    paper_table: Name
    model: Name
    dataset: Name
    figure_layer: str | None = None
    figure_row: str | None = None
    claims: list[dict[str, Any]] = []
    tiers: dict[str, dict[str, Any]]


# --- what the rest of the project sees -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reported:
    """The paper's numbers for one row, None where not printed: percent, and millions of parameters and MACs."""

    top1_pct: float | None
    params_m: float | None
    sparsity_pct: float | None
    macs_m: float | None
    printed: Mapping[str, Quantity] = field(repr=False)

    @classmethod
    def of(cls, printed: Mapping[str, Quantity]) -> Reported:
        """From the quantities by name."""
        names = ("top1_pct", "params_m", "sparsity_pct", "macs_m")
        values = {name: printed[name].value if name in printed else None for name in names}
        return cls(**values, printed=MappingProxyType(dict(printed)))


@dataclass(frozen=True)
class Row:
    """One line of a table. ``weight_decay`` and ``s_init`` are those of Tables 10 and 11, for STR rows."""

    id: str
    method: str
    label: str
    regime_pct: float | None
    reported: Reported
    weight_decay: float | None
    s_init: float | None
    note: str
    source: str


@dataclass(frozen=True)
class Claim:
    """A claim of the paper that results can support or contradict."""

    id: str
    text: str
    source: str


@dataclass(frozen=True)
class RowPlan:
    """How one row is trained at one tier, and the sparsity that it stands for (None for the dense network)."""

    row: str
    method_args: Mapping[str, Any]
    weight_decay: float
    target_sparsity_pct: float | None
    tolerance_pct: float


@dataclass(frozen=True)
class TierPlan:
    """The recipe of one tier; ``rows`` in table order."""

    name: str
    dataset: str
    model_args: Mapping[str, Any]
    epochs: int
    batch_size: int
    lr: float
    momentum: float
    warmup_epochs: int
    schedule: str
    label_smoothing: float
    rows: Mapping[str, RowPlan]


@dataclass(frozen=True)
class Table:
    """One table of the paper that can be trained."""

    name: str
    title: str
    paper_table: str
    model: str
    dataset: str
    figure_layer: str | None  # the layer of the paper's Figure 1
    figure_row: str | None
    rows: tuple[Row, ...]
    tiers: Mapping[str, TierPlan]
    claims: tuple[Claim, ...]

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

    def specs(self, tier: str, seeds: Iterable[int]) -> list[tuple[Row, Spec]]:
        """The runs of a tier: row by row in table order, seed by seed."""
        plan, seeds = self.tier(tier), tuple(seeds)
        return [
            (
                self.row(id),
                Spec(
                    model=self.model,
                    model_args=plan.model_args,
                    dataset=plan.dataset,
                    method=self.row(id).method,
                    method_args=row.method_args,
                    epochs=plan.epochs,
                    batch_size=plan.batch_size,
                    lr=plan.lr,
                    momentum=plan.momentum,
                    weight_decay=row.weight_decay,
                    warmup_epochs=plan.warmup_epochs,
                    schedule=plan.schedule,
                    label_smoothing=plan.label_smoothing,
                    seed=seed,
                ),
            )
            for id, row in plan.rows.items()
            for seed in seeds
        ]


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
    name = path.stem
    keys = files.validate(path, "top level", files.read_toml(path), _TableKeys)
    hyperparameters = {row.row: row for row in _rows(name, "_hyperparameters.csv", HyperparameterRow)}
    printed = printed_rows(name)
    for id in hyperparameters:
        if id not in [row.row for row in printed]:
            raise UserError(
                f"{_path(name, '_hyperparameters.csv')}: {unknown('row', id, (row.row for row in printed))}"
            )
    rows = tuple(_row(row, hyperparameters.get(row.row)) for row in printed)
    claims = tuple(
        Claim(claim.id, claim.text, claim.source)
        for claim in (
            files.validate(path, f"claim {at}", values, _ClaimKeys) for at, values in enumerate(keys.claims, 1)
        )
    )
    files.unique(path, "claims", (claim.id for claim in claims))
    for tier in keys.tiers:
        if tier not in TIERS:
            raise UserError(f"{path}: {unknown('tier', tier, TIERS)}")
    tiers = {tier: _tier(path, tier, keys.tiers[tier], rows) for tier in TIERS if tier in keys.tiers}
    return Table(
        name,
        keys.title,
        keys.paper_table,
        keys.model,
        keys.dataset,
        keys.figure_layer,
        keys.figure_row,
        rows,
        MappingProxyType(tiers),
        claims,
    )


def _row(row: PrintedRow, hyperparameters: HyperparameterRow | None) -> Row:
    return Row(
        id=row.row,
        method=row.method,
        label=row.label,
        regime_pct=row.regime_pct,
        reported=Reported.of(row.printed()),
        weight_decay=hyperparameters.weight_decay if hyperparameters else None,
        s_init=hyperparameters.s_init if hyperparameters else None,
        note=row.note,
        source=row.source,
    )


def _tier(path: Path, name: str, values: Mapping[str, Any], rows: tuple[Row, ...]) -> TierPlan:
    keys = files.validate(path, f"[tiers.{name}]", values, _TierKeys)
    where = f"[tiers.{name}] rows"
    given = [files.validate(path, f"{where}, entry {at}", row, _RowKeys) for at, row in enumerate(keys.rows, 1)]
    files.unique(path, where, (row.row for row in given))
    known = {row.id: row for row in rows}
    for row in given:
        if row.row not in known:
            raise UserError(f"{path}, {where}: {unknown('row', row.row, known)}")
    plans = {row.row: _row_plan(path, where, row, known[row.row], keys) for row in given}
    return TierPlan(
        name=name,
        dataset=keys.dataset,
        model_args=keys.model_args,
        epochs=keys.epochs,
        batch_size=keys.batch_size,
        lr=keys.lr,
        momentum=keys.momentum,
        warmup_epochs=keys.warmup_epochs,
        schedule=keys.schedule,
        label_smoothing=keys.label_smoothing,
        rows=MappingProxyType({id: plans[id] for id in known if id in plans}),
    )


def _row_plan(path: Path, where: str, given: _RowKeys, row: Row, tier: _TierKeys) -> RowPlan:
    method_args, weight_decay = dict(given.method_args), given.weight_decay
    if tier.printed_hyperparameters and row.s_init is not None:
        method_args.setdefault("s_init", row.s_init)
        weight_decay = row.weight_decay if weight_decay is None else weight_decay
    if row.method == "str" and ("s_init" not in method_args or weight_decay is None):
        raise UserError(f"{path}, {where}: STR row {row.id!r} needs weight_decay and method_args.s_init")
    target = given.target_sparsity_pct
    if target is None and row.method != "dense":
        target = row.reported.sparsity_pct
    return RowPlan(
        row=row.id,
        method_args=MappingProxyType(method_args),
        weight_decay=tier.weight_decay if weight_decay is None else weight_decay,
        target_sparsity_pct=target,
        tolerance_pct=tier.tolerance_pct if given.tolerance_pct is None else given.tolerance_pct,
    )


def _rows(table: str, file: str, model: type[files.M], *key: str) -> list[files.M]:
    return files.read_rows(_path(table, file), model, *(key or ("row",)))


def printed_rows(table: str) -> list[PrintedRow]:
    """Table 1 or 2."""
    return _rows(table, "_rows.csv", PrintedRow)


def transfer_rows(table: str) -> list[TransferRow]:
    """Tables 4 and 5 (of resnet50; none for a table without that file)."""
    return _optional(table, "_budget_transfer.csv", TransferRow, "row")


def global_threshold_rows(table: str) -> list[GlobalThresholdRow]:
    """Table 9 (of resnet50)."""
    return _optional(table, "_global_threshold.csv", GlobalThresholdRow, "row")


def quoted_rows(table: str) -> list[QuotedRow]:
    """What other papers print about rows of this table."""
    return _optional(table, "_quoted.csv", QuotedRow, "row", "quantity")


def text_claims(table: str) -> list[TextClaim]:
    """Numbers of the running text that follow from this table."""
    return _optional(table, "_text_claims.csv", TextClaim, "claim")


def layer_rows(table: str) -> dict[str, LayerRow]:
    """The dense counts of Table 6 or 8, by layer; with ``overall``, ``backbone`` and ``average_pool``."""
    return {row.layer: row for row in _rows(table, "_layers.csv", LayerRow, "layer")}


def _optional(table: str, file: str, model: type[files.M], *key: str) -> list[files.M]:
    return _rows(table, file, model, *key) if _path(table, file).exists() else []


def budget_cells(table: str) -> dict[str, dict[str, Quantity]]:
    """Every published budget as printed: its name -> layer, ``overall`` or ``backbone`` -> sparsity in percent."""
    budgets: dict[str, dict[str, Quantity]] = {}
    layers = [layer for layer in layer_rows(table) if layer != AVERAGE_POOL]
    for file in ("_budgets.csv", "_budgets_90.csv"):
        path = _path(table, file)
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
