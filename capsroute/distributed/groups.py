"""The process group of a call, and sums over its ranks."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor


class Members(NamedTuple):
    """A process group, and this process in it."""

    group: dist.ProcessGroup | None  # None: the default group
    rank: int
    ranks: int

    def add_up(self, values: Tensor) -> Tensor:
        """The sum over the ranks, in place of ``values``, which are contiguous; the same bits on every rank."""
        return self._reduce(values, dist.ReduceOp.SUM)

    def largest(self, values: Tensor) -> Tensor:
        """The largest over the ranks of each of ``values``, in their place."""
        return self._reduce(values, dist.ReduceOp.MAX)

    def _reduce(self, values: Tensor, by: dist.ReduceOp.RedOpType) -> Tensor:
        if self.ranks > 1 and values.numel() > 0:
            dist.all_reduce(values, by, group=self.group)
        return values


def members(group: dist.ProcessGroup | None) -> Members:
    """The ranks of a group.

    Raises:
        RuntimeError: ``torch.distributed`` is not there, or not initialised.
        ValueError: This process is not in the group.
    """
    if not dist.is_available():
        raise RuntimeError("capsroute.distributed needs torch.distributed, which this build of PyTorch does not have")
    if not dist.is_initialized():
        raise RuntimeError(
            "torch.distributed is not initialised: start the processes, for example by torchrun, and call "
            "torch.distributed.init_process_group first"
        )
    rank = dist.get_rank(group)
    if rank < 0:
        raise ValueError(f"group must contain the process that uses it, and does not contain rank {dist.get_rank()}")
    return Members(group, rank, dist.get_world_size(group))


def device_for_numbers(group: dist.ProcessGroup | None, device: torch.device) -> torch.device:
    """Where a few numbers are exchanged: on the CPU if the group can, so that no device is waited for."""
    return torch.device("cpu") if "cpu:" in str(dist.get_backend_config(group)) else device
