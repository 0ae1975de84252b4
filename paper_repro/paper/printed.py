"""The lines of the reference files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from paper_repro.paper.quantity import Quantity, parse

NUMBERS = ("top1_pct", "params_m", "sparsity_pct", "macs_m")


def _printed(text: str) -> str:
    parse(text)
    return text


def _percent(printed: Quantity) -> Quantity:
    if not 0.0 <= printed.value <= 100.0:
        raise ValueError(f"a sparsity lies between 0 and 100 %, not at {printed.text}")
    return printed


EMPTY_IS_NONE = BeforeValidator(lambda cell: None if cell == "" else cell)
Printed = Annotated[str, AfterValidator(_printed)]
PrintedOrEmpty = Annotated[Printed | None, EMPTY_IS_NONE]
PrintedPercent = Annotated[Quantity, BeforeValidator(parse), AfterValidator(_percent)]
Number = Annotated[float, Field(allow_inf_nan=False)]
NumberOrEmpty = Annotated[Number | None, EMPTY_IS_NONE]
Positive = Annotated[float, Field(allow_inf_nan=False, gt=0)]
Percent = Annotated[float, Field(allow_inf_nan=False, ge=0, le=100)]
PercentOrEmpty = Annotated[Percent | None, EMPTY_IS_NONE]
Name = Annotated[str, Field(min_length=1)]
Ranks = Annotated[str, Field(pattern=r"^([1-9]\d*/[1-9]\d*)?$")]  # of W / of U, such as "9/8"; empty for full rank
Distribution = Literal["dense", "uniform", "erk", "budget", "nominal", "low-rank", "unknown"]
# of ResNet50 on ImageNet-1K: STR's own 100 epochs at most; more than that; not from scratch; or nothing says
Schedule = Literal["100 epochs", "longer", "pretrained", "not stated"]
# where a number was read: in the authors' paper or their README, or second-hand
HowRead = Literal["paper", "readme", "another paper", "another repository", "issue", "leaderboard"]
OWN_SOURCES = ("paper", "readme")


class File(BaseModel):
    """A line of a file, or the keys of a section: nothing beyond what is named here."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TableFile(File):
    """A line of ``paper/TABLE_FILE.csv``, where no two have the same ``KEY``."""

    FILE: ClassVar[str]
    KEY: ClassVar[tuple[str, ...]]


class BudgetRule(File):
    """A rule that the cells of a published budget follow. ``keep_dense``: kinds of layers that it leaves out."""

    distribution: Literal["uniform", "erk"]
    sparsity_pct: Percent
    keep_dense: tuple[Name, ...] = ()


class TableFacts(File):
    """What a table is of: its network and its data. ``budgets_of``: the table whose layers and published budgets are
    this one's too; its own by default. ``audited``: tables of the paper, numbers of its text and other sources that it
    stands for, in the order of the audit. ``figure_row`` and ``figure_layer``: the model of Figures 1 to 3 and the
    layer of Figure 1.
    """

    title: Name
    model: Name
    dataset: Name
    budgets_of: str = ""
    audited: tuple[Name, ...] = ()
    figure_row: Name | None = None
    figure_layer: Name | None = None


class PrintedTable(TableFacts):
    """A section of ``tables.toml``. ``budget_tables``: file of budgets -> where they are printed.
    ``layers_count_average_pool``: whether the overall FLOPs do. ``budget_rules``: budget -> the rule that it follows.
    """

    paper_table: Name
    budget_tables: dict[str, Name] = Field(default_factory=dict)
    layers_count_average_pool: bool = False
    budget_rules: dict[str, BudgetRule] = Field(default_factory=dict)


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
        values = {name: printed[name].value if name in printed else None for name in NUMBERS}
        return cls(**values, printed=MappingProxyType(dict(printed)))


