"""Who holds which inputs, and slices of what all ranks have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd import forward_ad
from torch.autograd.function import Function

from capsroute.routing import tangents

from .groups import Members, members

_PER_INPUT = ("weight", "logits")  # parameters of a capsule layer that have a row per input


def held_inputs(inputs: int, group: dist.ProcessGroup | None = None) -> range:
    """The inputs that this rank holds: consecutive ones, as many as the others hold, or one more or less.

    Args:
        inputs: Of all ranks, at least as many as there are ranks.
        group: The ranks; None for the default group.

    Raises:
        RuntimeError: ``torch.distributed`` is not initialised.
        ValueError: Some rank would hold none; this process is not in the group.
    """
    _, rank, ranks = members(group)
    if inputs < ranks:
        raise ValueError(f"inputs must be at least as many as there are ranks in the group, {ranks}, got {inputs}")
    return range(rank * inputs // ranks, (rank + 1) * inputs // ranks)


class _Split(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, held: range, ranks: Members) -> Tensor:
        ctx.shape, ctx.held, ctx.ranks = x.shape, held, ranks
        return x[:, held.start : held.stop].clone(memory_format=torch.contiguous_format)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        whole = gradient.new_zeros(ctx.shape)
        whole[:, ctx.held.start : ctx.held.stop] = gradient
        return ctx.ranks.add_up(whole), None, None


def split_inputs(x: Tensor, group: dist.ProcessGroup | None = None) -> Tensor:
    """This rank's slice of input capsules that every rank has computed.

    The gradient of ``x`` is put together from those of all ranks, so that what computed it, for example convolutions
    that stand on every rank, gets its whole gradient on every rank.

    Args:
        x: ``[B, I, ...]``, the same on every rank, and differentiable on every rank or on none.
        group: The ranks; None for the default group.

    Returns:
        ``[B, I_local, ...]``, the inputs of :func:`held_inputs`; a contiguous copy.

    Raises:
        RuntimeError, ValueError: As :func:`held_inputs`; ``x`` has fewer than two axes; a transform of torch.func.
    """
    if x.dim() < 2:
        raise ValueError(f"x must have the axes [B, I, ...], got shape {tuple(x.shape)}")
    held = held_inputs(x.shape[1], group)
    if torch._C._are_functorch_transforms_active():
        raise ValueError(
            "split_inputs must not run inside a transform of torch.func, which cannot see the sum over the ranks in "
            "its gradient: split before the transform, or give capsroute.dynamic_routing all inputs"
        )
    if tangents.has_one(x):  # it is linear
        return forward_ad.make_dual(*(_Split.apply(each, held, members(group)) for each in forward_ad.unpack_dual(x)))
    slice_of_rank: Tensor = _Split.apply(x, held, members(group))
    return slice_of_rank


def state_of_slice(state: Mapping[str, Tensor], held: range, prefix: str = "") -> dict[str, Tensor]:
    """From a state dict with a whole capsule layer to one with the slice of these inputs.

    Args:
        state: Of a :class:`capsroute.nn.CapsuleLayer` with a weight of its own for each input, or of a network that has
            one.
        held: The inputs, see :func:`held_inputs`.
        prefix: Of the layer's names in ``state``, for example ``"capsules."``.

    Returns:
        The same, the layer's ``weight`` and ``logits`` with the rows of these inputs alone.
    """
    sliced = {prefix + name for name in _PER_INPUT}
    return {name: value[held.start : held.stop] if name in sliced else value for name, value in state.items()}
