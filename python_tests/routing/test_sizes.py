"""Sizes of 1, primes, and just below, at and above the edges of tiles, on every instruction set."""

from __future__ import annotations

import pytest
import torch

from .cases import Case, size_cases, votes_of
from .compare import assert_matches_reference


@pytest.mark.parametrize("case", list(size_cases()), ids=str)
def test_dynamic_routing(case: Case, kernel: str) -> None:
    assert_matches_reference(case.tensors(torch.float32), case.options(), case.output_gradient(torch.float32))


@pytest.mark.parametrize("case", [c for k, c in enumerate(size_cases()) if k % 3 == 0], ids=str)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_other_dtypes(case: Case, dtype: torch.dtype, kernel: str) -> None:
    assert_matches_reference(case.tensors(dtype), case.options(), case.output_gradient(dtype))


@pytest.mark.parametrize("case", [c for k, c in enumerate(size_cases()) if k % 3 == 1], ids=str)
def test_route_votes(case: Case, kernel: str) -> None:
    """The sizes of d play no part here, those of B, I, J and D do."""
    if case.sizes[2] != 3 and case.sizes[0] == 3:
        case = Case((case.sizes[2], *case.sizes[1:]), softmax=case.softmax, iterations=case.iterations)
    tensors = votes_of(case.tensors(torch.float32))
    assert_matches_reference(tensors, case.options(), case.output_gradient(torch.float32))


@pytest.mark.parametrize("iterations", [7, 9, 20])
@pytest.mark.parametrize("softmax", ["outputs", "inputs"])
@pytest.mark.parametrize("gradient", ["all", "last"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_many_iterations(iterations: int, softmax: str, gradient: str, dtype: torch.dtype, kernel: str) -> None:
    case = Case((18, 20, 5, 7, 6), softmax=softmax, gradient=gradient, iterations=iterations, logits="shared")
    assert_matches_reference(case.tensors(dtype), case.options(), case.output_gradient(dtype), amplified=True)


@pytest.mark.parametrize("weights", ["shared", "half"])
@pytest.mark.parametrize("inputs", [2, 6, 16, 34, 130])
@pytest.mark.parametrize("softmax", ["outputs", "inputs"])
def test_shared_weights(weights: str, inputs: int, softmax: str, kernel: str) -> None:
    # The votes of many inputs with one matrix nearly cancel, and in a third iteration the result follows the rounding.
    case = Case((19, inputs, 5, 3, 7), weights=weights, softmax=softmax, iterations=3 if inputs < 100 else 2)
    assert_matches_reference(case.tensors(torch.float32), case.options(), case.output_gradient(torch.float32))


@pytest.mark.parametrize("entry", ["dynamic_routing", "route_votes"])
@pytest.mark.parametrize("logits", ["none", "shared", "sample"])
def test_empty_batch(entry: str, logits: str, kernel: str) -> None:
    case = Case((0, 6, 4, 5, 3), bias=True, logits=logits, input_mask=True, output_mask=True)
    tensors = case.tensors(torch.float32)
    tensors = votes_of(tensors) if entry == "route_votes" else tensors
    assert_matches_reference(tensors, case.options(), case.output_gradient(torch.float32))
