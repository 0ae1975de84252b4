"""What every method must do, whatever it is: checks that run on the registered methods as tests, and on a plug-in
before it is trained.

A check builds the method afresh, trains a small network of convolutions, batch norms and a fully connected layer for
a few steps, and returns a note for the report, or None; ``Broken`` says what is wrong. Activations are smooth and the
loss reaches every layer, so that a weight without gradient is the method's doing.
"""

from __future__ import annotations

import copy
import json
import math
import time
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import parametrize

from paper_repro import methods, models
from paper_repro.accounting import account, counted_layers, nonzero_sparsity_pct
from paper_repro.errors import UserError
from paper_repro.methods import plugins
from paper_repro.methods.base import Method
from paper_repro.training import measure
from paper_repro.training.schedule import scaled

STEPS = 12
LR = 0.05
INPUT_SIZE = (1, 8, 8)
CLASSES = 10
TARGET_POINTS = 0.1  # a method that is asked for a sparsity may miss it by this much, beside whole weights
SPARSE_FROM_PCT = 1.0


class Broken(Exception):
    """What a method does wrong, as the rest of a sentence that begins with its name."""


@dataclass(frozen=True)
class Subject:
    """A method to check: what ``plugins.find`` takes, and its arguments."""

    source: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def build(self) -> Method:
        """A new one, which knows nothing of those before it."""
        plugin = plugins.find(self.source)
        if plugin.sha256 and plugins.loaded(plugin.name) != plugin:
            plugins.load(plugin)
        return methods.get(plugin.name, **self.arguments)

    @property
    def sparsity_pct(self) -> float | None:
        """The sparsity that it is asked for and must reach; None for methods that are steered by other means."""
        return self.arguments.get("sparsity_pct")


@dataclass(frozen=True)
class Check:
    """One check. Runs of a method that fails a ``needed`` one would mean nothing; the others are told, and no more."""

    name: str
    sentence: str
    function: Callable[[Subject], str | None]
    needed: bool


@dataclass(frozen=True)
class Outcome:
    """What a check found, with a note for the report."""

    name: str
    sentence: str
    needed: bool
    passed: bool
    note: str


def block(convolution: nn.Conv2d) -> nn.Module:
    """A convolution, batch norm, and an activation whose slope is zero nowhere."""
    return nn.Sequential(OrderedDict(conv=convolution, bn=nn.BatchNorm2d(convolution.out_channels), act=nn.SiLU()))


def network(seed: int = 0, dtype: torch.dtype = torch.float32) -> nn.Module:
    """Some 20,000 weights in five layers, a depthwise one among them."""
    torch.manual_seed(seed)
    layers = nn.Sequential(
        OrderedDict(
            stem=block(nn.Conv2d(1, 16, 3, padding=1, bias=False)),
            wide=block(nn.Conv2d(16, 48, 3, stride=2, padding=1, bias=False)),
            depthwise=block(nn.Conv2d(48, 48, 3, padding=1, groups=48, bias=False)),
            pointwise=block(nn.Conv2d(48, 224, 1, bias=False)),
            pool=nn.AdaptiveAvgPool2d(1),
            flat=nn.Flatten(),
            fc=nn.Linear(224, CLASSES),
        )
    )
    return layers.to(dtype)


def small_network(seed: int = 0) -> nn.Module:
    """One of two layers, for what takes long."""
    torch.manual_seed(seed)
    stem = block(nn.Conv2d(1, 16, 3, padding=1, bias=False))
    return nn.Sequential(OrderedDict(stem=stem, flat=nn.Flatten(), fc=nn.Linear(1024, CLASSES)))


def batch(step: int = 0, size: int = 16) -> tuple[Tensor, Tensor]:
    """Images (size, 1, 8, 8) and labels, a function of the step alone."""
    generator = torch.Generator().manual_seed(step)
    labels = torch.randint(0, CLASSES, (size,), generator=generator)
    return torch.randn(size, *INPUT_SIZE, generator=generator) + labels.view(-1, 1, 1, 1) / CLASSES, labels


