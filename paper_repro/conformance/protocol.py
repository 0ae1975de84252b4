"""What the protocol asks of every method, check by check: run on the registered methods as tests, and on a plug-in
before it is trained.

A check builds the method afresh, trains a small network (``trial``), and returns a note for the report, or None;
``Breach`` says what is wrong. They are performed in the order in which they stand here.
"""

from __future__ import annotations

import json
import time
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import parametrize

from paper_repro import models
from paper_repro.accounting import account, counted_layers, nonzero_sparsity_pct
from paper_repro.conformance import two_processes
from paper_repro.conformance.trial import (
    CLASSES,
    INPUT_SIZE,
    STEPS,
    Breach,
    Subject,
    Training,
    batch,
    network,
    small_network,
)
from paper_repro.errors import UserError
from paper_repro.methods import plugins
from paper_repro.training import measure
from paper_repro.training.loop import SPARSE_FROM_PCT

TARGET_POINTS = 0.1  # a method that is asked for a sparsity may miss it by this much, beside whole weights


Function = Callable[[Subject], str | None]
T = TypeVar("T")


@dataclass(frozen=True)
class Check:
    """One check. Runs of a method that fails a ``needed`` one would mean nothing; the others are told, and no more."""

    name: str
    sentence: str
    function: Function
    needed: bool


@dataclass(frozen=True)
class Outcome:
    """What a check found, with a note for the report."""

    name: str
    sentence: str
    needed: bool
    passed: bool
    note: str


CHECKS: list[Check] = []


def asks(sentence: str, needed: bool = False) -> Callable[[Function], Function]:
    """Register a check, named after its function."""

    def register(function: Function) -> Function:
        CHECKS.append(Check(function.__name__.strip("_").replace("_", " "), sentence, function, needed))
        return function

    return register


def perform(check: Check, subject: Subject) -> Outcome:
    """One check; an exception of a plug-in is a failure that names the plug-in's line."""

    def outcome(passed: bool, note: str | None) -> Outcome:
        return Outcome(check.name, check.sentence, check.needed, passed, note or "")

    try:
        return outcome(True, check.function(subject))
    except (Breach, UserError) as error:
        return outcome(False, str(error))
    except Exception as error:
        return outcome(False, plugins.explanation(plugins.find(subject.source), error, "be checked"))


@asks("weights keep shape and dtype and stay finite, and so does the loss", needed=True)
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
                    raise Breach(f"gives layer {name} a weight of {what} {mine} {when}; it must stay {wanted}")
            if not torch.isfinite(weight).all():
                raise Breach(f"gives layer {name} weights that are NaN or infinite {when}")
        if not torch.isfinite(loss):
            raise Breach(f"makes the loss {loss.item()} {when}")


