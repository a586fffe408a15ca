"""The op runs on the current stream, in its order, and never waits for the device."""

from __future__ import annotations

import pytest
import torch

from capsroute import testing

from .. import kernels
from ..routing.cases import Case
from ..routing.compare import assert_bitwise_equal, fused

kernels.require("cuda")
CASE = Case((64, 200, 8, 10, 16), bias=True)
A_WHILE = 200_000_000  # cycles, about a tenth of a second


@pytest.mark.parametrize("chosen", [("plain", "automatic"), ("fused", "grid"), ("fused", "launches")], ids="-".join)
def test_a_side_stream_without_waiting(chosen: tuple[str, str]) -> None:
    tensors, grad = CASE.tensors(torch.float32), CASE.output_gradient(torch.float32)
    with testing.cuda_kernel(*chosen):
        expected = fused(tensors, CASE.options(), grad)
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            fused(tensors, CASE.options(), grad)  # torch asks for this stream's memory now, not below
        torch.cuda.synchronize()
        with torch.cuda.stream(stream):
            torch.cuda._sleep(A_WHILE)
            late = {name: t * 1 for name, t in tensors.items()}  # on no other stream these values exist yet
            result = fused(late, CASE.options(), grad)
            assert not stream.query(), "the call waited for the device"
        stream.synchronize()
    assert_bitwise_equal(result, expected)


def test_streams_do_not_share_memory() -> None:
    """Calls that take turns on two streams, each with workspace of its own."""
    several = [CASE.tensors(torch.float32, seed) for seed in range(2)]
    grad = CASE.output_gradient(torch.float32)
    expected = [fused(tensors, CASE.options(), grad) for tensors in several]
    streams = [torch.cuda.Stream() for _ in several]
    torch.cuda.synchronize()
    for _ in range(20):
        results = []
        for stream, tensors in zip(streams, several, strict=True):
            with torch.cuda.stream(stream):
                results.append(fused(tensors, CASE.options(), grad))
        torch.cuda.synchronize()
        for result, wanted in zip(results, expected, strict=True):
            assert_bitwise_equal(result, wanted)