class Training:
    """A network with a freshly built method, and SGD with a cosine schedule on it."""

    def __init__(self, subject: Subject, seed: int = 0, make: Callable[[int], nn.Module] = network) -> None:
        self.method, self.model, self.step = subject.build(), make(seed), 0
        self.dtype = next(self.model.parameters()).dtype
        with _same_shape():
            attached = self.method.attach(self.model)
        if attached is not self.model:
            raise Broken("returns something else than the model from attach(); it parametrizes in place")
        self.optimizer = torch.optim.SGD(self.method.param_groups(self.model, 1e-3), lr=LR, momentum=0.9)
        self.rates = [group["lr"] for group in self.optimizer.param_groups]

    def advance(self, steps: int, forward: nn.Module | None = None, part: slice = slice(None)) -> Tensor:
        """Train for ``steps`` steps, as the training loop does; the loss of the last. ``forward`` wraps the model,
        ``part`` is the share of each batch that this process has.
        """
        loss = torch.tensor(0.0)
        for _ in range(steps):
            rate = LR * 0.5 * (1.0 + math.cos(math.pi * min(self.step / STEPS, 1.0)))
            for group, own in zip(self.optimizer.param_groups, self.rates, strict=True):
                group["lr"] = scaled(rate, own, LR)
            self.method.before_step(self.model, self.step, STEPS)
            images, labels = batch(self.step)
            loss = cross_entropy((forward or self.model)(images[part].to(self.dtype)).float(), labels[part])
            self.optimizer.zero_grad()
            loss.backward()
            self.method.after_backward(self.model, self.step, STEPS)
            self.optimizer.step()
            self.step += 1
        return loss.detach()

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return copy.deepcopy(
            {
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "step": self.step,
                "rng": torch.get_rng_state(),
            }
        )

    def load(self, state: Mapping[str, Any]) -> None:
        state = copy.deepcopy(dict(state))
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
        torch.set_rng_state(state["rng"])

    @torch.no_grad()
    def predictions(self, model: nn.Module | None = None) -> Tensor:
        """Outputs in eval mode; the mode is put back."""
        model = self.model if model is None else model
        was_training = model.training
        outputs: Tensor = model.eval()(batch()[0].to(self.dtype))
        model.train(was_training)
        return outputs

    def raw_weights(self, layer: str) -> list[nn.Parameter]:
        """What the optimizer sees of a layer's weight: one parameter as a rule."""
        module = counted_layers(self.model)[layer]
        if not parametrize.is_parametrized(module, "weight"):
            return [cast(nn.Parameter, module.weight)]
        held = cast(Any, module.parametrizations).weight
        return [parameter for name, parameter in held.named_parameters() if name.startswith("original")]


def weights(subject: Subject) -> None:
    """Shape, dtype and finiteness of every weight, and a finite loss, at every step."""
    dense = {name: layer.weight.detach() for name, layer in counted_layers(network()).items()}
    training = Training(subject)
    while training.step < STEPS:
        loss = training.advance(1)
        when = f"at step {training.step} of {STEPS}"
        for name, layer in counted_layers(training.model).items():
            weight = layer.weight.detach()
            for what, mine, wanted in (
                ("shape", tuple(weight.shape), tuple(dense[name].shape)),
                ("dtype", weight.dtype, dense[name].dtype),
            ):
                if mine != wanted:
                    raise Broken(f"gives layer {name} a weight of {what} {mine} {when}; it must stay {wanted}")
            if not torch.isfinite(weight).all():
                raise Broken(f"gives layer {name} weights that are NaN or infinite {when}")
        if not torch.isfinite(loss):
            raise Broken(f"makes the loss {loss.item()} {when}")