@asks("gradients reach every parameter, and every weight that is kept", needed=True)
def gradients(subject: Subject) -> str | None:
    """After the first step and in the middle of the schedule, gradients are finite, and kept weights have one that is
    not zero. A parameter of the method may rest for a while; one that never gets a gradient is a mistake.
    """
    training = Training(subject)
    training.advance(1)
    resting = training.parameters_without_gradient()
    training.advance(STEPS // 2)
    resting_still = training.parameters_without_gradient()
    never = sorted(resting & resting_still)
    if never:
        raise Breach(f"leaves {never[0]} without a gradient, so that not even weight decay moves it")
    _require_gradients_of_kept_weights(training)
    rested = sorted(resting | resting_still)
    return f"{', '.join(rested)} had no gradient for a while, and rested" if rested else None


def _require_gradients_of_kept_weights(training: Training) -> None:
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
            raise Breach(
                f"gives {still} of the {int(kept.sum())} weights that layer {name} keeps a gradient of zero, "
                "where the loss does depend on them"
            )


@asks("state survives saving and loading, and training resumes to the last bit", needed=True)
def state(subject: Subject) -> None:
    """A network that is loaded predicts the same, and training that is resumed ends the same, to the last bit."""
    training = Training(subject)
    training.advance(STEPS // 3)
    saved, expected = training.state(), training.predictions()
    again = Training(subject, seed=1)
    again.load(saved)
    if not torch.equal(again.predictions(), expected):
        raise Breach(
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
            raise Breach(
                f"ends with another {name} when training is stopped at step {saved['step']} of {STEPS} and resumed; "
                "what it needs from one step to the next must lie in buffers or parameters"
            )


@asks("finalize() predicts what training did, and leaves no parametrization behind", needed=True)
def finalize(subject: Subject) -> None:
    """The plain module predicts what training predicted, and the original can go on."""
    training = Training(subject)
    training.advance(STEPS)
    expected = training.predictions()
    plain = training.method.finalize(training.model)
    if plain is training.model:
        raise Breach("finalizes the model in place; finalize() returns a plain copy")
    left = [name for name, module in plain.named_modules() if parametrize.is_parametrized(module)]
    if left:
        raise Breach(f"leaves parametrizations behind in the finalized network: {', '.join(left)}")
    if set(plain.state_dict()) != set(network().state_dict()):
        extra = sorted(set(plain.state_dict()) ^ set(network().state_dict()))
        raise Breach(f"finalizes to a network of other parameters and buffers: {', '.join(extra[:5])}")
    gap = (training.predictions(plain) - expected).abs().max().item()
    if not gap <= 1e-5 * max(1.0, expected.abs().max().item()):
        raise Breach(f"finalizes to a network that predicts otherwise than in training (outputs differ by {gap:.2g})")
    training.advance(1)
    if not torch.isfinite(training.predictions()).all():
        raise Breach("cannot train on after finalize(), which must leave the original as it is")


@asks("sparsity in training equals that of the finalized network", needed=True)
def sparsity(subject: Subject) -> str | None:
    """The sparsity that training sees is that of the finalized network; there is some where some was asked for."""
    training = Training(subject)
    training.advance(STEPS)
    measured = account(training.method.finalize(training.model), INPUT_SIZE).sparsity_pct
    seen = nonzero_sparsity_pct(training.model)
    if abs(seen - measured) > 1e-9:
        raise Breach(f"is {seen:.2f} % sparse in training, and {measured:.2f} % when finalized")
    asked = subject.sparsity_pct
    if asked is not None and asked >= SPARSE_FROM_PCT > measured:
        raise Breach(f"pruned nothing: asked for {asked:g} %, and the network ended {measured:.2f} % sparse")
    claim = plugins.claimed_sparsity_pct(training.method, training.model)
    if isinstance(claim, str):
        return f"its own sparsity() {claim}; ignored, sparsity is always measured"
    if claim is not None:
        off = f"off by {abs(claim - measured):.2f} points" if abs(claim - measured) >= 0.005 else "right"
        return f"its own sparsity() says {claim:.2f} %, measured are {measured:.2f} % ({off}); the claim is ignored"
    return f"measured {measured:.2f} %"


@asks(f"the sparsity asked for is reached within {TARGET_POINTS} points")
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
        raise Breach(
            f"was asked for {subject.sparsity_pct:g} % and ended at {measured:.2f} %, in a schedule of {STEPS} steps"
        )
    return None


@asks("what it tells of itself can be written to the record of a run", needed=True)
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
            raise Breach(
                f"returns from {name}() what cannot be written to the record of a run ({error}); it takes plain "
                "numbers and texts, such as tensor.item()"
            ) from error
    measure.size(method.finalize(model), INPUT_SIZE, told["thresholds"], told["balances"])


class WithUnused(nn.Sequential):
    """The network, a layer of which (``fc``) has a neighbour that no forward pass uses."""

    def forward(self, images: Tensor) -> Tensor:
        for name, module in self.named_children():
            if name != "unused":
                images = module(images)
        return images


@asks("leaves alone what is frozen or not used")
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
        raise Breach("changes the raw weights of a layer that is frozen (requires_grad=False)")
    outputs = training.predictions(training.method.finalize(training.model))
    if not torch.isfinite(loss) or not torch.isfinite(outputs).all():
        raise Breach("makes loss or outputs NaN or infinite where a layer is frozen or not used")


@asks("networks in bf16 and fp16 are pruned as those in float32")
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
                raise Breach(f"gives layer {name} of a network in {dtype} weights of another dtype, or not finite ones")
        pruned.append(nonzero_sparsity_pct(training.model))
        if pruned[0] >= SPARSE_FROM_PCT > pruned[-1]:
            raise Breach(f"prunes {pruned[0]:.2f} % of a float32 network, and {pruned[-1]:.2f} % of one in {dtype}")
        if {"sparsity_pct", "target_sparsity_pct"} & subject.arguments.keys() and abs(pruned[-1] - pruned[0]) > 1.0:
            raise Breach(f"ends at {pruned[-1]:.2f} % in {dtype}, and at {pruned[0]:.2f} % in float32")
    return f"refuses: {refused[0]}" if refused else None


@asks("survives a layer that becomes all zero")
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
        try:
            training.parameters_without_gradient()
            if not torch.isfinite(loss):
                raise Breach(f"makes the loss {loss.item()}")
        except Breach as breach:
            raise Breach(f"{breach} when all weights of a layer are zero") from breach
    loss = training.advance(STEPS - training.step)
    plain = training.method.finalize(training.model)
    counted = account(plain, INPUT_SIZE)
    if not torch.isfinite(loss) or not torch.isfinite(training.predictions(plain)).all():
        raise Breach("does not recover from a layer whose weights were all zero: loss or outputs are not finite")
    if not 0.0 <= counted.sparsity_pct <= 100.0:
        raise Breach(f"ends with a sparsity of {counted.sparsity_pct} after a layer of zeros")


@asks("works under torch.compile")
def compile_(subject: Subject) -> None:
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
    outputs_compiled, grads_compiled = _compiled(run, model)
    if not torch.allclose(outputs, outputs_compiled, rtol=1e-4, atol=1e-5):
        raise Breach("predicts otherwise under torch.compile")
    for name in sorted(grads.keys() | grads_compiled.keys()):
        if name not in grads_compiled or not torch.allclose(grads[name], grads_compiled[name], rtol=1e-3, atol=1e-5):
            raise Breach(f"gives {name} another gradient under torch.compile")


def _compiled(run: Callable[[Callable[[Tensor], Tensor]], T], model: nn.Module) -> T:
    """What ``run`` returns for the compiled model; ``Breach`` where it cannot be compiled."""
    torch._dynamo.reset()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return run(torch.compile(model, backend="aot_eager"))
    except torch._dynamo.exc.TorchDynamoException as error:
        raise Breach(f"cannot be compiled: {str(error).strip().splitlines()[0]}") from error
    finally:
        torch._dynamo.reset()


@asks("the same result on one and two processes")
def processes(subject: Subject) -> None:
    """The same weights on two processes with half the batch each as on one."""
    (difference,) = two_processes.differences([subject])
    if difference:
        raise Breach(difference)


@asks("forward pass measured against the dense network")
def cost(subject: Subject) -> str:
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
