"""FastGRNN: its size, and that the fused recurrence is the loop, values and gradients alike."""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import numba
import numpy as np
import pytest
import torch
from numba.core.caching import IndexDataCacheFile
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from paper_repro import methods, models
from paper_repro.accounting import account, ranks
from paper_repro.errors import UserError
from paper_repro.models.fastgrnn import FastGRNN
from tests.reference import fastgrnn as reference

RANKS = [{}, {"rank_w": 3, "rank_u": 5}, {"rank_w": 9, "rank_u": 12}, {"rank_w": 9, "rank_u": 3}]  # the last: thin


def network(gate: str, ranks: dict[str, int], dtype: torch.dtype = torch.float64) -> FastGRNN:
    """A small one in which no term of a gradient vanishes."""
    torch.manual_seed(0)
    model = models.fastgrnn(num_classes=3, in_channels=9, hidden=12, gate=gate, **ranks)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)  # with larger ones a tanh gate is chaotic, and rounding shows
    return model.to(dtype)


def gradients(model: FastGRNN, outputs: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    weights = torch.linspace(-1.0, 2.0, outputs.numel(), dtype=outputs.dtype).view_as(outputs)
    (outputs * weights).sum().backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}


@pytest.mark.parametrize("steps", [3, 16, 17, 40])  # less than a chunk, whole chunks, and some more
@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize("gate", ["sigmoid", "tanh"])
def test_fused_recurrence_is_the_loop(gate: str, ranks: dict[str, int], steps: int) -> None:
    model = network(gate, ranks)
    inputs = torch.randn(4, steps, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = reference.logits(model, inputs)
    assert torch.allclose(model(inputs), expected, rtol=1e-10, atol=1e-10)
    with torch.no_grad():  # evaluation takes another way
        assert torch.allclose(model(inputs), expected, rtol=1e-10, atol=1e-10)
    theirs, ours = gradients(model, expected), gradients(model, model(inputs))
    assert ours.keys() == theirs.keys() == dict(model.named_parameters()).keys()
    for name, gradient in theirs.items():
        assert gradient.abs().max() > 1e-6, name
        assert torch.allclose(ours[name], gradient, rtol=1e-9, atol=1e-11), name


@pytest.mark.parametrize("steps", [3, 16, 17, 40])
@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize("gate", ["sigmoid", "tanh"])
def test_compiled_recurrence_is_the_loop(gate: str, ranks: dict[str, int], steps: int) -> None:
    """Float32 is compiled on a CPU. It is as near to the loop in float64 as the loop itself is in float32: a network
    with a tanh gate makes rounding a hundred times as large within 40 steps.
    """
    model = network(gate, ranks)
    inputs = torch.randn(4, steps, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    exact = gradients(model, reference.logits(model, inputs))
    model.float()

    def errors(outputs: Tensor) -> dict[str, float]:
        found = gradients(model, outputs)
        return {name: float((found[name] - value).abs().max() / value.abs().max()) for name, value in exact.items()}

    loops, ours = errors(reference.logits(model, inputs.float())), errors(model(inputs.float()))
    bound = 10.0 * (max(loops.values()) + 1e-6)
    assert bound < 2e-3
    assert all(error <= bound for error in ours.values()), (ours, bound)


@pytest.mark.parametrize("gate", ["sigmoid", "tanh"])
def test_compiled_recurrence_at_full_size(gate: str) -> None:
    torch.manual_seed(0)
    model = models.fastgrnn(gate=gate)
    inputs = torch.randn(20, 128, 9)
    theirs = gradients(model, reference.logits(model, inputs))
    ours = gradients(model, model(inputs))
    for name, gradient in theirs.items():
        assert (ours[name] - gradient).abs().max() <= 1e-4 * gradient.abs().max(), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_float32_is_compiled_on_the_cpu(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    from paper_repro.models import fastgrnn_kernels as kernels

    called = []

    def counted(name: str) -> Callable[..., None]:
        kernel = getattr(kernels, name)
        return lambda *args: (called.append(name), kernel(*args))

    for name in ("forward_step", "backward_step"):
        monkeypatch.setattr(kernels, name, counted(name))
    model = network("tanh", {}, dtype)
    gradients(model, model(torch.randn(4, 20, 9, dtype=dtype)))
    assert called == (["forward_step"] * 20 + ["backward_step"] * 20 if dtype == torch.float32 else [])


def doubled(x) -> None:
    for i in range(len(x)):
        x[i] *= 2.0


@contextmanager
def disk_full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")
    yield


@pytest.mark.parametrize("trouble", ["none", "empty index", "cut code", "full disk", "no place"])
def test_kernels_are_compiled_whatever_the_cache_is_like(
    trouble: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here of a kernel that is compiled faster than FastGRNN's, but in the same way."""
    from paper_repro.models.fastgrnn_kernels import VECTOR, compiled

    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    if trouble == "full disk":
        monkeypatch.setattr(IndexDataCacheFile, "_open_for_write", disk_full)
    if trouble == "no place":
        monkeypatch.setattr(numba.config, "CACHE_LOCATOR_CLASSES", "ZipCacheLocator")  # for code in zip files alone
    compiled(VECTOR)(doubled)
    files = {path.suffix: path for path in tmp_path.rglob("*.nb*")}
    assert sorted(files) == ([] if trouble in ("full disk", "no place") else [".nbc", ".nbi"])
    if trouble == "empty index":
        files[".nbi"].write_bytes(b"")
    if trouble == "cut code":
        files[".nbc"].write_bytes(files[".nbc"].read_bytes()[:100])
    kernel = compiled(VECTOR)(doubled)
    assert sum(kernel.stats.cache_hits.values()) == (trouble == "none")
    x = np.ones(3, np.float32)
    kernel(x)
    assert x.tolist() == [2.0, 2.0, 2.0]


def test_compiled_gates_are_torchs_and_saturate() -> None:
    from paper_repro.models import fastgrnn_kernels as kernels

    p = torch.cat([torch.linspace(-200.0, 200.0, 4001), torch.linspace(-2.0, 2.0, 4001)])
    for tanh, function in ((False, torch.sigmoid), (True, torch.tanh)):
        gates, candidates, states = room = torch.zeros(3, 2, 1, len(p))
        gates[0] = p
        states[0] = 1.0
        shift = torch.full_like(p, 0.25)
        kernels.forward_step(*room.numpy(), 0, shift.numpy(), np.float32(0.75), np.float32(1.0), tanh)
        z, c = function(p.double()), torch.tanh(p.double() + 0.25)
        for ours, theirs in (
            (gates[0, 0], z),
            (candidates[0, 0], c),
            (states[1, 0], z + (0.75 * (1.0 - z) + 0.25) * c),
        ):
            assert (ours - theirs).abs().max() < 5e-7


def test_a_network_that_has_diverged_says_so() -> None:
    """NaN and infinity come through the compiled recurrence: a run must not go on with numbers made up."""
    model = models.fastgrnn()
    inputs = torch.zeros(3, 5, 9)
    inputs[1, 2, 4] = torch.nan
    outputs = model(inputs)
    assert outputs.isfinite().all(1).tolist() == [True, False, True]
    grads = gradients(model, outputs)
    assert not any(gradient.isfinite().all() for name, gradient in grads.items() if not name.startswith("classifier"))
    with torch.no_grad():
        model.u.weight.fill_(torch.inf)
    assert not model(torch.ones(3, 5, 9)).isfinite().any()


def test_gradients_are_those_of_finite_differences() -> None:
    model = network("tanh", {})
    inputs = torch.randn(18, 3, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(1))  # time first

    def last_state(*parameters: Tensor) -> Tensor:
        from paper_repro.models.fastgrnn_scan import scan

        return scan(inputs, *parameters, gate="tanh")

    given = (model.w.weight, model.u.weight, model.bias_gate, model.bias_update, model.zeta, model.nu)
    assert torch.autograd.gradcheck(last_state, tuple(value.detach().requires_grad_() for value in given))


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_inputs_get_the_loops_gradient(dtype: torch.dtype, ranks: dict[str, int]) -> None:
    """As where another layer stands before the network."""
    front, model = nn.Linear(9, 9, dtype=dtype), network("tanh", ranks, dtype)
    inputs = torch.randn(4, 20, 9, dtype=dtype)
    gradients(model, reference.logits(model, front(inputs)))
    expected, front.weight.grad = front.weight.grad, None
    gradients(model, model(front(inputs)))
    tolerance = 1e-10 if dtype == torch.float64 else 1e-3
    assert (front.weight.grad - expected).abs().max() <= tolerance * expected.abs().max()


@pytest.mark.parametrize(
    ("method", "ranks"), [("dense", ranks) for ranks in RANKS] + [("str-rank", ranks) for ranks in RANKS if ranks]
)
def test_autocast_leaves_the_recurrence_in_float32(method: str, ranks: dict[str, int]) -> None:
    """Bit for bit, values and gradients, also for inputs of lower precision."""
    model = network("tanh", ranks, torch.float32)
    model.classifier = nn.Identity()
    methods.get(method).attach(model)
    inputs = torch.randn(4, 20, 9).bfloat16()
    expected = model(inputs.float())
    with torch.autocast("cpu", torch.bfloat16):
        outputs = model(inputs)
    assert torch.equal(outputs, expected)
    theirs, ours = gradients(model, expected), gradients(model, outputs)
    assert all(torch.equal(ours[name], gradient) for name, gradient in theirs.items())
    with torch.no_grad():
        expected = model(inputs.float())
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(model(inputs), expected)


def test_exports_though_gradients_are_on() -> None:
    model = network("tanh", {"rank_w": 9, "rank_u": 3}, torch.float32).eval()
    exported = torch.export.export(model, (torch.randn(4, 5, 9),)).module()
    inputs = torch.randn(4, 5, 9)
    assert torch.allclose(exported(inputs), model(inputs), atol=1e-6)


def test_transforms_of_torch_func_can_have_the_unrolled_recurrence() -> None:
    model = network("tanh", {})
    inputs = torch.randn(4, 5, 9, dtype=torch.float64)
    expected = gradients(model, model(inputs))
    weights = torch.linspace(-1.0, 2.0, 12, dtype=torch.float64).view(4, 3)

    def loss(parameters: dict[str, Tensor]) -> Tensor:
        return (torch.func.functional_call(model, parameters, inputs) * weights).sum()

    with pytest.raises(RuntimeError, match="functorch"):
        torch.func.grad(loss)(dict(model.named_parameters()))
    model.fused = model.unrolled  # as the docstring of `fused` has it
    for name, gradient in torch.func.grad(loss)(dict(model.named_parameters())).items():
        assert torch.allclose(gradient, expected[name], rtol=1e-9, atol=1e-11), name


def test_evaluates_where_there_is_no_autocast() -> None:
    """The shape of the logits alone, as a device called meta gives it."""
    model = models.fastgrnn(num_classes=3).to("meta")
    with torch.no_grad():
        assert model(torch.zeros(2, 5, 9, device="meta")).shape == (2, 3)


class Kernels(TorchDispatchMode):
    """Counts the operations that a GPU would launch a kernel for."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        outputs = function(*args, **(kwargs or {}))
        launches_nothing = function.is_view or function.overloadpacket.__name__.startswith(("empty", "new_empty"))
        self.count += not launches_nothing
        return outputs


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize("gate", ["sigmoid", "tanh"])
def test_fused_recurrence_launches_less_than_a_third_of_the_loops_kernels(gate: str, ranks: dict[str, int]) -> None:
    """A GPU spends a training step of this size on launching them. Float64 takes the way that a GPU does."""
    model = network(gate, ranks)
    inputs = torch.randn(4, 128, 9, dtype=torch.float64)
    with Kernels() as loop:
        gradients(model, reference.logits(model, inputs))
    with Kernels() as fused:
        gradients(model, model(inputs))
    assert fused.count < loop.count / 3


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("gate", ["sigmoid", "tanh"])
def test_fused_recurrence_on_a_gpu(gate: str) -> None:
    model = network(gate, {}).cuda()
    inputs = torch.randn(4, 40, 9, dtype=torch.float64, device="cuda")
    theirs, ours = gradients(model, reference.logits(model, inputs).cpu()), gradients(model, model(inputs).cpu())
    for name, gradient in theirs.items():
        assert torch.allclose(ours[name], gradient, rtol=1e-9, atol=1e-11), name


# matrices alone, as counted by hand: r_w (D + H) + 2 r_u H, or D H + H^2
@pytest.mark.parametrize(
    ("features", "hidden", "rank_w", "rank_u", "matrices"),
    [
        (32, 100, None, None, 13_200),
        (32, 100, 12, 40, 9_584),
        (32, 100, 9, 24, 5_988),
        (9, 80, None, None, 7_120),
        (9, 80, 9, 8, 2_081),
        (9, 80, 8, 7, 1_832),
    ],
)
def test_size(features: int, hidden: int, rank_w: int | None, rank_u: int | None, matrices: int) -> None:
    model = models.fastgrnn(2, features, hidden, rank_w, rank_u)
    report = account(model, (10, features))
    assert report.backbone().params == matrices
    assert sum(parameter.numel() for parameter in model.parameters()) == matrices + 2 * hidden + 2 + 2 * hidden + 2
    # every matrix is used once per step, the classifier once
    assert report.macs == 10 * matrices + 2 * hidden
    assert ranks(model) == ({} if rank_w is None else {"w": rank_w, "u": rank_u})


def test_initial_values_are_edgemls() -> None:
    torch.manual_seed(0)
    model = models.fastgrnn(hidden=200, in_channels=50, rank_w=50, rank_u=200)
    for matrix in (model.w.down, model.w.up, model.u.down, model.u.up):
        assert matrix.weight.std().item() == pytest.approx(0.1, rel=0.05)
    assert (model.zeta.item(), model.nu.item()) == (1.0, -4.0)
    assert torch.equal(model.bias_gate, torch.ones(200)) and torch.equal(model.bias_update, torch.ones(200))


def test_unknown_gate_and_rank_of_zero() -> None:
    with pytest.raises(UserError, match="gate must be one of sigmoid, tanh, not 'relu'"):
        models.get("fastgrnn", gate="relu")
    with pytest.raises(UserError, match="at least 1"):
        models.get("fastgrnn", rank_w=0)


def test_the_classifier_may_be_drawn_wider_and_nothing_else_changes() -> None:
    """EdgeML's standard deviation 1; with 0.1 every network is drawn as it was before there was a choice."""
    networks = []
    for std in (0.1, 1.0):
        torch.manual_seed(3)
        networks.append(models.fastgrnn(classifier_std=std).state_dict())
    narrow, wide = networks
    for name, value in narrow.items():
        factor = 10.0 if name.startswith("classifier.") else 1.0
        assert torch.allclose(wide[name], factor * value)
    assert wide["classifier.weight"].std().item() == pytest.approx(1.0, abs=0.2)


def test_a_classifier_that_is_not_trained_stays_as_it_was_drawn() -> None:
    """As in EdgeML's PyTorch trainer; everything else is trained."""
    model = models.fastgrnn(rank_w=9, rank_u=8, classifier_trained=False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.Adam(methods.get("low-rank").param_groups(model, weight_decay=0.1), lr=0.1)
    model(torch.randn(4, 5, 9)).pow(2).sum().backward()
    optimizer.step()
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {name for name in before if not name.startswith("classifier.")}