class Row(File):
    """One line of a table. A row has an accuracy and a sparsity, or no number at all; one of full matrices or of
    low-rank ones may have an accuracy alone. Columns with a default here may be left out of ``_rows.csv``.

    In a table of what others publish: ``schedule``; ``epochs``, empty where the source does not say; ``how_read``;
    ``macs_ratio``, where FLOPs are printed as a share of the dense network's, which are ``dense_macs_m``. A row may
    have an accuracy alone there where it was read second-hand, or where its source counts sparsity over the pruned
    layers.

    The numbers are texts here, as they are printed; ``reported`` has their values. ``series``: the line of a figure
    that it is a point of; its method, or its method under one of several budgets or settings. ``ranks``: of its two
    matrices, such as "9/8"; empty for full ones. ``distribution``: "budget" (the published budget named in
    ``budget``), "uniform" (but for the kinds of layers in ``keep_dense``; the pruned layers have ``pruned_layers_pct``,
    by default the printed sparsity), "erk", "dense", "nominal" (the printed sparsity is the target, the FLOPs are those
    of ``budget``), "low-rank" (nothing is zero: matrices are products of inner dimensions) or "unknown".

    ``paper_table``: where it is printed; ``model`` and ``dataset``: what its numbers are of; by default the table's.
    ``same_as``: (table, row) that prints the same model, "table:row" in the file; cells that are empty here are taken
    from there. ``weight_decay`` and ``s_init`` are those of Tables 10 to 12, for STR rows.
    """

    row: Name
    method: Name
    label: Name
    series: str = ""
    regime_pct: PercentOrEmpty = None
    ranks: Ranks = ""
    top1_pct: PrintedOrEmpty
    params_m: PrintedOrEmpty = None
    sparsity_pct: PrintedOrEmpty = None
    macs: PrintedOrEmpty = None
    macs_ratio: PrintedOrEmpty = None
    dense_macs_m: NumberOrEmpty = None
    schedule: Annotated[Schedule | None, EMPTY_IS_NONE] = None
    epochs: NumberOrEmpty = None
    how_read: Annotated[HowRead | None, EMPTY_IS_NONE] = None
    distribution: Distribution
    budget: str = ""
    keep_dense: Annotated[tuple[str, ...], BeforeValidator(str.split)] = ()
    pruned_layers_pct: PrintedOrEmpty = None
    paper_table: str = ""
    same_as: Annotated[tuple[str, str] | None, BeforeValidator(lambda text: text.split(":", 1) if text else None)] = (
        None
    )
    model: str = ""
    dataset: str = ""
    weight_decay: NumberOrEmpty = None
    s_init: NumberOrEmpty = None
    note: str
    source: Name

    @model_validator(mode="after")
    def _whole(self) -> Row:
        numbers = [self.top1_pct, self.params_m, self.sparsity_pct, self.macs]
        if (self.distribution == "low-rank") != bool(self.ranks):
            raise ValueError("ranks and the distribution 'low-rank' need each other")
        may_be_alone = self.distribution in ("dense", "low-rank") or self.pruned_layers_pct or self.is_second_hand
        alone = may_be_alone and any(numbers) and not any(numbers[1:])
        if any(numbers) and not alone and not (self.top1_pct and self.sparsity_pct):
            raise ValueError("some numbers are there and top1_pct or sparsity_pct is not: a row has both, or none")
        if bool(self.schedule) != bool(self.how_read):
            raise ValueError("schedule and how_read need each other")
        if self.schedule == "100 epochs" and not (self.epochs and self.epochs <= 100):
            raise ValueError(f"schedule is '100 epochs', and epochs is {self.epochs or 'empty'}")
        return self

    @property
    def id(self) -> str:
        """Its name in the table."""
        return self.row

    @property
    def reported(self) -> Reported:
        """Its numbers."""
        texts = zip(NUMBERS, (self.top1_pct, self.params_m, self.sparsity_pct, self.macs), strict=True)
        printed = {name: parse(text) for name, text in texts if text is not None}
        if self.macs_ratio is not None and self.dense_macs_m is not None:
            printed["macs_m"] = parse(self.macs_ratio).of(self.dense_macs_m)
        return Reported.of(printed)

    @property
    def is_second_hand(self) -> bool:
        """Whether its numbers were not read where the authors of the method print them."""
        return self.how_read is not None and self.how_read not in OWN_SOURCES

    @property
    def is_dense(self) -> bool:
        """Whether it is the network that nothing is taken from."""
        return self.method == "dense"

    @property
    def is_str(self) -> bool:
        """Whether it is STR itself, one learned threshold per layer."""
        return self.method == "str"

    @property
    def learns_ranks(self) -> bool:
        """Whether its ranks are learned by STR."""
        return self.method == "str-rank"


class HyperparameterRow(TableFile):
    """A line of Table 10, 11 or 12. Table 12 gives no s_init but a bound ("<= -10")."""

    FILE, KEY = "hyperparameters", ("row",)
    row: Name
    weight_decay: Positive
    s_init: NumberOrEmpty
    source: Name


class NetworkRow(TableFile):
    """Hidden units of the recurrent network that a table has on a data set."""

    FILE, KEY = "networks", ("dataset",)
    dataset: Name
    hidden: Annotated[int, Field(ge=1)]
    source: Name


class SizeRow(TableFile):
    """Size of a network as ``paper_table`` prints it, in units of 1024 bytes; ``ranks`` as those of a row."""

    FILE, KEY = "sizes", ("network",)
    paper_table: Name
    network: Name
    dataset: Name
    ranks: Ranks
    size_kb: Printed
    source: Name


class LayerRow(TableFile):
    """Weights and FLOPs of one dense layer, or of ``overall``, ``backbone``, ``average_pool``, as printed."""

    FILE, KEY = "layers", ("layer",)
    layer: Name
    params: Annotated[int, Field(ge=0)]
    macs: Annotated[int, Field(ge=0)]


class QuotedRow(TableFile):
    """A number that another paper prints."""

    FILE, KEY = "quoted", ("row", "quantity")
    row: Name
    quantity: Literal["macs_ratio", "top1_pct"]
    value: Printed
    source: Name


class TextClaim(TableFile):
    """A number of the running text. ``rule``: how it follows from ``row``, and from the one that it is set
    ``against``.
    """

    FILE, KEY = "text_claims", ("claim",)
    claim: Name
    printed: Printed
    unit: Name
    rule: Literal[
        "macs saved", "macs saved, share", "accuracy", "accuracy gain", "largest accuracy gain at equal ranks",
        "compression",
    ]  # fmt: skip
    row: Name
    against: str = ""
    text: Name
    source: Name


class CurvePoint(TableFile):
    """A point of a digitised figure."""

    FILE, KEY = "curves", ("curve", "x")
    curve: Name
    x: Number
    y: Number
