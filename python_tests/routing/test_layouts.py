"""Arguments of any strides and alignment, surrounded by NaN that must not be read, give the same result."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ..covering import covering
from ..kernels import each_kernel
from .cases import Case, votes_of
from .compare import assert_bitwise_equal, assert_matches_reference, fused
from .layouts import LAYOUTS

CASE = Case((19, 10, 5, 6, 7), bias=True, logits="sample", input_mask=True, output_mask=True, input_weight=True)
DTYPES = [torch.float32, torch.bfloat16, torch.float64]


NAMES = ["x", "weight", "votes", "bias", "logits", "input_weight", "input_mask", "output_mask", "grad"]


def _arguments(entry: str, dtype: torch.dtype) -> dict[str, Tensor]:
    tensors = CASE.tensors(dtype)
    tensors = votes_of(tensors) if entry == "route_votes" else tensors
    return {**tensors, "grad": CASE.output_gradient(dtype)}


@covering(name=NAMES, dtype=DTYPES)
@each_kernel
def test_strides_change_nothing(name: str, dtype: torch.dtype, kernel: str) -> None:
    tensors = _arguments("route_votes" if name == "votes" else "dynamic_routing", dtype)
    others = [{**tensors, name: layout(tensors[name])} for layout in LAYOUTS]
    expected = fused(tensors, CASE.options(), tensors.pop("grad"))
    for layout, other in zip(LAYOUTS, others, strict=True):
        actual = fused(other, CASE.options(), other.pop("grad"))
        for result, tensor in expected.items():
            assert torch.equal(actual[result], tensor), f"{layout.__name__}: {result}"


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("entry", ["dynamic_routing", "route_votes"])
@each_kernel
def test_all_at_once(layout: Callable[[Tensor], Tensor], entry: str, kernel: str) -> None:
    tensors = {name: layout(t) for name, t in _arguments(entry, torch.float32).items()}
    grad = tensors.pop("grad")
    assert_matches_reference(tensors, CASE.options(), grad)


@covering(axis=range(4), name=NAMES)
@each_kernel
def test_expanded(name: str, axis: int, kernel: str) -> None:
    """Stride 0 along one axis."""
    tensors = _arguments("route_votes" if name == "votes" else "dynamic_routing", torch.float32)
    axis = min(axis, tensors[name].dim() - 1)
    tensors[name] = tensors[name].narrow(axis, 0, 1).expand(tensors[name].shape)
    grad = tensors.pop("grad")
    assert_matches_reference(tensors, CASE.options(), grad)


@each_kernel
def test_gradient_of_a_sum(kernel: str) -> None:
    """``sum().backward()`` hands the op a gradient of stride 0 in every axis."""
    tensors = _arguments("dynamic_routing", torch.float32)
    grad = torch.ones(()).expand(tensors.pop("grad").shape)
    assert_matches_reference(tensors, CASE.options(), grad)


@pytest.mark.parametrize("order", [(0, 2, 1, 3), (3, 2, 1, 0), (2, 1, 0, 3), (1, 0, 3, 2)], ids=str)
@each_kernel
def test_votes_in_any_order(order: tuple[int, ...], kernel: str) -> None:
    """Votes stored as [B, J, I, D] and otherwise, as other implementations keep them, are read in place."""
    tensors = _arguments("route_votes", torch.float32)
    expected = fused(tensors, CASE.options(), tensors.pop("grad"))
    back = [order.index(k) for k in range(4)]
    tensors["votes"] = tensors["votes"].permute(order).contiguous().permute(back)
    assert_bitwise_equal(fused(tensors, CASE.options(), CASE.output_gradient(torch.float32)), expected)


@pytest.mark.parametrize("entry", ["dynamic_routing", "route_votes"])
@each_kernel
def test_results_are_contiguous(entry: str, kernel: str) -> None:
    tensors = _arguments(entry, torch.float32)
    for name, t in fused(tensors, CASE.options(), tensors.pop("grad")).items():
        assert t.is_contiguous(), name


@each_kernel
def test_offsets_beyond_32_bits(kernel: str) -> None:
    """Two samples of votes more than 2^31 elements apart. Only what is written of the 4 GiB between takes memory."""
    case = Case((2, 5, 3, 4, 6))
    tensors, grad = votes_of(case.tensors(torch.bfloat16)), case.output_gradient(torch.bfloat16)
    expected = fused(tensors, case.options(), grad)
    apart = 2**31 + 7
    storage = torch.empty(apart + tensors["votes"][0].numel(), dtype=torch.bfloat16)
    far = storage.as_strided(tensors["votes"].shape, (apart, *tensors["votes"].stride()[1:]))
    assert_bitwise_equal(fused({"votes": far.copy_(tensors["votes"])}, case.options(), grad), expected)
