"""Autocast, memory format and compilation: what they change, and that thresholds and weights stay in float32."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import parametrize

from paper_repro import methods
from paper_repro.data.catalog import source
from paper_repro.errors import UserError
from paper_repro.interchange.networks import parameter_count, untrained
from paper_repro.methods import plugins
from paper_repro.methods.base import attached_layers
from paper_repro.spec import Spec
from paper_repro.training import step as steps
from paper_repro.training.distributed import ONE_PROCESS
from paper_repro.training.guards import Interrupted
from paper_repro.training.loop import run
from paper_repro.training.options import require_applicable
from paper_repro.training.step import Step, memory_format
from tests.method_arguments import arguments
from tests.reference.soft_threshold import soft_threshold
from tests.training.test_loop import kill_at, without_time
from tests.training.tiny import RANKS, SPEC, install, install_sequences

SPARSE = replace(SPEC, method_args={"s_init": -4.0})  # pruning from the first step on


@pytest.fixture(autouse=True)
def tiny_data(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)


def taken(spec: Spec, count: int = 2) -> tuple[nn.Module, torch.optim.SGD, Step]:
    """The network after ``count`` steps."""
    train, _, _ = source(spec.dataset).open(Path(), 16)
    torch.manual_seed(0)
    model = untrained(spec).to(memory_format=memory_format(spec)).train()
    method = methods.get(spec.method, **spec.method_args)
    method.attach(model)
    optimizer = torch.optim.SGD(method.param_groups(model, spec.weight_decay), lr=0.05, momentum=0.9, fused=True)
    step = Step(spec, model, method, optimizer, ONE_PROCESS)
    if spec.autocast == "fp16":
        step.scaler = torch.amp.GradScaler("cpu", init_scale=256.0)  # the default makes it leave out the first steps
    for index, batch in zip(range(count), train.epoch(0, 0), strict=False):
        step(*batch, index, len(train))
    return model, optimizer, step


def difference(one: nn.Module, other: nn.Module) -> float:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return max(float((a - b).detach().abs().max()) for a, b in pairs)


@pytest.mark.parametrize("norm", [0.0, 0.05])
def test_steps_are_those_of_a_plain_loop(norm: float) -> None:
    """Schedule, label smoothing, clipping, momentum and decay, as they are written down in the field."""
    spec = replace(SPARSE, method="dense", method_args={}, grad_clip_norm=norm, warmup_epochs=1)
    model, _, _ = taken(spec, count=3)
    train, _, _ = source(spec.dataset).open(Path(), 16)
    torch.manual_seed(0)
    twin = untrained(spec).train()
    groups = methods.get("dense").param_groups(twin, spec.weight_decay)
    optimizer = torch.optim.SGD(groups, lr=0.05, momentum=0.9)
    for index, (images, labels) in zip(range(3), train.epoch(0, 0), strict=False):
        for group in optimizer.param_groups:
            group["lr"] = spec.lr * (index + 1) / len(train)
        optimizer.zero_grad()
        cross_entropy(twin(images), labels, label_smoothing=0.1).backward()
        if norm:
            nn.utils.clip_grad_norm_(twin.parameters(), norm)
        optimizer.step()
    assert difference(model, twin) < 1e-6


OWN_RATE = """
from paper_repro.methods.dense import Dense

class OwnRate(Dense):
    prunes = False
    def param_groups(self, model, weight_decay):
        groups = super().param_groups(model, weight_decay)
        *rest, last = groups[0]["params"]
        return [{**groups[0], "params": rest}, {"params": [last], "lr": 1e-6}]
