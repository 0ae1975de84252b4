"""The frozen description of one training run: everything that can change its outcome, and nothing else.

A spec has one canonical text, and its run is named after it: method, model, data set, a hash, the seed. Fields that
hold their default are left out of the text, so a field added later does not rename old runs.

A hyperparameter is added here, as a field with its type, its default and its range. A recipe may then set it for a
tier, a method or a row (``experiments/recipe.py``).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, get_args, get_type_hints

from paper_repro.errors import UserError, unknown

if TYPE_CHECKING:
    from pydantic import BaseModel

Loader = Literal["folder", "ffcv", "dali"]  # what reads images that do not fit in memory
Autocast = Literal["", "bf16", "fp16"]
LOADERS, AUTOCASTS = get_args(Loader), get_args(Autocast)
OPTIONS = ("loader", "autocast", "channels_last", "compile")  # what a command may choose for any row of a table


class SpecError(UserError):
    """A value that a spec cannot have: ``key`` names it, and ``problem`` says what is wrong."""

    def __init__(self, key: str, value: Any, problem: str) -> None:
        super().__init__(f"spec out of range: {key} = {value}: {problem}")
        self.key, self.value, self.problem = key, value, problem


@dataclass(frozen=True, kw_only=True)
class Spec:
    """One training run. Batch size is global, over all processes; ``lr`` is the peak learning rate. Metadata of a field
    say its range, in pydantic's words; no number may be infinite or NaN.
    """

    model: str
    dataset: str
    method: str
    epochs: int = field(metadata={"ge": 1})
    batch_size: int = field(metadata={"ge": 1})
    lr: float = field(metadata={"gt": 0})
    weight_decay: float = field(metadata={"ge": 0})
    model_args: Mapping[str, Any] = field(default_factory=dict)
    method_args: Mapping[str, Any] = field(default_factory=dict)
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"  # adam: decay coupled to the gradient; adamw: decoupled
    momentum: float = field(default=0.875, metadata={"ge": 0, "lt": 1})  # of Adam: beta1
    nesterov: bool = False
    warmup_epochs: int = field(default=5, metadata={"ge": 0})
    # the cosine at every "epoch", as in the paper, or every "step"; "drop": to a tenth
    schedule: Literal["epoch", "step", "drop"] = "epoch"
    label_smoothing: float = field(default=0.1, metadata={"ge": 0, "lt": 1})
    grad_clip_norm: float = field(default=0.0, metadata={"ge": 0})  # of all parameters' gradient; 0: not clipped
    loader: Loader = "folder"
    autocast: Autocast = ""  # of the network; thresholds, weights and their decay stay in float32
    channels_last: bool = False  # memory format of the network and its images
    compile: bool = False  # torch.compile
    seed: int = field(default=0, metadata={"ge": 0})
    # of a plug-in's source: an edited plug-in is another run; "" for registered methods
    method_sha256: str = field(default="", metadata={"pattern": "^([0-9a-f]{64})?$"})

    def __post_init__(self) -> None:
        given = {item.name: _plain(getattr(self, item.name)) for item in fields(self)}
        for name, value in _validated(type(self), given).items():
            object.__setattr__(self, name, value)
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
        for key in values:
            if key not in known:
                raise unknown("spec key", key, known)
        missing = [name for name, item in known.items() if _default(item) is MISSING and name not in values]
        if missing:
            raise UserError(f"spec lacks {', '.join(missing)}")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Every field, defaults included."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    def canonical(self, without: Iterable[str] = ()) -> str:
        """JSON of the fields that differ from their defaults, sorted by key: what the name is made from."""
        given = {item.name: getattr(self, item.name) for item in fields(self) if item.name not in without}
        defaults = {item.name: _default(item) for item in fields(self)}
        said = {name: value for name, value in given.items() if value != defaults[name]}
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
        """This spec with the options of such a text, its others as they are."""
        values: dict[str, Any] = {}
        for name, _, value in (part.partition("=") for part in text.split()):
            if name not in OPTIONS:
                raise unknown("option of a run", name, OPTIONS)
            values[name] = value == "true" if isinstance(getattr(self, name), bool) else value
        return replace(self, **values) if values else self

    def differences(self, other: Spec) -> dict[str, tuple[Any, Any]]:
        """Field -> (own value, other value), for the fields that differ."""
        mine, theirs = self.to_dict(), other.to_dict()
        return {key: (mine[key], theirs[key]) for key in mine if mine[key] != theirs[key]}


def options_text(values: Mapping[str, Any]) -> str:
    """What differs from the defaults among ``OPTIONS``; other keys do not matter."""
    defaults = {item.name: item.default for item in fields(Spec)}
    chosen = {name: values[name] for name in OPTIONS if values.get(name) not in (None, defaults[name])}
    return " ".join(f"{name}={str(value).lower()}" for name, value in chosen.items())


def _default(item: Any) -> Any:
    """The default of a field, or MISSING."""
    return item.default_factory() if item.default_factory is not MISSING else item.default


@lru_cache
def _model(kind: type[Any]) -> type[BaseModel]:
    """What pydantic makes of the types and ranges of a spec. It takes a quarter of a second to import, and whoever only
    reads this file does not pay it.
    """
    from pydantic import ConfigDict, Field, create_model

    types = get_type_hints(kind)
    columns: dict[str, Any] = {item.name: (types[item.name], Field(**item.metadata)) for item in fields(kind)}
    return create_model(kind.__name__, __config__=ConfigDict(strict=True, allow_inf_nan=False), **columns)


def _validated(kind: type[Spec], values: Mapping[str, Any]) -> dict[str, Any]:
    """``values``, whole numbers where fractions may stand made floats; SpecError for the first that does not fit."""
    from pydantic import ValidationError

    try:
        model = _model(kind)  # type: ignore[arg-type]  # mypy takes the class for one of its instances
        return model(**values).__dict__
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key, value = str(first["loc"][0]), first["input"]
        choices = get_args(get_type_hints(kind)[key]) if first["type"] == "literal_error" else ()
        problem = str(unknown(key, value, choices)) if choices else first["msg"]
        raise SpecError(key, value, problem) from None


def _plain(value: Any) -> Any:
    """Mappings as sorted dicts, sequences as lists: what JSON gives back, so that a spec survives its file."""
    if isinstance(value, Mapping):
        return {str(key): _plain(value[key]) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
