"""FastGRNN: its size, and that the fused recurrence is the loop, values and gradients alike."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from paper_repro import models
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


def test_fused_recurrence_in_float32_at_full_size() -> None:
    torch.manual_seed(0)
    model = models.fastgrnn()
    inputs = torch.randn(20, 128, 9)
    theirs = gradients(model, reference.logits(model, inputs))
    ours = gradients(model, model(inputs))
    for name, gradient in theirs.items():
        assert (ours[name] - gradient).abs().max() <= 1e-4 * gradient.abs().max(), name


def test_gradients_are_those_of_finite_differences() -> None:
    model = network("tanh", {})
    inputs = torch.randn(18, 3, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(1))  # time first

    def last_state(*parameters: Tensor) -> Tensor:
        from paper_repro.models.fastgrnn_scan import scan

        return scan(inputs, *parameters, gate="tanh")

    given = (model.w.weight, model.u.weight, model.bias_gate, model.bias_update, model.zeta, model.nu)
    assert torch.autograd.gradcheck(last_state, tuple(value.detach().requires_grad_() for value in given))


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