"""


def test_the_schedule_scales_the_rate_that_a_method_gives_a_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every step, and the same after a stop."""
    monkeypatch.setattr(methods, "PLUGINS", {})
    path = tmp_path / "own_rate.py"
    path.write_text(OWN_RATE, encoding="utf-8")
    plugin = plugins.find(str(path))
    plugins.load(plugin)
    spec = replace(SPEC, method=plugin.name, method_args={}, method_sha256=plugin.sha256, epochs=1)
    seen: list[tuple[float, ...]] = []
    take = torch.optim.SGD.step

    def watched(self: torch.optim.SGD) -> None:
        seen.append(tuple(group["lr"] for group in self.param_groups))
        take(self)

    monkeypatch.setattr(torch.optim.SGD, "step", watched)
    whole = run(spec, tmp_path / "whole", tmp_path)
    expected, seen[:] = list(seen), []
    assert len(expected) == 24 and expected[0] == (spec.lr, pytest.approx(1e-6))
    assert all(own == pytest.approx(rate * 1e-6 / spec.lr) for rate, own in expected)
    with pytest.raises(Interrupted):
        run(spec, tmp_path / "runs", tmp_path, report=kill_at(10))
    assert without_time(run(spec, tmp_path / "runs", tmp_path)) == without_time(whole)
    assert seen == expected


def test_fp16_clips_gradients_and_not_their_multiples() -> None:
    spec = replace(SPARSE, method="dense", method_args={}, weight_decay=0.0, grad_clip_norm=0.05)
    start, (plain, *_), (low, *_) = taken(spec, count=0)[0], taken(spec), taken(replace(spec, autocast="fp16"))
    assert 0.0 < difference(low, plain) < 0.3 * difference(plain, start)


def test_a_method_is_called_around_every_step_and_sees_gradients_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple] = []

    def before(self, model: nn.Module, step: int, total: int) -> None:
        seen.append(("before", step, total))

    def after(self, model: nn.Module, step: int, total: int) -> None:
        seen.append(("after", step, total))
        norms.append(float(model.fc.weight.grad.norm()))

    def update(self, model: nn.Module, optimizer: torch.optim.Optimizer, step: int, total: int) -> None:
        seen.append(("update", step, total))
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.param_groups[0]["lr"] = 0.0  # for this step: the next has the rate of the schedule again

    monkeypatch.setattr("paper_repro.methods.dense.Dense.before_step", before)
    monkeypatch.setattr("paper_repro.methods.dense.Dense.after_backward", after)
    monkeypatch.setattr("paper_repro.methods.dense.Dense.before_update", update)
    found, rates = [], []
    start = taken(replace(SPARSE, method="dense", method_args={}), count=0)[0]
    for autocast in ("", "fp16"):
        norms: list[float] = []
        state, *_ = taken(replace(SPARSE, method="dense", method_args={}, autocast=autocast))
        assert difference(state, start) == 0.0
        found.append(norms)
    assert seen == [(when, step, 3 * 6) for step in range(2) for when in ("before", "after", "update")] * 2
    assert min(rates) > 0.0
    assert found[1] == pytest.approx(found[0], rel=0.1) and min(found[0]) > 0.0


@pytest.mark.parametrize("autocast", ["bf16", "fp16"])
def test_thresholds_and_their_decay_stay_in_float32(monkeypatch: pytest.MonkeyPatch, autocast: str) -> None:
    seen: list[tuple[torch.dtype, torch.dtype]] = []
    sparse: list[tuple[Tensor, Tensor]] = []

    def watch(layer: nn.Module, _inputs: tuple, output: Tensor) -> None:
        soft = layer.parametrizations.weight[0]
        raw = layer.parametrizations.weight.original
        sparse.append((layer.weight, soft_threshold(raw.detach(), soft.threshold().detach())))
        seen.append((output.dtype, layer.weight.dtype))

    attach = methods.get("str", s_init=-4.0).__class__.attach

    def attach_and_watch(self, model: nn.Module) -> nn.Module:
        attach(self, model)
        for layer in model.modules():
            if parametrize.is_parametrized(layer, "weight"):
                layer.register_forward_hook(watch)
        return model

    monkeypatch.setattr("paper_repro.methods.str.STR.attach", attach_and_watch)
    model, optimizer, _ = taken(replace(SPARSE, autocast=autocast))
    assert {low for low, _ in seen} == {steps.DTYPES[autocast]}  # convolutions are computed in it
    assert {high for _, high in seen} == {torch.float32}
    for used, expected in sparse:  # the sparse weight is exactly that of float32: cast afterwards, if at all
        assert torch.equal(used, expected)
    for soft, raw in attached_layers(model).values():
        for parameter in (soft.s, raw):
            momentum = optimizer.state[parameter]["momentum_buffer"]
            assert parameter.dtype == parameter.grad.dtype == momentum.dtype == torch.float32
        assert soft.s.item() > -4.0  # it has decayed, by steps far below what the lower precisions resolve


