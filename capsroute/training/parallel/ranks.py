"""The processes that train one network together, each with its part of every batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, distributed, nn

from capsroute.training.errors import TrainingError

__all__ = ["ALONE", "Ranks", "SharedError"]

T = TypeVar("T")


class SharedError(TrainingError):
    """An error of rank 0 as the other ranks raise it, who need not repeat what rank 0 says."""


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together. With one process no method talks to anybody.

    What the methods exchange are tensors or objects on the CPU, so that they never wait for a GPU; all ranks must call
    them in the same order. They raise what ``torch.distributed`` raises where another rank is gone.

    Args:
        rank: Number of this process, from 0.
        size: Number of processes.
        local_rank: Number of this process on its machine.
        local_size: Processes on this machine.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @property
    def main(self) -> bool:
        """Whether this is rank 0, which alone writes files and prints."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """Sum over the ranks, a new tensor on the CPU."""
        total = values.detach().to("cpu", copy=True)
        if self.size > 1:
            distributed.all_reduce(total)
        return total

    def largest(self, value: int) -> int:
        """The largest value of any rank."""
        if self.size == 1:
            return value
        shared = torch.tensor(value)
        distributed.all_reduce(shared, distributed.ReduceOp.MAX)
        return int(shared)

    def on_main(self, function: Callable[[], T]) -> T | None:
        """Calls a function on rank 0 alone, while the others wait.

        Returns:
            Its result on rank 0, None elsewhere.

        Raises:
            TrainingError: The function raised it; on the other ranks as :class:`SharedError`.
        """
        if self.size == 1:
            return function()
        message: list[str | None] = [None]
        result = None
        problem = None
        if self.main:
            try:
                result = function()
            except TrainingError as error:
                problem = error
                message = [str(error)]
        distributed.broadcast_object_list(message)
        if problem is not None:
            raise problem
        if message[0] is not None:
            raise SharedError(message[0])
        return result

    def from_main(self, value: T) -> T:
        """The value that rank 0 gave."""
        if self.size == 1:
            return value
        values = [value]
        distributed.broadcast_object_list(values)
        return values[0]

    def agree(self, facts: Mapping[str, object]) -> None:
        """Checks that all ranks have the same.

        Args:
            facts: Plain values by their names.

        Raises:
            TrainingError: On all ranks, where one has another value than rank 0.
        """
        if self.size == 1:
            return
        everyone: list[Any] = [None] * self.size
        distributed.all_gather_object(everyone, dict(facts))
        for rank, other in enumerate(everyone):
            for name in {**everyone[0], **other}:
                ours, theirs = (side.get(name, "absent") for side in (everyone[0], other))
                if ours != theirs:
                    raise TrainingError(f"the ranks disagree: {name} is {ours} on rank 0, but {theirs} on rank {rank}")

    def parallel(self, network: nn.Module, device: torch.device) -> nn.Module:
        """The network as it is to be trained: its backward averages the gradients over the ranks."""
        if self.size == 1:
            return network
        return nn.parallel.DistributedDataParallel(
            network, device_ids=[device.index] if device.type == "cuda" else None
        )

    def accumulating(self, parallel: nn.Module) -> AbstractContextManager[None]:
        """Within it, the backward of what :meth:`parallel` returned keeps gradients to this rank."""
        if self.size == 1:
            return nullcontext()
        return cast(nn.parallel.DistributedDataParallel, parallel).no_sync()


ALONE = Ranks()
"""One process, which is its own rank 0."""
