"""Forward and backward inside a CUDA graph: captured once, replayed with other values."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from capsroute import testing

from .. import kernels
from ..routing.cases import Case, Tensors
from ..routing.compare import assert_bitwise_equal, fused

kernels.require("cuda")
CASES = [
    Case((32, 100, 8, 10, 16), bias=True),
    Case((5, 33, 5, 7, 12), softmax="inputs", logits="shared", input_mask=True, gradient="last"),
]
CHOSEN = [("automatic", "automatic"), ("plain", "automatic"), ("fused", "grid"), ("fused", "launches")]


def capture(work: Callable[[], Tensors]) -> tuple[torch.cuda.CUDAGraph, Tensors]:
    """The graph of ``work`` after some calls outside of it, and the tensors that each replay fills."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = work()
    return graph, results


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("chosen", CHOSEN, ids="-".join)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_replay(case: Case, chosen: tuple[str, str], dtype: torch.dtype) -> None:
    tensors, grad = case.tensors(dtype), case.output_gradient(dtype)
    with testing.cuda_kernel(*chosen):
        graph, results = capture(lambda: fused(tensors, case.options(), grad))
        for seed in (5, 6):
            for name, t in case.tensors(dtype, seed).items():
                tensors[name].copy_(t)
            graph.replay()
            torch.cuda.synchronize()
            assert_bitwise_equal(results, fused(tensors, case.options(), grad))