@pytest.mark.parametrize("options", ["autocast=bf16", "autocast=fp16", "channels_last=true"])
def test_options_change_little(options: str) -> None:
    losses = []
    for spec in (SPARSE, SPARSE.with_options(options)):
        _, _, step = taken(spec, count=0)
        train, _, _ = source(spec.dataset).open(Path(), 16)
        losses.append(step(*next(train.epoch(0, 0)), 0, len(train)).item())
    assert losses[1] == pytest.approx(losses[0], rel=3e-2 if "autocast" in options else 1e-5)
    assert (losses[0] != losses[1]) or "autocast" not in options


@pytest.mark.parametrize(
    "method", [name for name, entry in methods.METHODS.items() if entry.drops == "weights" and "str" not in name]
)
def test_methods_prune_as_much_with_channels_last(method: str) -> None:
    spec = replace(SPARSE, method=method, method_args=arguments(method, 80.0), epochs=1)
    zeros = []
    for options in ("", "channels_last=true"):
        model, _, step = taken(spec.with_options(options), count=6)
        plain = step.method.finalize(model)
        zeros.append(sum(int((weight == 0).sum()) for weight in plain.parameters() if weight.ndim == 4))
        weight = next(weight for weight in plain.parameters() if weight.ndim == 4 and min(weight.shape[:2]) > 1)
        assert weight.is_contiguous(memory_format=torch.channels_last) == bool(options)
    assert zeros[1] == pytest.approx(zeros[0], rel=0.01)
    assert (zeros[0] > 0) == (method != "dense")


def test_compiled_steps_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Captured and differentiated as one graph; without the code generator, which needs a C++ compiler."""
    compile_, compiled = torch.compile, []

    def traced(network: nn.Module) -> object:
        compiled.append(network)
        return compile_(network, backend="aot_eager")

    monkeypatch.setattr(steps.torch, "compile", traced)
    plain, _, _ = taken(SPARSE)
    assert not compiled
    other, _, step = taken(replace(SPARSE, compile=True))
    assert compiled == [other] and step.network is not other
    assert difference(plain, other) < 1e-4


def test_fp16_goes_on_with_its_scale(tmp_path: Path) -> None:
    spec = replace(SPEC, autocast="fp16", epochs=1)
    whole = run(spec, tmp_path / "whole", tmp_path)
    with pytest.raises(Interrupted):
        run(spec, tmp_path / "runs", tmp_path, report=kill_at(10))
    (file,) = tmp_path.glob("runs/*/step-*.pt")
    state = torch.load(file, weights_only=True)
    assert state["scaler"]["scale"] >= 1.0 and state["scaler"]["_growth_tracker"] > 0
    assert without_time(run(spec, tmp_path / "runs", tmp_path)) == without_time(whole)


@pytest.mark.parametrize(
    "spec, message",
    [
        (replace(SPEC, loader="ffcv"), "Fashion-MNIST, which is kept in memory; leave --loader out"),
        (replace(RANKS, channels_last=True), "has none.*leave --channels-last out"),
        (replace(RANKS, autocast="bf16"), "computed in float32; leave --autocast out"),
        (replace(SPEC, method="rigl", method_args={"sparsity_pct": 80.0}, autocast="fp16"), "take --autocast bf16"),
    ],
)
def test_options_without_effect_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: Spec, message: str
) -> None:
    install_sequences(monkeypatch)
    with pytest.raises(UserError, match=message):
        run(spec, tmp_path, tmp_path)
    assert not list(tmp_path.iterdir())


def test_options_that_have_one_are_not() -> None:
    require_applicable(replace(SPEC, autocast="fp16", channels_last=True, compile=True))
    require_applicable(replace(SPEC, dataset="imagenet1k", loader="ffcv"))


def test_parameters_are_counted_without_any() -> None:
    assert parameter_count(SPEC) == sum(parameter.numel() for parameter in untrained(SPEC).parameters())


def test_autocast_is_off_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps.torch, "autocast", partial(pytest.fail, "autocast was entered"))
    taken(SPARSE, count=1)
