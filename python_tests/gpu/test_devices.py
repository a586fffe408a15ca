"""Tensors on one GPU while another is the current one."""

from __future__ import annotations

import pytest
import torch

import capsroute

from .. import kernels
from ..routing.cases import Case
from ..routing.compare import assert_bitwise_equal, assert_matches_reference, fused

kernels.require("cuda")
CASE = Case((18, 40, 8, 10, 16), bias=True, logits="shared")
SECOND = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs a second GPU")


def test_the_first_gpu_is_used_and_stays_current() -> None:
    before = torch.cuda.current_device()
    assert_matches_reference(CASE.tensors(torch.float32), CASE.options(), CASE.output_gradient(torch.float32))
    assert torch.cuda.current_device() == before


@SECOND
@pytest.mark.parametrize("current", [0, 1])
def test_the_device_of_the_tensors_counts(current: int) -> None:
    tensors, grad = CASE.tensors(torch.float32), CASE.output_gradient(torch.float32)
    results = []
    with torch.cuda.device(current):
        for index in (0, 1):
            moved = {name: t.to(f"cuda:{index}") for name, t in tensors.items()}
            result = fused(moved, CASE.options(), grad.to(f"cuda:{index}"))
            assert all(t.get_device() == index for t in result.values())
            assert_matches_reference(moved, CASE.options(), grad.to(f"cuda:{index}"), actual=result)
            results.append({name: t.cpu() for name, t in result.items()})
        assert torch.cuda.current_device() == current
    if torch.cuda.get_device_name(0) == torch.cuda.get_device_name(1):
        assert_bitwise_equal(*results)


@SECOND
def test_tensors_on_two_gpus_are_refused() -> None:
    tensors = CASE.tensors(torch.float32)
    with pytest.raises(ValueError, match=r"weight must be on the device of x, cuda:0, got cuda:1"):
        capsroute.dynamic_routing(**{**tensors, "weight": tensors["weight"].to("cuda:1")})
