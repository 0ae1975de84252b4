"""The record of a run, ``result.json``: what is in it, and the only place that writes it, reads it, and says what is
wrong with one.

Accuracy, sparsity and costs are those of the finalized network. A key that does not apply is left out of the file, and
is None here. Records of earlier versions lack some of the keys that have defaults.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, PlainSerializer, PlainValidator, TypeAdapter, ValidationError

from paper_repro.errors import UserError, problems
from paper_repro.files import write as write_file
from paper_repro.spec import Spec

FILE = "result.json"
SCHEMA = 1
TRAIN_AGAIN = "delete its folder, and the same command that trained it trains it again"
CONTENT = TypeAdapter(dict[str, Any], config=ConfigDict(ser_json_inf_nan="constants"))  # a balance may be infinite


class Part(BaseModel):
    """A part of a record: nothing beyond what is named here. The file has the keys in the order of their definition."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Layer(Part):
    """One layer of the network. ``macs``: of the dense layer. ``threshold``: g(s); ``kept_l1`` and ``balance``: what
    holds it (``methods/balance.py``), where it is learned.
    """

    layer: str
    params: int
    macs: int
    sparsity_pct: float
    threshold: float | None = None
    kept_l1: float | None = None
    balance: float | None = None


class Accuracy(Part):
    """On the validation set. The loss, in nats, has the label smoothing of training."""

    top1_pct: float
    val_loss: float


class Size(Part):
    """Sparsity and costs of a network, in percent and in millions; the backbone is all but the classifier."""

    sparsity_pct: float | None = None
    backbone_sparsity_pct: float | None = None
    params_m: float | None = None
    nonzero_params_m: float | None = None
    macs_m: float | None = None
    sparse_macs_m: float | None = None


class Images(Part):
    """How the images of a part of the data set were read. ``exact_resume``: whether an interrupted run ends bit by bit
    as if it had not been. ``encoding``: how FFCV encoded them anew; ``ffcv`` and
    ``dali``: version of the library that read them.
    """

    loader: str
    exact_resume: bool
    skipped_images: int
    encoding: dict[str, int | float | str] = {}
    ffcv: str = ""
    dali: str = ""


class Outcome(Part):
    """How a run ended, and on which data. ``epochs``: passes over the training set. The onset is that of sparsity."""

    status: Literal["finished", "not_sparse", "diverged"]
    top1_pct: float | None = None
    val_loss: float | None = None
    train_loss: float | None = None
    forecast_onset_epoch: float | None = None
    onset_epoch: float | None = None
    epochs: int
    dataset: str
    dataset_sha256: str
    checkpoint_sha256: str | None = None  # of the authors' file, where nothing was trained
    seconds: float
    images: dict[str, Images] = {}


class Result(Size, Outcome):  # the keys of the last base come first
    """What was measured. A run that diverged has no accuracy and no size, because they would mean nothing."""

    empty_layers: list[str] = []
    claimed_sparsity_pct: float | str | None = None  # by a plug-in, or why that failed; without influence


class KeptResult(Size, Accuracy):
    """What was measured of a network that a run kept on its way."""


class Kept(Part):
    """A network that a run kept on its way, as it was after ``epoch`` passes over the training set."""

    epoch: float
    result: KeptResult
    layers: list[Layer]


class Point(Part):
    """A point of the history. ``train_loss``: the mean since the last point. ``thresholds``: layer -> g(s).
    ``balance``: layer -> L1 norm of the kept weights, and ratio.
    """

    epoch: float
    lr: float | None = None
    train_loss: float | None = None
    sparsity_pct: float
    thresholds: dict[str, float] = {}
    balance: dict[str, tuple[float, float]] = {}


class Epoch(Part):
    """Accuracy after an epoch, and the inner dimensions of the matrices that are products: "w" -> 9."""

    epoch: int
    val_top1_pct: float
    ranks: dict[str, int] = {}


class Provenance(Part):
    """Code, libraries and machine (``evidence/provenance.py``)."""

    commit: str = "unknown"
    dirty: str = "unknown"
    torch: str = "unknown"
    python: str = "unknown"
    device: str
    cpu: str = ""
    processor: str = ""  # what its model name leaves open: family, model, stepping and vector instructions
    threads: int
    platform: str = "unknown"
    processes: int = 1

    @property
    def machine(self) -> str:
        """Processor or GPU, threads and version of PyTorch: what lines of results name as well."""
        where = self.device
        if self.device == "cpu":
            where = ", ".join(
                filter(None, (self.cpu, self.processor, f"{self.threads} thread{'s' * (self.threads > 1)}"))
            )
        several = f"{self.processes} x " if self.processes > 1 else ""
        return f"{several}{where}, torch {self.torch}"

    @property
    def arithmetic(self) -> str:
        """What rounds: processor, threads, library and platform. Where it is the same, the same spec ends the same."""
        return f"{self.machine} on {self.platform}"


def _spec(value: Any) -> Spec:
    return value if isinstance(value, Spec) else Spec.from_dict(value)


class Record(Part):
    """One finished run. Runs of one epoch have no ``epochs``. ``kept``: milestone of the method -> network."""

    spec: Annotated[Spec, PlainValidator(_spec), PlainSerializer(Spec.to_dict)]
    result: Result
    layers: list[Layer]
    history: list[Point]
    epochs: list[Epoch] = []
    kept: dict[str, Kept] = {}
    provenance: Provenance


def as_written(part: Part) -> dict[str, Any]:
    """A part as it stands in the file: without the keys that were not given."""
    return part.model_dump(exclude_unset=True)


def write(record: Record, folder: Path) -> Path:
    """Write the record of a run into its folder; the file is complete or not there."""
    content = {"schema": SCHEMA, **as_written(record)}
    return write_file(folder / FILE, CONTENT.dump_json(content, indent=1) + b"\n")


def read(folder: Path) -> Record:
    """The record of a finished run. UserError when there is none, or for what is wrong with it, and where."""
    file = folder / FILE
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{folder} has no {FILE}: it holds no finished run") from None
    except OSError as error:
        raise UserError(
            f"{file} cannot be read: {error.strerror or error}. The run may be whole; mend that, and try again",
            exit_code=3,
        ) from error
    except ValueError as error:
        raise UserError(f"{file} is damaged ({error}); {TRAIN_AGAIN}", exit_code=3) from error
    if not isinstance(content, dict) or content.pop("schema", None) != SCHEMA:
        raise UserError(f"{file} is no result of schema {SCHEMA}: another version wrote it; {TRAIN_AGAIN}", exit_code=3)
    try:
        return Record.model_validate(content)
    except ValidationError as error:
        place, problem = problems(error)[0]
        where = ".".join(map(str, place))
        raise UserError(f"{file} is damaged: {where} {problem}; {TRAIN_AGAIN}", exit_code=3) from error
    except UserError as error:  # of the spec
        raise UserError(f"{file}: {error}; {TRAIN_AGAIN}", exit_code=3) from error


def finished(folder: Path, spec: Spec) -> Record | None:
    """The record of ``spec`` if the run is finished, else None; UserError when it is damaged or another run's."""
    if not (folder / FILE).exists():
        return None
    record = read(folder)
    require_same(spec, record.spec, folder / FILE)
    return record


def require_same(spec: Spec, stored: Spec, where: Path) -> None:
    """UserError when what is stored belongs to another spec; it says in which fields the two differ."""
    differences = spec.differences(stored)
    if differences:
        listed = "; ".join(f"{key}: {there!r} there, {here!r} here" for key, (here, there) in differences.items())
        raise UserError(f"{where} belongs to another run ({listed}); move it away to train this one", exit_code=3)
