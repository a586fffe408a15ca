"""Tensors of more than 2^31 elements. Nearly all inputs are absent, so that a small problem tells the result."""

from __future__ import annotations

import pytest
import torch

import capsroute
from capsroute import testing

from .. import kernels
from ..routing.cases import Tensors
from ..routing.compare import fused

kernels.require("cuda")
GIB = 2**30
KEPT = 40
KERNEL = pytest.mark.parametrize("chosen", ["automatic", "plain"])


def require_memory(gib: int) -> None:
    free, _ = torch.cuda.mem_get_info()
    if free < gib * GIB:
        pytest.skip(f"needs {gib} GiB of free memory on the GPU, {free / GIB:.0f} are")


def check_against_the_part(tensors: Tensors, part: Tensors, grad: torch.Tensor) -> None:
    """The last ``KEPT`` inputs alone have the same outputs and gradients, and all others get none."""
    first = next(iter(tensors))
    batch, inputs = tensors[first].shape[:2]
    present = torch.zeros(batch, inputs, dtype=torch.bool)
    present[:, -KEPT:] = True
    found = fused({**tensors, "input_mask": present}, {}, grad)
    expected = fused(part, {}, grad)
    for name, wanted in expected.items():
        value = found[name]
        if name == "weight":
            assert not value[:-KEPT].any()
            value = value[-KEPT:]
        elif name != "output":
            assert not value[:, :-KEPT].any()
            value = value[:, -KEPT:]
        torch.testing.assert_close(value, wanted, rtol=2e-2, atol=1e-2 * float(wanted.abs().max()))


@KERNEL
def test_votes(chosen: str) -> None:
    require_memory(24)
    batch, inputs, outputs, size = 17, 33_000, 64, 64
    assert batch * inputs * outputs * size > 2**31
    votes = torch.zeros(batch, inputs, outputs, size, dtype=torch.bfloat16)
    votes[:, -KEPT:].normal_()
    grad = torch.randn(batch, outputs, size).bfloat16()
    with testing.cuda_kernel(chosen):
        check_against_the_part({"votes": votes}, {"votes": votes[:, -KEPT:].clone()}, grad)


@KERNEL
def test_weight(chosen: str) -> None:
    require_memory(40)
    inputs, outputs, size, input_size = 34_000, 64, 64, 16
    assert inputs * outputs * size * input_size > 2**31
    x = torch.randn(3, inputs, input_size).bfloat16()
    weight = torch.zeros(inputs, outputs, size, input_size, dtype=torch.bfloat16)
    weight[-KEPT:].normal_(0, 0.06)
    grad = torch.randn(3, outputs, size).bfloat16()
    part = {"x": x[:, -KEPT:].clone(), "weight": weight[-KEPT:].clone()}
    with testing.cuda_kernel(chosen):
        check_against_the_part({"x": x, "weight": weight}, part, grad)


@KERNEL
def test_inputs(chosen: str) -> None:
    """x of more than 2^31 elements, with one matrix for all inputs; forward only."""
    require_memory(24)
    batch, inputs, input_size = 64, 2_100_000, 16
    assert batch * inputs * input_size > 2**31
    x = torch.zeros(batch, inputs, input_size, dtype=torch.bfloat16)
    x[:, -KEPT:].normal_()
    weight = (torch.randn(1, 4, 8, input_size) * 0.3).bfloat16()
    present = torch.zeros(batch, inputs, dtype=torch.bool)
    present[:, -KEPT:] = True
    with testing.cuda_kernel(chosen):
        found = capsroute.dynamic_routing(x, weight, input_mask=present)
        expected = capsroute.dynamic_routing(x[:, -KEPT:], weight)
    torch.testing.assert_close(found, expected, rtol=2e-2, atol=1e-2)
