"""The operator against its plain twin, and the properties that make it a soft threshold."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from paper_repro.methods import soft_threshold as operator
from paper_repro.methods.soft_threshold import BLOCK, soft_threshold
from tests.reference.soft_threshold import soft_threshold as plain

SHAPES = [(), (1,), (7,), (4, 3, 3, 3), (BLOCK + 17,), (2, BLOCK)]
floats = st.floats(-10, 10, width=32, allow_nan=False)
weights = st.lists(floats, min_size=1, max_size=40).map(torch.tensor)
thresholds = st.floats(0, 5, width=32).map(torch.tensor)


def values_and_gradients(function, weight: Tensor, threshold: Tensor, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    weight, threshold = weight.clone().requires_grad_(), threshold.clone().requires_grad_()
    out = function(weight, threshold)
    out.backward(grad)
    return out.detach(), weight.grad, threshold.grad


def assert_same(weight: Tensor, threshold: Tensor, tolerance: float = 1e-5) -> None:
    generator = torch.Generator().manual_seed(1)
    grad = torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
    ours = values_and_gradients(soft_threshold, weight, threshold, grad)
    theirs = values_and_gradients(plain, weight, threshold, grad)
    assert torch.equal(ours[0], theirs[0])
    assert torch.equal(ours[1], theirs[1])
    scale = grad.abs().sum().item()  # a sum of many terms differs by their rounding
    assert torch.allclose(ours[2], theirs[2], rtol=tolerance, atol=tolerance * 1e-2 * scale)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("threshold", [0.0, 1e-30, 0.02, 100.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_same_as_the_plain_twin(shape: tuple[int, ...], threshold: float, dtype: torch.dtype) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=dtype) * 0.05
    assert_same(weight, torch.tensor(threshold, dtype=dtype))


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (8, 1, 1, 1), (8, 4, 3, 3), (1,)], ids=str)
def test_thresholds_per_filter_and_per_weight(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(8, 4, 3, 3, generator=generator)
    assert_same(weight, torch.rand(shape, generator=generator))


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format], ids=str)
@pytest.mark.parametrize("of_gradient", [torch.channels_last, torch.contiguous_format], ids=str)
def test_layouts_of_weight_and_gradient(
    layout: torch.memory_format, of_gradient: torch.memory_format, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(operator, "_SoftThreshold")  # one threshold for a weight in either layout takes the fast path
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(BLOCK // 64, 16, 3, 3, generator=generator).to(memory_format=layout)
    grad = torch.randn(weight.shape, generator=generator).to(memory_format=of_gradient)
    ours = values_and_gradients(soft_threshold, weight, torch.tensor(0.3), grad)
    theirs = values_and_gradients(plain, weight, torch.tensor(0.3), grad)
    assert torch.equal(ours[0], theirs[0]) and torch.equal(ours[1], theirs[1])
    assert ours[2].item() == pytest.approx(theirs[2].item(), rel=1e-4)
    assert ours[0].stride() == weight.stride() and ours[1].stride() == weight.stride()


def test_other_layouts_and_expanded_gradients() -> None:
    weight = torch.randn(8, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    assert_same(weight[:, ::2], torch.tensor(0.3))
    weight.requires_grad_()
    threshold = torch.tensor(0.3, requires_grad=True)
    soft_threshold(weight, threshold).sum().backward()  # sum() hands back a gradient with stride 0
    assert threshold.grad == -torch.sign(weight[weight.abs() > 0.3]).sum()


def test_gradients_against_finite_differences() -> None:
    weight = torch.tensor([-2.0, -0.4, 0.1, 0.9], dtype=torch.float64, requires_grad=True)
    threshold = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(soft_threshold, (weight, threshold))
    per_weight = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(soft_threshold, (weight, per_weight))


@given(weights, thresholds)
def test_odd(weight: Tensor, threshold: Tensor) -> None:
    assert torch.equal(soft_threshold(-weight, threshold), -soft_threshold(weight, threshold))


@given(weights, thresholds)
def test_shrinks_and_keeps_the_sign(weight: Tensor, threshold: Tensor) -> None:
    out = soft_threshold(weight, threshold)
    assert torch.all(out.abs() <= weight.abs())
    assert torch.all((out == 0) | (out.sign() == weight.sign()))


@given(weights, thresholds)
def test_zero_exactly_inside_the_threshold(weight: Tensor, threshold: Tensor) -> None:
    assert torch.equal(soft_threshold(weight, threshold) == 0, weight.abs() <= threshold)


@given(weights, st.floats(-20, 3), st.floats(0, 3))
@settings(max_examples=50)
def test_a_larger_s_never_gives_a_denser_weight(weight: Tensor, s: float, more: float) -> None:
    def nonzero(value: float) -> int:
        return int(torch.count_nonzero(soft_threshold(weight, torch.sigmoid(torch.tensor(value)))))

    assert nonzero(s + more) <= nonzero(s)


def test_not_a_number_is_passed_on() -> None:
    assert soft_threshold(torch.tensor([1.0, float("nan")]), torch.tensor(0.5)).isnan().tolist() == [False, True]
    assert soft_threshold(torch.ones(3), torch.tensor(float("nan"))).isnan().all()


def test_compiled_code_takes_the_plain_expression(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert_same(torch.randn(50, generator=torch.Generator().manual_seed(0)), torch.tensor(0.3))


def test_gradient_of_a_float32_threshold_under_bfloat16_weights_keeps_its_dtype() -> None:
    weight = torch.linspace(-1, 1, 64, dtype=torch.bfloat16, requires_grad=True)
    threshold = torch.tensor(0.25, requires_grad=True)
    soft_threshold(weight, threshold).sum().backward()
    assert threshold.grad is not None and threshold.grad.dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_gradient_of_a_threshold_is_summed_in_float32_whatever_the_weights_are(dtype: torch.dtype) -> None:
    weight, grad = torch.ones(200, 200, dtype=dtype), torch.full((200, 200), 4.0, dtype=dtype)
    grad[0, 0] = 5.0
    *_, of_threshold = values_and_gradients(soft_threshold, weight, torch.tensor(0.25), grad)
    assert of_threshold.item() == -160_001.0  # more than fp16 holds, and more digits than bf16 has


@pytest.mark.gpu
def test_no_synchronisation_on_a_gpu() -> None:
    weight = torch.randn(64, 64, 3, 3, device="cuda", requires_grad=True)
    threshold = torch.tensor(-4.0, device="cuda", requires_grad=True)
    grad = torch.randn_like(weight)
    torch.cuda.set_sync_debug_mode("error")  # any read back to the host raises
    try:
        soft_threshold(weight, torch.sigmoid(threshold)).backward(grad)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert threshold.grad is not None
