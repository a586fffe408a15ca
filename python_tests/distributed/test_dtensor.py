"""DTensors with a divided batch: the numbers of one process, on one rank and two; other divisions are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor

import capsroute


def _rank(rank: int, ranks: int, file: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=ranks)
    mesh = init_device_mesh("cpu", (ranks,))
    torch.manual_seed(0)
    x, weight, bias = torch.randn(5, 12, 5), torch.randn(12, 3, 6, 5), torch.randn(3, 6)
    logits, mask, grad = torch.randn(12, 3), torch.rand(5, 12) < 0.7, torch.randn(5, 3, 6)
    leaves = [tensor.requires_grad_() for tensor in (x, weight, bias, logits)]
    output = capsroute.dynamic_routing(*leaves[:3], logits=logits, input_mask=mask)
    expected = torch.autograd.grad(output, leaves, grad)

    places = [Shard(0), Replicate(), Replicate(), Replicate()]
    divided = [
        distribute_tensor(tensor.detach(), mesh, [place]).requires_grad_()
        for tensor, place in zip(leaves, places, strict=True)
    ]
    own_mask = distribute_tensor(mask, mesh, [Shard(0)])
    routed = capsroute.dynamic_routing(*divided[:3], logits=divided[3], input_mask=own_mask)
    assert routed.placements == (Shard(0),)
    assert torch.equal(routed.full_tensor(), output)
    gradients = torch.autograd.grad(routed, divided, distribute_tensor(grad, mesh, [Shard(0)]))
    assert gradients[0].placements == (Shard(0),)
    for found, right in zip(gradients, expected, strict=True):
        torch.testing.assert_close(found.full_tensor(), right)
    assert all(found.placements[0].is_partial() for found in gradients[1:])

    result = capsroute.dynamic_routing(*divided[:2], details=("coupling", "agreement"))
    right = capsroute.dynamic_routing(x, weight, details=("coupling", "agreement"))
    assert torch.equal(result.coupling.full_tensor(), right.coupling)
    assert torch.equal(result.agreement.full_tensor(), right.agreement)

    by_inputs = distribute_tensor(x.detach(), mesh, [Shard(1)])
    with pytest.raises(ValueError, match=r"x must be divided along its batch.*capsroute\.distributed.*local_map"):
        capsroute.dynamic_routing(by_inputs, divided[1])
    by_rows = distribute_tensor(weight.detach(), mesh, [Shard(0)])
    with pytest.raises(ValueError, match="weight must be replicated"):
        capsroute.dynamic_routing(divided[0], by_rows)
    dist.destroy_process_group()


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_divided_batch(ranks: int, tmp_path: Path) -> None:
    multiprocessing.spawn(_rank, (ranks, str(tmp_path / "meeting")), ranks)
