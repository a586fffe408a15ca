"""What a call takes beside its arguments and results, by the count of torch's own allocator."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

import capsroute
from capsroute.bench import peers
from capsroute.bench.memory import bytes_of
from capsroute.bench.shapes import by_names

from .. import kernels

kernels.require("cuda")


def extra_bytes(route: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], gradient: bool) -> int:
    """Peak of a call at the MNIST shape beyond what it returns."""
    (shape,) = by_names(["mnist"])
    x, weight, grad = shape.arguments(torch.float32, torch.device("cuda"))
    x.requires_grad_(gradient)
    weight.requires_grad_(gradient)

    def work() -> list[torch.Tensor]:
        output = route(x, weight)
        return [output, *torch.autograd.grad(output, (x, weight), grad)] if gradient else [output]

    work()  # what libraries keep for good, as cuBLAS does, is none of the call's
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    results = work()
    return torch.cuda.max_memory_allocated() - before - bytes_of(*results)


@pytest.mark.parametrize("gradient", [False, True])
def test_a_twenty_fifth_of_eager(gradient: bool) -> None:
    eager = extra_bytes(lambda x, weight: peers.einsum(x, weight, 3, "all"), gradient)
    ours = extra_bytes(capsroute.dynamic_routing, gradient)
    assert ours <= eager / 25, f"{ours / 2**20:.1f} MiB, eager {eager / 2**20:.1f} MiB"
