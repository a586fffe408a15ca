"""The shapes that people use, in full: faithful to float64, and the same bits in every run."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from capsroute.bench.shapes import SHAPES, Shape

from .. import kernels
from ..routing.cases import Case
from ..routing.compare import assert_bitwise_equal, assert_matches_reference, fused

kernels.require("cuda")


def case_of(shape: Shape) -> Case:
    sizes = (shape.batch, shape.inputs, shape.input_size, shape.outputs, shape.output_size)
    return Case(sizes, iterations=shape.iterations)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
@pytest.mark.parametrize("gradient", ["all", "last"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_faithful_and_repeatable(shape: Shape, gradient: str, dtype: torch.dtype) -> None:
    case = dataclasses.replace(case_of(shape), gradient=gradient)
    tensors, grad = case.tensors(dtype), case.output_gradient(dtype)
    result = fused(tensors, case.options(), grad)
    for _ in range(3):
        assert_bitwise_equal(fused(tensors, case.options(), grad), result)
    assert_matches_reference(tensors, case.options(), grad, actual=result, amplified=shape.iterations > 4)


@pytest.mark.parametrize("shape", [s for s in SHAPES if s.votes < 2**25], ids=lambda shape: shape.name)
@pytest.mark.parametrize("softmax", ["inputs", "leaky"])
def test_other_softmax(shape: Shape, softmax: str) -> None:
    case = dataclasses.replace(case_of(shape), softmax=softmax, bias=True, logits="shared")
    tensors, grad = case.tensors(torch.float32), case.output_gradient(torch.float32)
    assert_matches_reference(tensors, case.options(), grad, amplified=shape.iterations > 4)
