"""The frozen description of one training run: everything that can change its outcome, and nothing else.

A spec has one canonical text, and its run is named after it: method, model, data set, a hash, the seed. Fields that
hold their default are left out of the text, so a field added later does not rename old runs.

A hyperparameter is added here, as a field with its type, its default and its range. A recipe may then set it for a
tier, a method or a row (``experiments/recipe.py``).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, field, fields, replace
from typing import Annotated, Any, Literal, get_args, get_type_hints

from pydantic import BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from paper_repro.errors import UserError, require_known, unknown

Loader = Literal["folder", "ffcv", "dali"]  # what reads images that do not fit in memory
Autocast = Literal["", "bf16", "fp16"]
LOADERS, AUTOCASTS = get_args(Loader), get_args(Autocast)
FLOAT32 = "float32"  # what a command calls no autocast, where a recipe has one
OPTIONS = ("loader", "autocast", "channels_last", "compile")  # what a command may choose for any row of a table


def _plain(value: Any) -> Any:
    """Mappings as sorted dicts, sequences as lists: what JSON gives back, so that a spec survives its file."""
    if isinstance(value, Mapping):
        return {str(key): _plain(value[key]) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


Arguments = Annotated[Mapping[str, Any], BeforeValidator(_plain)]


class SpecError(UserError):
    """A value that a spec cannot have: ``key`` names it, and ``problem`` says what is wrong."""

    def __init__(self, key: str, value: Any, problem: str) -> None:
        super().__init__(f"spec out of range: {key} = {value}: {problem}")
        self.key, self.value, self.problem = key, value, problem


@dataclass(frozen=True, kw_only=True, config=ConfigDict(strict=True, allow_inf_nan=False))
class Spec:
    """One training run. Batch size is global, over all processes; ``lr`` is the peak learning rate. No number may be
    infinite or NaN.
    """

    model: str
    dataset: str
    method: str
    epochs: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=1)]
    lr: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)]
    model_args: Arguments = field(default_factory=dict)
    method_args: Arguments = field(default_factory=dict)
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"  # adam: decay coupled to the gradient; adamw: decoupled
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.875  # of Adam: beta1
    nesterov: bool = False
    warmup_epochs: Annotated[int, Field(ge=0)] = 5
    # the cosine at every "epoch", as in the paper, or every "step"; "drop": to a tenth; "drops": to a tenth, twice
    schedule: Literal["epoch", "step", "drop", "drops"] = "epoch"
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    grad_clip_norm: Annotated[float, Field(ge=0)] = 0.0  # of all parameters' gradient; 0: not clipped
    loader: Loader = "folder"
    autocast: Autocast = ""  # of the network; thresholds, weights and their decay stay in float32
    channels_last: bool = False  # memory format of the network and its images
    compile: bool = False  # torch.compile
    seed: Annotated[int, Field(ge=0)] = 0
    # of a plug-in's source: an edited plug-in is another run; "" for registered methods
    method_sha256: Annotated[str, Field(pattern="^([0-9a-f]{64})?$")] = ""
    model_sha256: Annotated[str, Field(pattern="^([0-9a-f]{64})?$")] = ""  # the same of a user's network

    @model_validator(mode="wrap")
    @classmethod
    def _explained(cls, values: Any, validate: Callable[[Any], Spec]) -> Spec:
        """SpecError for the first value that does not fit."""
        try:
            return validate(values)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            key, value = str(first["loc"][0]), first["input"]
            choices = get_args(get_type_hints(cls)[key]) if first["type"] == "literal_error" else ()
            raise SpecError(key, value, str(unknown(key, value, choices)) if choices else first["msg"]) from None

    def __post_init__(self) -> None:
        for key, wrong, problem in (
            ("momentum", self.nesterov and not self.momentum, "nesterov needs some"),
            ("nesterov", self.nesterov and self.optimizer != "sgd", "only sgd has it"),
            ("warmup_epochs", self.warmup_epochs >= self.epochs, f"training has {self.epochs} epochs"),
        ):
            if wrong:
                raise SpecError(key, getattr(self, key), problem)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Spec:
        """The spec of ``to_dict``; an unknown or missing key is an error that names it."""
        known = {item.name: item for item in fields(cls)}
        require_known("spec key", values, known)
        missing = [name for name, item in known.items() if _default(item) is MISSING and name not in values]
        if missing:
            raise UserError(f"spec lacks {', '.join(missing)}")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Every field, defaults included."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    def canonical(self, without: Iterable[str] = ()) -> str:
        """JSON of the fields that differ from their defaults, sorted by key: what the name is made from."""
        values = {item.name: getattr(self, item.name) for item in fields(self) if item.name not in without}
        defaults = {item.name: _default(item) for item in fields(self)}
        said = {name: value for name, value in values.items() if value != defaults[name]}
        return json.dumps(said, sort_keys=True, separators=(",", ":"))

    @property
    def name(self) -> str:
        """The name of the run and of its directory, for example ``str-resnet50-fashion_mnist-1a2b3c4d-s0``."""
        digest = hashlib.sha256(self.canonical(without=("seed",)).encode()).hexdigest()[:8]
        return f"{self.method}-{self.model}-{self.dataset}-{digest}-s{self.seed}"

    @property
    def options(self) -> str:
        """The options that are not the default, for example ``autocast=bf16 compile=true``; "" where all are."""
        return options_text(self.to_dict())

    def with_options(self, text: str) -> Spec:
        """This spec with the options of such a text, its others as they are; ``autocast=float32`` is none."""
        values: dict[str, Any] = {}
        for name, _, value in (part.partition("=") for part in text.split()):
            require_known("option of a run", name, OPTIONS)
            values[name] = value == "true" if isinstance(getattr(self, name), bool) else value
        if values.get("autocast") == FLOAT32:
            values["autocast"] = ""
        return replace(self, **values) if values else self

    def with_no_other_options(self, text: str) -> Spec:
        """This spec with the options of such a text, and the defaults of all others."""
        defaults: dict[str, Any] = {item.name: item.default for item in fields(self) if item.name in OPTIONS}
        return replace(self, **defaults).with_options(text)

    def differences(self, other: Spec) -> dict[str, tuple[Any, Any]]:
        """Field -> (own value, other value), for the fields that differ."""
        own, others = self.to_dict(), other.to_dict()
        return {key: (own[key], others[key]) for key in own if own[key] != others[key]}


def options_text(values: Mapping[str, Any]) -> str:
    """What differs from the defaults among ``OPTIONS``; other keys do not matter."""
    defaults = {item.name: item.default for item in fields(Spec)}
    chosen = {name: values[name] for name in OPTIONS if values.get(name) not in (None, defaults[name])}
    return " ".join(f"{name}={str(value).lower()}" for name, value in chosen.items())


def _default(item: Any) -> Any:
    """The default of a field, or MISSING."""
    return item.default_factory() if item.default_factory is not MISSING else item.default
