"""Floor 2: calls with DTensors, whose batch may be divided among devices; each routes its own samples where they lie.

Samples do not depend on each other, so nothing is sent: what the samples share is whole on every device, and its
gradient a sum over the devices that is still to be taken (``Partial``). Input capsules and weight are divided by
:mod:`capsroute.distributed`, and not here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from torch import Size, Tensor

from .ops import OPTIONAL, SOURCES
from .result import RoutingResult

_Run = Callable[[Sequence[Tensor | None]], "Tensor | RoutingResult"]


def among(tensors: Sequence[Tensor | None]) -> bool:
    """Whether the first of the tensors is a DTensor, which then all are."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensors[0], module.DTensor)


def route(name: str, tensors: Sequence[Tensor | None], run: _Run) -> Tensor | RoutingResult:
    """Give ``run`` what this device has of the tensors, and make DTensors of what it returns.

    Args:
        name: Of the routing op.
        tensors: Its sources and optional tensors, checked.
        run: From tensors of this device to results for its samples.

    Raises:
        ValueError: Another axis than that of the batch is divided.
    """
    from torch.distributed.tensor import DTensor, Partial, Replicate

    like: Any = tensors[0]
    mesh = like.device_mesh
    placements = [Replicate() if placement.is_partial() else placement for placement in like.placements]
    sums = [Partial() if placement.is_shard() else Replicate() for placement in placements]

    def local(argument: str, tensor: Any) -> Any:
        if not isinstance(tensor, DTensor):
            return tensor  # None, or what the op refuses beside DTensors
        shared = argument in ("weight", "bias") or (argument == "logits" and tensor.dim() == 2)
        for placement in tensor.placements:
            if placement.is_shard() and (shared or not placement.is_shard(0)):
                allowed = "replicated" if shared else "divided along its batch, Shard(0), or replicated"
                raise ValueError(
                    f"{argument} must be {allowed}, got {placement}: redistribute it, divide the input capsules by "
                    f"capsroute.distributed, or call capsroute.{name} inside "
                    "torch.distributed.tensor.experimental.local_map"
                )
        wanted = [Replicate()] * mesh.ndim if shared else placements
        if list(tensor.placements) != wanted:
            tensor = tensor.redistribute(mesh, wanted)
        return tensor.to_local(grad_placements=sums if shared else placements)

    def whole(result: Tensor | None) -> Any:
        if result is None:
            return None
        size = (like.shape[0], *result.shape[1:])
        return DTensor.from_local(result, mesh, placements, shape=Size(size), stride=result.stride())

    result = run([local(*each) for each in zip((*SOURCES[name], *OPTIONAL), tensors, strict=True)])
    return whole(result) if isinstance(result, Tensor) else RoutingResult(*map(whole, result))
