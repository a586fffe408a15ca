"""The votes are never written to memory: what a call takes beyond its results stays far below them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

import capsroute
from capsroute.bench.memory import MIB, bytes_of, extra_bytes

from ..kernels import each_kernel
from .cases import Case, Tensors, votes_of

CASES = [
    Case((64, 512, 8, 10, 16)),
    Case((64, 512, 8, 10, 16), softmax="inputs"),
    Case((64, 512, 8, 10, 16), gradient="last", bias=True, logits="shared", input_mask=True, output_mask=True),
    Case((64, 512, 8, 10, 16), input_weight=True, squash="exponential", logit_update="replace", temperature="falling"),
    Case((64, 512, 8, 10, 16), logits="shared", given=True, iterations=1),
    Case((16, 128, 8, 64, 64)),
    Case((512, 40, 8, 10, 16)),  # small enough for votes kept for a tile
]

# What a call takes with its backward is no less than what it takes without.
BACKWARD = [pytest.param(False, marks=pytest.mark.nightly), True]


def extra(tensors: Tensors, case: Case, entry: str, backward: bool) -> int:
    leaves = {n: t.requires_grad_(backward) if t.is_floating_point() else t for n, t in tensors.items()}
    grad = case.output_gradient(torch.float32)

    def work() -> list[torch.Tensor]:
        output = getattr(capsroute, entry)(**leaves, **case.options())
        if not backward:
            return [output]
        return [output, *torch.autograd.grad(output, [t for t in leaves.values() if t.requires_grad], grad)]

    work()
    return extra_bytes(work) if grad.device.type == "cpu" else extra_cuda_bytes(work)


def extra_cuda_bytes(work: Callable[[], list[torch.Tensor]]) -> int:
    """By the count of torch's own allocator."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    results = work()
    return torch.cuda.max_memory_allocated() - before - bytes_of(*results)


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("backward", BACKWARD)
@each_kernel
def test_dynamic_routing(case: Case, backward: bool, kernel: str) -> None:
    tensors = case.tensors(torch.float32)
    votes = bytes_of(votes_of(tensors)["votes"])
    assert extra(tensors, case, "dynamic_routing", backward) < votes / 2


@pytest.mark.parametrize("case", [Case((1, 4096, 8, 32, 16))], ids=str)
@pytest.mark.parametrize("backward", BACKWARD)
@each_kernel
def test_one_sample(case: Case, backward: bool, kernel: str) -> None:
    """Kernels may work on several lanes where there is one sample, and yet not take as much as its votes.

    But for those that keep the votes of a sample: they take these once, and half as much beside them.
    """
    tensors = case.tensors(torch.float32)
    share = 1.5 if kernel.endswith("-wave") else 1.0
    assert extra(tensors, case, "dynamic_routing", backward) < share * bytes_of(votes_of(tensors)["votes"])


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("backward", BACKWARD)
@each_kernel
def test_route_votes(case: Case, backward: bool, kernel: str) -> None:
    """The votes are given here and their gradient is returned; no second copy of either is made."""
    tensors = votes_of(case.tensors(torch.float32))
    votes = bytes_of(tensors["votes"])
    assert extra(tensors, case, "route_votes", backward) < votes / 2


def test_the_mnist_shape() -> None:
    """The bound of the project: 16 MiB forward and backward at B=128, I=1152, J=10, D=16, where eager needs 390."""
    case = Case((128, 1152, 8, 10, 16))
    assert extra(case.tensors(torch.float32), case, "dynamic_routing", backward=True) <= 16 * MIB
