"""What a call takes beside its arguments and results, by the count of torch's own allocator."""

from __future__ import annotations

import pytest
import torch

import capsroute
from capsroute.bench import peers
from capsroute.bench.gpu.device import Device
from capsroute.bench.shapes import by_names
from capsroute.bench.workload import Workload

from .. import kernels

kernels.require("cuda")


def extra_bytes(route: peers.Route, gradient: str | None) -> int:
    """Peak of a call at the MNIST shape beyond what it returns."""
    work = Workload(*by_names(["mnist"]), torch.float32, gradient, torch.device("cuda")).work(route)
    work()  # what libraries keep for good, as cuBLAS does, is none of the call's
    return Device().extra_bytes(work)


@pytest.mark.parametrize("gradient", [None, "all"])
def test_a_twenty_fifth_of_eager(gradient: str | None) -> None:
    eager = extra_bytes(lambda x, weight: peers.einsum(x, weight, 3, "all"), gradient)
    ours = extra_bytes(capsroute.dynamic_routing, gradient)
    assert ours <= eager / 25, f"{ours / 2**20:.1f} MiB, eager {eager / 2**20:.1f} MiB"
