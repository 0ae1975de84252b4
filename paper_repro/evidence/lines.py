"""What a line of each results file says: one model for each kind of file, and the only definition of its columns.

``results/schema.md`` is generated from here (``python -m paper_repro.evidence.lines``), and a test holds the two
together. A column whose field has a default is left out of a file in which nothing stands in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, ClassVar, Literal, Self, get_args, get_type_hints

from pydantic import ConfigDict, Field, model_validator

from paper_repro import tables
from paper_repro.files import replace_between
from paper_repro.paper.printed import EMPTY_IS_NONE, File, Name, Number, NumberOrEmpty, Percent, PercentOrEmpty
from paper_repro.record import Accuracy, Size
from paper_repro.verdict import MEANING, Verdict

WITHOUT_NETWORK = ("diverged", "not_reached")  # statuses of a run that measures nothing
MEASURES = (*Accuracy.model_fields, *Size.model_fields)

Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
AmountOrEmpty = Annotated[Amount | None, EMPTY_IS_NONE]
Count = Annotated[int, Field(ge=0)]
CountOrEmpty = Annotated[Count | None, EMPTY_IS_NONE]
Tier = Annotated[str, Field(pattern=f"^({'|'.join(tables.TIERS)})$")]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Sha256OrEmpty = Annotated[str, Field(pattern="^([0-9a-f]{64})?$")]


def of(description: str, fmt: str = "", unit: str = "", default: Any = ...) -> Any:
    """A column; ``fmt`` is how its numbers are written."""
    return Field(default, description=description, json_schema_extra={"format": fmt, "unit": unit})


class Line(File):
    """A line of a results file. Its fields are the columns, in order; those in ``KEY`` are together unique."""

    model_config = ConfigDict(use_enum_values=True, str_strip_whitespace=True)

    FILE: ClassVar[str]  # name of the files of this kind
    KEY: ClassVar[tuple[str, ...]]


class RunLine(Line):
    """One line per row and seed: what a run measured and under which conditions."""

    FILE, KEY = "<tier>.csv", ("row", "seed")

    row: Name = of("row of the table, as in `paper_repro/paper/` and `experiments/`")
    method: Name = of("method that was trained")
    tier: Tier = of("how far the evidence goes")
    seed: Count = of("seed of the run; (row, seed) is the key of the file")
    spec: Name = of("name of the run, made from its frozen spec: another recipe has another name")
    options: str = of(
        "options of the run that differ from the default, such as `loader=ffcv`, `autocast=bf16`, "
        "`channels_last=true` and `compile=true`; empty where all are the default. A run that was interrupted ends bit "
        "by bit as if it had not been, but with `loader=ffcv`, and `loader=dali` on a GPU, which do not promise it",
        default="",
    )
    status: Literal["finished", "not_sparse", "diverged", "not_reached"] = of(
        "`finished`; `not_sparse`: less than 1 % sparse although the row has a target; "
        "`diverged`: the loss stopped being finite; `not_reached`: the run never had the row's ranks"
    )
    target_sparsity_pct: PercentOrEmpty = of("sparsity that the recipe aims at; empty for dense rows", ".2f", "%")
    empty_layers: CountOrEmpty = of("layers of which no weight is left; empty for none", default=None)
    top1_pct: PercentOrEmpty = of(
        "top-1 accuracy on the validation set, of the RNNs' data the test set; empty without a network", ".2f", "%"
    )
    val_loss: AmountOrEmpty = of("loss on the validation set", ".4f", "nat")
    train_loss: AmountOrEmpty = of("mean training loss since the last record of the history", ".4f", "nat")
    sparsity_pct: PercentOrEmpty = of("zeros among all weights of the finalized network", ".4f", "%")
    backbone_sparsity_pct: PercentOrEmpty = of("the same without the classifier", ".4f", "%")
    params_m: AmountOrEmpty = of("weights of the trained network, which may be a narrow one", ".6f", "million")
    nonzero_params_m: AmountOrEmpty = of("nonzero weights of the finalized network", ".6f", "million")
    macs_m: AmountOrEmpty = of("multiply-adds of the dense network for one image", ".6f", "million")
    sparse_macs_m: AmountOrEmpty = of(
        "multiply-adds of the finalized network: (1 - sparsity) per layer", ".6f", "million"
    )
    forecast_onset_epoch: AmountOrEmpty = of(
        "epoch at which sparsity was predicted to begin, before training", ".4f", "epoch"
    )
    onset_epoch: AmountOrEmpty = of("epoch at which sparsity was first observed", ".4f", "epoch")
    epochs: Amount = of("passes over the training set", "g", "epoch")
    dataset: Name = of("data set trained and evaluated on")
    dataset_sha256: Sha256 = of("fingerprint of the data files")
    skipped_images: CountOrEmpty = of(
        "images that cannot be read and were left out because the user said so; empty for none", default=None
    )
    encoding: str = of(
        "how the images were encoded anew for `loader=ffcv`: longest side in px, JPEG quality, share of JPEGs; "
        "empty for images as they are",
        default="",
    )
    commit: Annotated[str, Field(pattern="^([0-9a-f]{40}|unknown)$")] = of("git commit of the code")
    dirty: Literal["false", "true", "unknown"] = of("whether the code differed from that commit")
    torch: Name = of("version of PyTorch")
    device: Name = of("device that trained")
    processor: str = of(
        "what the name of a processor leaves open, and rounding depends on: family, model, stepping, vector "
        "instructions; empty for runs on a GPU, and of code that did not keep it",
        default="",
    )
    threads: Count = of("CPU threads of the training process")
    seconds: Amount = of("time of the training steps; at tier `checkpoint`, of evaluation; monotonic clock", ".1f", "s")
    checkpoint_sha256: Sha256OrEmpty = of(
        "the authors' file that the network is from (tier `checkpoint`; other tiers have no such column)", default=""
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        """Notices a fraction typed for a percentage, and thousands for millions, among other things."""
        missing = [name for name in MEASURES if getattr(self, name) is None]
        if self.status in WITHOUT_NETWORK and "top1_pct" not in missing:
            raise ValueError(f"top1_pct of a run that is {self.status}, and so has no network")
        if missing:
            if self.status in WITHOUT_NETWORK:
                return self
            raise ValueError(f"{', '.join(missing)}: empty, though the run is {self.status} and so has a network")
        values = self.model_dump()
        for part, whole in (("nonzero_params_m", "params_m"), ("sparse_macs_m", "macs_m")):
            if values[part] > values[whole] * (1 + 1e-9):
                raise ValueError(f"{part} cannot exceed {whole} (mixed units?)")
        if abs(100.0 * (1.0 - values["nonzero_params_m"] / values["params_m"]) - values["sparsity_pct"]) >= 0.01:
            raise ValueError("sparsity_pct is not 100 * (1 - nonzero_params_m / params_m) (mixed units?)")
        return self


class OfRun(Line):
    """A line about a run for a row of the table."""

    row: Name = of("row of the table")
    seed: Count = of("seed of the run")


class BudgetLine(OfRun):
    """One line per row, seed and layer: the budget that a run ended with."""

    FILE, KEY = "<tier>_budgets.csv", ("row", "seed", "layer")

    layer: Name = of("name of the layer's module; lines stand in the order of definition")
    params: Count = of("weights of the layer")
    macs: Count = of("multiply-adds of the dense layer for one image")
    sparsity_pct: Percent = of("zeros among the layer's weights after training", ".4f", "%")
    threshold: AmountOrEmpty = of("g(s) after training; empty for methods without thresholds", ".6g")
    kept_l1: AmountOrEmpty = of(
        "L1 norm of the raw values that the threshold keeps; empty for methods that learn no thresholds, and for "
        "runs of code that did not record it",
        ".6g",
        default=None,
    )
    balance: AmountOrEmpty = of(
        "slope^2 g'(u) L1 / |u| of all that shares the layer's s (`paper_repro/methods/balance.py`): 1 where "
        "the threshold is balanced, above 1 where the loss pulls it down harder than decay lifts it, 0 where "
        "nothing is kept or the threshold is still 0; empty as `kept_l1` is",
        ".5g",
        default=None,
    )


class HistoryLine(OfRun):
    """Several lines per run: sparsity and thresholds while it trained."""

    FILE, KEY = "<tier>_history.csv", ("row", "seed", "epoch")

    epoch: Amount = of("time of the record, in passes over the training set", ".4f", "epoch")
    lr: AmountOrEmpty = of("learning rate of the step before the record", ".6g")
    train_loss: AmountOrEmpty = of("training loss since the last record", ".4f", "nat")
    sparsity_pct: Percent = of("overall sparsity of the weights in use", ".4f", "%")
    threshold_min: AmountOrEmpty = of("smallest g(s) over layers", ".6g")
    threshold_median: AmountOrEmpty = of("median g(s) over layers", ".6g")
    threshold_max: AmountOrEmpty = of("largest g(s) over layers", ".6g")
    threshold_figure_layer: AmountOrEmpty = of("g(s) of the layer in the paper's Figure 1", ".6g")
    kept_l1: AmountOrEmpty = of(
        "L1 norm of the raw values that all thresholds together keep; empty where no run recorded it",
        ".6g",
        default=None,
    )
    balance_min: AmountOrEmpty = of(
        "smallest `balance` (see the budgets) over layers that keep weights: a layer that has lost all of them has "
        "no pull, and is left out; empty where no run recorded it",
        ".5g",
        default=None,
    )
    balance_median: AmountOrEmpty = of("median of the same", ".5g", default=None)
    balance_max: AmountOrEmpty = of("largest of the same", ".5g", default=None)


class EpochLine(OfRun):
    """One line per row, seed and epoch, where a run takes more than one: accuracy and ranks meanwhile."""

    FILE, KEY = "<tier>_epochs.csv", ("row", "seed", "epoch")

    epoch: Count = of("epochs of training done", unit="epoch")
    val_top1_pct: Percent = of("top-1 accuracy then, on the data of `top1_pct`", ".2f", "%")
    rank_w: CountOrEmpty = of("inner dimension of W then; empty where W is no product")
    rank_u: CountOrEmpty = of("the same of U")
    kept: Literal["yes", "no"] = of("whether the row's network was taken in this epoch, at its end or before")


SEED_OF_TRIALS = 1000  # no result is of it


class TrialLine(Line):
    """One line per run of a search for hyperparameters (`regress --tune`): the trials, as many for STR as for the
    method that it is compared with, scored on examples held out of the training set; and the runs that were then
    trained on all of it with the settings of the chosen trial.
    """

    FILE, KEY = "<tier>_trials.csv", ("method", "regime_pct", "machine", "trial", "seed")

    method: Name = of("method that was tuned")
    tier: Tier = of("how far the evidence goes")
    regime_pct: Percent = of("sparsity that was to be reached", "g", "%")
    trial: Count = of("number of the trial; 0 is the recipe as it is")
    seed: Count = of(f"seed of the run; {SEED_OF_TRIALS} for all trials, smaller for what was trained on all examples")
    settings: Name = of("what the trial changed in the recipe")
    chosen: Literal["yes", "no"] = of("whether its settings were taken: the most accurate of those near the regime")
    status: Name = of("`finished`, `not_sparse`, `diverged`, or why there is no run")
    top1_pct: PercentOrEmpty = of(
        "top-1 accuracy, of a trial on its validation split; empty without a network", ".2f", "%", None
    )
    sparsity_pct: PercentOrEmpty = of("zeros among all weights of the finalized network", ".4f", "%", None)
    sparse_macs_m: AmountOrEmpty = of("multiply-adds of the finalized network", ".6f", "million", None)
    spec: Name = of("name of the run")
    dataset: Name = of("data set; of a trial, that with a part held out")
    dataset_sha256: Sha256OrEmpty = of("fingerprint of the data files", default="")
    commit: str = of("git commit of the code", default="")
    dirty: str = of("whether the code differed from that commit", default="")
    machine: str = of("processor or GPU, threads, version of PyTorch, platform; empty without a run")
    seconds: AmountOrEmpty = of("time of the training steps", ".1f", "s", None)

    @property
    def is_trial(self) -> bool:
        """Whether it is a trial, and no run that was trained on all examples with the settings of one."""
        return self.seed == SEED_OF_TRIALS


class AuditLine(Line):
    """One line per printed number that was recomputed without training."""

    FILE, KEY = "audit.csv", ("table", "row", "quantity")

    table: Name = of("table of the paper")
    row: Name = of("row of that table")
    quantity: Name = of("which number of the row")
    unit: str = of("its unit")
    printed: str = of("as the paper prints it; empty where it leaves out what follows")
    recomputed: NumberOrEmpty = of(
        "from the published budget and the full-size architecture; empty if it cannot be recomputed", ".4f"
    )
    difference: NumberOrEmpty = of("recomputed minus printed", ".4f")
    verdict: Verdict = of("; ".join(f"{verdict}: {meaning}" for verdict, meaning in MEANING.items()))
    convention: str = of(
        "way of counting that gives the printed number (`paper_repro/audit/conventions.py`); empty for the usual one"
    )
    note: str = of("why, where that is not obvious")


class BalanceLine(Line):
    """One line per layer of the network in the paper's Figure 3: what the balance of thresholds, this project's finding
    and no claim of the paper, implies there. Nothing is fitted.
    """

    FILE, KEY = "balance.csv", ("layer",)

    layer: Name = of("name of the layer's module; lines stand in the order of definition")
    params: Count = of("weights of the layer")
    fan_in: Count = of("weights of one output")
    sparsity_pct: Percent = of("sparsity of the layer, as the paper prints it", ".2f", "%")
    kept_weights: Amount = of("weights that this sparsity leaves", ".1f")
    threshold: Amount = of("threshold of the layer, read off the paper's Figure 3", ".6f")
    implied_l1: Amount = of(
        "L1 norm of kept raw weights at which this threshold is balanced: |u| / g'(u), u = logit of the threshold",
        ".6g",
    )
    implied_mean: Amount = of("mean |w| of a kept weight that follows: implied_l1 / kept_weights", ".6g")


class BalanceTestLine(Line):
    """How well the balance of thresholds agrees with `balance.csv`, and how well its rivals would."""

    FILE, KEY = "balance_tests.csv", ("test", "quantity")

    test: Name = of("what is tested: `paper` is the balance on the paper's data, the others are rivals")
    quantity: Name = of("which number")
    value: Number = of("the number; of something that is drawn at random, its median", ".6g")
    low: NumberOrEmpty = of("where it is a range, its lower end", ".6g")
    high: NumberOrEmpty = of("its upper end", ".6g")
    meaning: Name = of("what the number says")


class SpeedLine(Line):
    """What `make gpu-check` timed on a GPU and `make bench` on one core, as ratios of what took turns in one process;
    `results/speed.csv`.
    """

    FILE, KEY = "speed.csv", ("device", "what", "compared")

    device: Name = of("name of the GPU, or of the processor")
    what: Name = of("what was timed")
    compared: Name = of("whose time was divided by whose")
    ratio: Amount = of("median of that over the rounds", ".4f")
    low: AmountOrEmpty = of("lower end of its 95 % interval; empty with fewer than six rounds", ".4f", default=None)
    high: AmountOrEmpty = of("upper end", ".4f", default=None)
    at_most: AmountOrEmpty = of("the goal; empty for none", ".4f")
    rounds: Count = of("how often both were timed")
    seconds: Amount = of("median time of a round of the first", ".4g", "s")
    commit: Name = of("git commit of the code")
    dirty: Name = of("whether the code differed from that commit")
    torch: Name = of("version of PyTorch")
    cpu: Name = of("name of the processor")

    @property
    def met(self) -> bool:
        """Whether the goal is met; there may be none."""
        return self.at_most is None or self.ratio <= self.at_most


KINDS: dict[str, type[Line]] = {
    "runs": RunLine,
    "budgets": BudgetLine,
    "history": HistoryLine,
    "audit": AuditLine,
    "epochs": EpochLine,
    "trials": TrialLine,
    "balance": BalanceLine,
    "balance_tests": BalanceTestLine,
    "speed": SpeedLine,
}


@dataclass(frozen=True)
class Column:
    """How the cells of a column are read and written. ``optional``: a file in which all are empty goes without it."""

    type: type[str] | type[int] | type[float]
    may_be_empty: bool
    optional: bool
    format: str
    unit: str
    description: str

    @property
    def dtype(self) -> str:
        """In a frame: whole numbers with gaps are floats there."""
        return {str: "str", int: "float64" if self.may_be_empty else "int64", float: "float64"}[self.type]


@cache
def columns(line: type[Line]) -> dict[str, Column]:
    """The columns of a kind of file, in order."""
    hints, by_name = get_type_hints(line), {}
    for name, field in line.model_fields.items():
        types = get_args(hints[name]) or (hints[name],)
        base = next((base for base in (int, float) if base in types), str)
        may_be_empty = NoneType in types or (hints[name] is str and not field.metadata)
        extra: dict[str, Any] = field.json_schema_extra  # type: ignore[assignment]
        fmt = "d" if base is int else extra["format"]
        optional = not field.is_required()
        by_name[name] = Column(base, may_be_empty, optional, fmt, extra["unit"], field.description or "")
    return by_name


# -- documentation ---------------------------------------------------------------------------------------------------

BEGIN, END = "<!-- columns, generated: begin -->", "<!-- columns: end -->"


def schema_markdown() -> str:
    """The column tables of ``results/schema.md``."""
    parts = []
    for line in KINDS.values():
        key = ", ".join(f"`{name}`" for name in line.KEY)
        parts += [f"## `{line.FILE}`", "", f"{' '.join((line.__doc__ or '').split())} Key: {key}.", ""]
        parts += ["| column | type | unit | may be empty | meaning |", "| --- | --- | --- | --- | --- |"]
        for name, column in columns(line).items():
            shown = {str: "text", int: "integer", float: "number"}[column.type]
            empty = "yes, and absent if all are" if column.optional else "yes" if column.may_be_empty else ""
            parts.append(f"| `{name}` | {shown} | {column.unit} | {empty} | {column.description} |")
        parts.append("")
    return "\n".join(parts).rstrip() + "\n"


def update_schema_document(file: Path, check: bool = False) -> bool:
    """Bring ``results/schema.md`` up to date; returns whether it already was. With ``check``, nothing is written."""
    return replace_between(file, BEGIN, END, schema_markdown(), check)


if __name__ == "__main__":
    update_schema_document(Path(__file__).resolve().parents[2] / "results" / "schema.md")
