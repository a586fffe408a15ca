"""Several devices and processes; one process shows what stops a module there."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import torch
import torch.distributed as dist
from torch import nn

from .columns import Case, tensors
from .door import door, gradients, same, total


@contextlib.contextmanager
def _group() -> Iterator[None]:
    """A process group of this process alone."""
    with tempfile.TemporaryDirectory() as folder:
        dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=0, world_size=1)
        try:
            yield
        finally:
            dist.destroy_process_group()


@door("`nn.DataParallel`, on a machine without a GPU")
def data_parallel(case: Case) -> None:
    """It calls the module, there; with GPUs it calls it from a thread for each."""
    x = case.inputs(3)
    expected = case.module(*x)
    same(nn.DataParallel(case.module)(*x), expected)
    with ThreadPoolExecutor(2) as threads:
        for output in threads.map(lambda _: case.module(*x), range(2)):
            same(output, expected)


@door("`DistributedDataParallel`, two steps")
def distributed_data_parallel(case: Case) -> None:
    expected = gradients(case.module(*case.inputs(3)), case)
    with _group():
        parallel = nn.parallel.DistributedDataParallel(case.module)
        for _ in range(2):
            case.module.zero_grad()
            total(parallel(*case.inputs(3))).backward()
    same([p.grad for p in case.module.parameters()], expected)


@door("FSDP2: `fully_shard`, two steps")
def fully_sharded(case: Case) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    expected = gradients(case.module(*case.inputs(3)), case)
    with _group():
        sharded = fully_shard(case.module, mesh=init_device_mesh("cpu", (1,)))
        for _ in range(2):
            sharded.zero_grad()
            total(sharded(*case.inputs(3))).backward()
        same([p.grad.full_tensor() for p in sharded.parameters()], expected)


@door("DTensor: a batch that is sharded")
def dtensor(case: Case) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_module, distribute_tensor
    from torch.distributed.tensor.experimental import implicit_replication

    expected = case.module(*case.inputs(3))
    with _group():
        mesh = init_device_mesh("cpu", (1,))
        module = distribute_module(case.module, mesh)
        with implicit_replication():  # of the plain tensors that a network makes itself
            output = module(*(distribute_tensor(t, mesh, [Shard(0)]) for t in case.inputs(3)))
        same([t.full_tensor() for t in tensors(output)], expected)


@door("the meta device, forward and backward")
def meta(case: Case) -> None:
    from .columns import COLUMNS

    with torch.device("meta"):
        module = COLUMNS[case.name].make().eval()
    output = module(*(t.to("meta") for t in case.inputs(3)))
    expected = case.module(*case.inputs(3))
    assert [(t.shape, t.dtype) for t in tensors(output)] == [(t.shape, t.dtype) for t in tensors(expected)]
    total(output).backward()
    assert all(p.grad is not None and p.grad.is_meta for p in module.parameters())
