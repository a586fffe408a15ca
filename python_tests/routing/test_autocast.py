"""Autocast on each device: float32 arguments are cast to its dtype, which the output has; gradients are float32."""

from __future__ import annotations

import pytest
import torch

import capsroute

from .cases import Case, evaluate, to, votes_of
from .compare import fused

CASE = Case((9, 8, 4, 5, 3), bias=True, logits="shared", input_mask=True, input_weight=True)
ENTRY = pytest.mark.parametrize("entry", ["dynamic_routing", "route_votes"])
DTYPE = pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)


def device_type() -> str:
    return torch.get_default_device().type


@ENTRY
@DTYPE
@pytest.mark.parametrize("compiled", [False, True])
def test_casts(entry: str, dtype: torch.dtype, compiled: bool, backend: str) -> None:
    tensors = CASE.tensors(torch.float32)
    tensors = votes_of(tensors) if entry == "route_votes" else tensors
    function = getattr(capsroute, entry)
    torch._dynamo.reset()
    function = torch.compile(function, backend="aot_eager", fullgraph=True) if compiled else function
    leaves = {n: t.clone().requires_grad_() if t.is_floating_point() else t for n, t in tensors.items()}
    with torch.autocast(device_type(), dtype=dtype):
        output = function(**leaves, **CASE.options())
    names = [n for n, t in leaves.items() if t.requires_grad]
    grad = CASE.output_gradient(dtype)
    grads = torch.autograd.grad(output, [leaves[n] for n in names], grad)
    expected = fused(to(tensors, dtype), CASE.options(), grad)
    assert output.dtype == dtype
    assert torch.equal(output, expected["output"])
    for name, value in zip(names, grads, strict=True):
        assert value.dtype == torch.float32, name
        assert torch.equal(value, expected[name].float()), name


@ENTRY
def test_mixed_dtypes_are_cast_to_one(entry: str, backend: str) -> None:
    """A half tensor from an autocast layer beside float32 parameters."""
    tensors = CASE.tensors(torch.float32)
    tensors = votes_of(tensors) if entry == "route_votes" else tensors
    first = next(iter(tensors))
    with torch.autocast(device_type(), dtype=torch.bfloat16):
        output = getattr(capsroute, entry)(**{**tensors, first: tensors[first].bfloat16()}, **CASE.options())
    assert output.dtype == torch.bfloat16


@ENTRY
def test_float64_is_left_alone(entry: str, backend: str) -> None:
    """As torch.amp does."""
    tensors, grad = CASE.tensors(), CASE.output_gradient()
    tensors = votes_of(tensors) if entry == "route_votes" else tensors
    expected = fused(tensors, CASE.options(), grad)
    with torch.autocast(device_type(), dtype=torch.bfloat16):
        actual = evaluate(getattr(capsroute, entry), tensors, CASE.options(), grad)
    for name, value in expected.items():
        assert torch.equal(actual[name], value), name


@ENTRY
def test_disabled_region_keeps_float32(entry: str, backend: str) -> None:
    tensors = CASE.tensors(torch.float32)
    tensors = votes_of(tensors) if entry == "route_votes" else tensors
    device = device_type()
    with torch.autocast(device, dtype=torch.bfloat16), torch.autocast(device, enabled=False):
        output = getattr(capsroute, entry)(**tensors, **CASE.options())
    assert torch.equal(output, getattr(capsroute, entry)(**tensors, **CASE.options()))