def gradients(subject: Subject) -> str | None:
    """After the first step and in the middle of the schedule, gradients are finite, and kept weights have one that is
    not zero. A parameter of the method may rest for a while; one that never gets a gradient is a mistake.
    """
    training = Training(subject)
    resting: list[set[str]] = []
    for steps in (1, STEPS // 2):
        training.advance(steps)
        parameters = dict(training.model.named_parameters())
        resting.append({name for name, item in parameters.items() if item.requires_grad and item.grad is None})
        for name, parameter in parameters.items():
            if parameter.grad is not None and not torch.isfinite(parameter.grad).all():
                raise Broken(f"gives {name} a gradient that is NaN or infinite")
    never = sorted(set.intersection(*resting))
    if never:
        raise Broken(f"leaves {never[0]} without a gradient, so that not even weight decay moves it")
    images, labels = batch(training.step)
    training.optimizer.zero_grad()
    with parametrize.cached():  # the weights of this forward pass are those whose gradients are looked at
        used = {name: layer.weight for name, layer in counted_layers(training.model).items()}
        for weight in used.values():
            weight.retain_grad()
        cross_entropy(training.model(images), labels).backward()
    for name, weight in used.items():
        raw = training.raw_weights(name)
        if len(raw) != 1 or raw[0].shape != weight.shape or raw[0].grad is None or weight.grad is None:
            continue
        kept = (weight.detach() != 0) & (weight.grad != 0)
        still = int((raw[0].grad[kept] == 0).sum())
        if still:
            raise Broken(
                f"gives {still} of the {int(kept.sum())} weights that layer {name} keeps a gradient of zero, "
                "where the loss does depend on them"
            )
    rested = sorted(set.union(*resting))
    return f"{', '.join(rested)} had no gradient for a while, and rested" if rested else None


def record(subject: Subject) -> None:
    """What a method tells of itself can be written down, as it is at every record of a training."""
    training = Training(subject)
    training.advance(STEPS // 2)
    method, model = training.method, training.model
    told = {name: getattr(method, name)(model) for name in ("thresholds", "balances", "milestone")}
    for name, kind in (("thresholds", Mapping), ("balances", Mapping), ("milestone", str | None)):
        try:
            if not isinstance(told[name], kind):
                raise TypeError(f"a {type(told[name]).__name__}")
            json.dumps(told[name])
        except (TypeError, ValueError) as error:
            raise Broken(
                f"returns from {name}() what cannot be written to the record of a run ({error}); it takes plain "
                "numbers and texts, such as tensor.item()"
            ) from error
    measure.size(method.finalize(model), INPUT_SIZE, told["thresholds"], told["balances"])


def state(subject: Subject) -> None:
    """A network that is loaded predicts the same, and training that is resumed ends the same, to the last bit."""
    training = Training(subject)
    training.advance(STEPS // 3)
    saved, expected = training.state(), training.predictions()
    again = Training(subject, seed=1)
    again.load(saved)
    if not torch.equal(again.predictions(), expected):
        raise Broken(
            "predicts otherwise after its state_dict was saved and loaded in the middle of the schedule; "
            "keep masks and thresholds in buffers or parameters"
        )
    torch.set_rng_state(saved["rng"])
    training.advance(STEPS - training.step)
    uninterrupted = training.state()["model"]
    again.load(saved)
    again.advance(STEPS - again.step)
    for name, value in again.state()["model"].items():
        if not torch.equal(value, uninterrupted[name]):
            raise Broken(
                f"ends with another {name} when training is stopped at step {saved['step']} of {STEPS} and resumed; "
                "what it needs from one step to the next must lie in buffers or parameters"
            )


def finalize(subject: Subject) -> None:
    """The plain module predicts what training predicted, and the original can go on."""
    training = Training(subject)
    training.advance(STEPS)
    expected = training.predictions()
    plain = training.method.finalize(training.model)
    if plain is training.model:
        raise Broken("finalizes the model in place; finalize() returns a plain copy")
    left = [name for name, module in plain.named_modules() if parametrize.is_parametrized(module)]
    if left:
        raise Broken(f"leaves parametrizations behind in the finalized network: {', '.join(left)}")
    if set(plain.state_dict()) != set(network().state_dict()):
        extra = sorted(set(plain.state_dict()) ^ set(network().state_dict()))
        raise Broken(f"finalizes to a network of other parameters and buffers: {', '.join(extra[:5])}")
    gap = (training.predictions(plain) - expected).abs().max().item()
    if not gap <= 1e-5 * max(1.0, expected.abs().max().item()):
        raise Broken(f"finalizes to a network that predicts otherwise than in training (outputs differ by {gap:.2g})")
    training.advance(1)
    if not torch.isfinite(training.predictions()).all():
        raise Broken("cannot train on after finalize(), which must leave the original as it is")


def sparsity(subject: Subject) -> str | None:
    """The sparsity that training sees is that of the finalized network; there is some where some was asked for."""
    training = Training(subject)
    training.advance(STEPS)
    measured = account(training.method.finalize(training.model), INPUT_SIZE).sparsity_pct
    seen = nonzero_sparsity_pct(training.model)
    if abs(seen - measured) > 1e-9:
        raise Broken(f"is {seen:.2f} % sparse in training, and {measured:.2f} % when finalized")
    asked = subject.sparsity_pct
    if asked is not None and asked >= SPARSE_FROM_PCT > measured:
        raise Broken(f"pruned nothing: asked for {asked:g} %, and the network ended {measured:.2f} % sparse")
    claim = plugins.claimed_sparsity_pct(training.method, training.model)
    if isinstance(claim, str):
        return f"its own sparsity() {claim}; ignored, sparsity is always measured"
    if claim is not None:
        off = f"off by {abs(claim - measured):.2f} points" if abs(claim - measured) >= 0.005 else "right"
        return f"its own sparsity() says {claim:.2f} %, measured are {measured:.2f} % ({off}); the claim is ignored"
    return f"measured {measured:.2f} %"


def target(subject: Subject) -> str | None:
    """What was asked for is reached at the end of the schedule."""
    if subject.sparsity_pct is None:
        return "takes no sparsity_pct"
    training = Training(subject)
    training.advance(STEPS)
    measured = nonzero_sparsity_pct(training.model)
    layers = counted_layers(training.model).values()
    rounding = 100.0 * len(layers) / sum(layer.weight.numel() for layer in layers)
    if abs(measured - subject.sparsity_pct) > TARGET_POINTS + rounding:
        raise Broken(
            f"was asked for {subject.sparsity_pct:g} % and ended at {measured:.2f} %, in a schedule of {STEPS} steps"
        )
    return None


def compiled(subject: Subject) -> None:
    """Outputs and gradients under torch.compile are those without."""
    training = Training(subject, make=small_network)
    training.advance(STEPS // 2)
    model, (images, labels) = training.model, batch()
    model.eval()  # the running statistics of batch norm stand still

    def run(network: Callable[[Tensor], Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        model.zero_grad()
        outputs = network(images)
        cross_entropy(outputs, labels).backward()
        grads = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        return outputs.detach(), grads

    outputs, grads = run(model)
    torch._dynamo.reset()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs, their_grads = run(torch.compile(model, backend="aot_eager"))
    except torch._dynamo.exc.TorchDynamoException as error:
        raise Broken(f"cannot be compiled: {str(error).strip().splitlines()[0]}") from error
    finally:
        torch._dynamo.reset()
    if not torch.allclose(outputs, theirs, rtol=1e-4, atol=1e-5):
        raise Broken("predicts otherwise under torch.compile")
    for name in sorted(grads.keys() | their_grads.keys()):
        if name not in their_grads or not torch.allclose(grads[name], their_grads[name], rtol=1e-3, atol=1e-5):
            raise Broken(f"gives {name} another gradient under torch.compile")


def zero_layer(subject: Subject) -> None:
    """A layer whose weights all become zero in the middle of training."""
    training = Training(subject)
    training.advance(STEPS // 3)
    for _ in range(3):
        with torch.no_grad():
            for raw in training.raw_weights("wide.conv"):
                raw.zero_()
                training.optimizer.state.pop(raw, None)
        loss = training.advance(1)
        if not torch.isfinite(loss):
            raise Broken(f"makes the loss {loss.item()} when all weights of a layer are zero")
        for name, parameter in training.model.named_parameters():
            if parameter.grad is not None and not torch.isfinite(parameter.grad).all():
                raise Broken(f"gives {name} a gradient that is NaN or infinite when all weights of a layer are zero")
    loss = training.advance(STEPS - training.step)
    plain = training.method.finalize(training.model)
    report = account(plain, INPUT_SIZE)
    if not torch.isfinite(loss) or not torch.isfinite(training.predictions(plain)).all():
        raise Broken("does not recover from a layer whose weights were all zero: loss or outputs are not finite")
    if not 0.0 <= report.sparsity_pct <= 100.0:
        raise Broken(f"ends with a sparsity of {report.sparsity_pct} after a layer of zeros")


class WithUnused(nn.Sequential):
    """The network, a layer of which (``fc``) has a neighbour that no forward pass uses."""

    def forward(self, images: Tensor) -> Tensor:
        for name, module in self.named_children():
            if name != "unused":
                images = module(images)
        return images


def frozen(subject: Subject) -> None:
    """Layers that get no gradient, because they are frozen or not used, stay as they are and stop nothing."""

    def make(seed: int) -> nn.Module:
        model = WithUnused(OrderedDict(network(seed).named_children()))
        model.unused = nn.Linear(224, CLASSES)
        model.get_submodule("wide.conv").requires_grad_(False)
        return model

    training = Training(subject, make=make)
    before = [raw.detach().clone() for raw in training.raw_weights("wide.conv")]
    loss = training.advance(STEPS)
    if any(not torch.equal(*pair) for pair in zip(before, training.raw_weights("wide.conv"), strict=True)):
        raise Broken("changes the raw weights of a layer that is frozen (requires_grad=False)")
    outputs = training.predictions(training.method.finalize(training.model))
    if not torch.isfinite(loss) or not torch.isfinite(outputs).all():
        raise Broken("makes loss or outputs NaN or infinite where a layer is frozen or not used")


def precision(subject: Subject) -> str | None:
    """Networks in bf16 and fp16 throughout: weights stay finite and of their dtype, and are pruned as in float32."""
    pruned, refused = [], []
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        try:
            training = Training(subject, make=partial(network, dtype=dtype))
        except UserError as error:
            refused.append(str(error))
            continue
        training.advance(STEPS)
        for name, layer in counted_layers(training.model).items():
            if layer.weight.dtype != dtype or not torch.isfinite(layer.weight).all():
                raise Broken(f"gives layer {name} of a network in {dtype} weights of another dtype, or not finite ones")
        pruned.append(nonzero_sparsity_pct(training.model))
        if pruned[0] >= SPARSE_FROM_PCT > pruned[-1]:
            raise Broken(f"prunes {pruned[0]:.2f} % of a float32 network, and {pruned[-1]:.2f} % of one in {dtype}")
        if {"sparsity_pct", "target_sparsity_pct"} & subject.arguments.keys() and abs(pruned[-1] - pruned[0]) > 1.0:
            raise Broken(f"ends at {pruned[-1]:.2f} % in {dtype}, and at {pruned[0]:.2f} % in float32")
    return f"refuses: {refused[0]}" if refused else None


def forward_cost(subject: Subject) -> str:
    """How much slower a forward pass is than the dense network's; told, not judged."""

    def seconds(model: nn.Module, runs: int = 5) -> float:
        images = torch.randn(16, 1, 28, 28, generator=torch.Generator().manual_seed(0))
        best = float("inf")
        for _ in range(runs):
            began = time.perf_counter()
            model(images)
            best = min(best, time.perf_counter() - began)
        return best

    def resnet() -> nn.Module:
        torch.manual_seed(0)
        return models.get("resnet18", num_classes=CLASSES, width=8, in_channels=1)

    sparse = subject.build()
    model = sparse.attach(resnet())
    for step in range(STEPS // 2):
        sparse.before_step(model, step, STEPS)
    ratio = seconds(model) / seconds(resnet())
    return (
        f"forward pass of a small ResNet18, where weights cost more than images do: {ratio:.1f} times the dense one's"
    )


def two_processes(subject: Subject) -> None:
    """The same weights on two processes with half the batch each as on one."""
    from paper_repro.conformance.two_processes import differences

    (difference,) = differences([subject])
    if difference:
        raise Broken(difference)


CHECKS = (
    Check("weights", "weights keep shape and dtype and stay finite, and so does the loss", weights, True),
    Check("gradients", "gradients reach every parameter, and every weight that is kept", gradients, True),
    Check("state", "state survives saving and loading, and training resumes to the last bit", state, True),
    Check("finalize", "finalize() predicts what training did, and leaves no parametrization behind", finalize, True),
    Check("sparsity", "sparsity in training equals that of the finalized network", sparsity, True),
    Check("target", f"the sparsity asked for is reached within {TARGET_POINTS} points", target, False),
    Check("record", "what it tells of itself can be written to the record of a run", record, True),
    Check("frozen", "leaves alone what is frozen or not used", frozen, False),
    Check("precision", "networks in bf16 and fp16 are pruned as those in float32", precision, False),
    Check("zero layer", "survives a layer that becomes all zero", zero_layer, False),
    Check("compile", "works under torch.compile", compiled, False),
    Check("processes", "the same result on one and two processes", two_processes, False),
    Check("cost", "forward pass measured against the dense network", forward_cost, False),
)


def perform(check: Check, subject: Subject) -> Outcome:
    """One check; an exception of a plug-in is a failure that names the plug-in's line."""

    def outcome(passed: bool, note: str | None) -> Outcome:
        return Outcome(check.name, check.sentence, check.needed, passed, note or "")

    try:
        return outcome(True, check.function(subject))
    except (Broken, UserError) as error:
        return outcome(False, str(error))
    except Exception as error:
        return outcome(False, plugins.explanation(plugins.find(subject.source), error, "be checked"))


class _same_shape:
    """torch's own refusal of a weight of another shape or dtype, in the words of the other checks."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        text = str(error)
        for what in ("dtype", "shape"):
            if isinstance(error, ValueError | RuntimeError) and f"may not change the {what}" in text:
                sizes = "; ".join(line.strip() for line in text.splitlines()[1:] if ":" in line)
                raise Broken(f"returns a weight of another {what} from its parametrization ({sizes})") from error
