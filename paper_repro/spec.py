"""The frozen description of one training run: everything that can change its outcome, and nothing else.

A spec has one canonical text, and its run is named after it: method, model, data set, a hash, the seed. Fields that
hold their default are left out of the text, so a field added later does not rename old runs.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import Any

from paper_repro.errors import UserError, unknown

SCHEDULES = ("epoch", "step", "drop")
LOADERS = ("folder", "ffcv")
AUTOCASTS = ("", "bf16", "fp16")
OPTIMIZERS = ("sgd", "adam", "adamw")  # adam: decay coupled to the gradient; adamw: decoupled
OPTIONS = ("loader", "autocast", "channels_last", "compile")  # what a command may choose for any row of a table


@dataclass(frozen=True, kw_only=True)
class Spec:
    """One training run. Batch size is global, over all processes; ``lr`` is the peak learning rate."""

    model: str
    dataset: str
    method: str
    epochs: int
    batch_size: int
    lr: float
    weight_decay: float
    model_args: Mapping[str, Any] = field(default_factory=dict)
    method_args: Mapping[str, Any] = field(default_factory=dict)
    optimizer: str = "sgd"
    momentum: float = 0.875  # of Adam: beta1
    nesterov: bool = False
    warmup_epochs: int = 5
    schedule: str = "epoch"  # the cosine at every "epoch", as in the paper, or every "step"; "drop": to a tenth
    label_smoothing: float = 0.1
    grad_clip_norm: float = 0.0  # the gradient of all parameters is scaled down to this norm; 0: it is not
    loader: str = "folder"  # what reads images that do not fit in memory: torchvision's "folder", or "ffcv"
    autocast: str = ""  # "bf16" or "fp16" for the network; thresholds, weights and their decay stay in float32
    channels_last: bool = False  # memory format of the network and its images
    compile: bool = False  # torch.compile
    seed: int = 0
    method_sha256: str = ""  # of a plug-in's source: an edited plug-in is another run; "" for registered methods

    def __post_init__(self) -> None:
        for name in ("model_args", "method_args"):
            object.__setattr__(self, name, _plain(getattr(self, name)))
        for name, known in (
            ("schedule", SCHEDULES),
            ("loader", LOADERS),
            ("autocast", AUTOCASTS),
            ("optimizer", OPTIMIZERS),
        ):
            if getattr(self, name) not in known:
                raise unknown(name, getattr(self, name), known)
        wrong = [
            f"{name} = {getattr(self, name)}"
            for name, bad in (
                ("epochs", self.epochs < 1),
                ("batch_size", self.batch_size < 1),
                ("lr", not self.lr > 0),
                ("momentum", not 0 <= self.momentum < 1 or (self.nesterov and not self.momentum)),
                ("nesterov", self.nesterov and self.optimizer != "sgd"),
                ("weight_decay", not self.weight_decay >= 0),
                ("warmup_epochs", not 0 <= self.warmup_epochs < self.epochs),
                ("label_smoothing", not 0 <= self.label_smoothing < 1),
                ("grad_clip_norm", not 0 <= self.grad_clip_norm < float("inf")),
                ("seed", self.seed < 0),
                ("method_sha256", not re.fullmatch("([0-9a-f]{64})?", self.method_sha256)),
            )
            if bad
        ]
        if wrong:
            raise UserError(f"spec out of range: {', '.join(wrong)}")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Spec:
        """The spec of ``to_dict``; an unknown or missing key is an error that names it."""
        known = {item.name: item for item in fields(cls)}
        for key in values:
            if key not in known:
                raise unknown("spec key", key, known)
        missing = [
            name
            for name, item in known.items()
            if item.default is MISSING and item.default_factory is MISSING and name not in values
        ]
        if missing:
            raise UserError(f"spec lacks {', '.join(missing)}")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Every field, defaults included."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    def canonical(self) -> str:
        """The text that the name is made from: JSON of the fields that differ from their defaults, sorted by key."""
        given = {}
        for item in fields(self):
            default = item.default_factory() if item.default_factory is not MISSING else item.default
            value = getattr(self, item.name)
            if default is MISSING or value != default:
                given[item.name] = value
        return json.dumps(given, sort_keys=True, separators=(",", ":"))

    @property
    def name(self) -> str:
        """The name of the run and of its directory, for example ``str-resnet50-fashion_mnist-1a2b3c4d-s0``."""
        given = json.loads(self.canonical())
        given.pop("seed", None)
        text = json.dumps(given, sort_keys=True, separators=(",", ":"))
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
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


def _plain(value: Any) -> Any:
    """Mappings as sorted dicts, sequences as lists: what JSON gives back, so that a spec survives its file."""
    if isinstance(value, Mapping):
        return {str(key): _plain(value[key]) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
