"""Windows of a convolution over poses, in 1, 2 or 3 dimensions: sizes, padding and strided views.

Poses are taken with their capsules last, ``[B, *space, C, d]``: a window then copies whole capsules, and where windows
do not overlap it may copy nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from capsroute.routing import backends, sharding
from capsroute.routing.checks import choice, per_axis

SAME = "same"


class Margins(NamedTuple):
    """Positions to add on the two sides of an axis; negative ones are cut off."""

    before: int
    after: int


def padding_per_axis(padding: int | Sequence[int] | str, axes: int) -> tuple[int, ...] | None:
    """Padding on both sides of each axis; None for ``"same"``.

    Raises:
        TypeError: See :func:`capsroute.routing.values.per_axis`.
        ValueError: Likewise, or another string than ``"same"``.
    """
    if not isinstance(padding, str):
        return per_axis("padding", padding, axes, 0)
    if padding != SAME:
        raise ValueError(f"padding must be {SAME!r}, an int or a sequence of {axes} ints, got {padding!r}")
    return None


def conv_sizes(kernel_size: Any, stride: Any, padding: Any) -> dict[str, Any]:
    """Arguments of a :class:`torch.nn.Conv2d` as plain ints; a padding by name is its own matter."""
    around = ("padding", padding, 2, 0)
    return {
        "kernel_size": per_axis("kernel_size", kernel_size, 2, 1),
        "stride": per_axis("stride", stride, 2, 1),
        "padding": choice("padding", padding, ("valid", SAME)) if isinstance(padding, str) else per_axis(*around),
    }


def margins(size: int, kernel: int, stride: int, dilation: int, padding: int | None) -> Margins:
    """What to add to an axis of ``size`` positions; ``padding`` None is ``"same"``.

    That one leaves ``ceil(size / stride)`` windows, the odd position at the end, as TensorFlow has it.
    """
    if padding is not None:
        return Margins(padding, padding)
    windows_along = -(-size // stride)
    missing = max((windows_along - 1) * stride + span(kernel, dilation) - size, 0)
    return Margins(missing // 2, missing - missing // 2)


def span(kernel: int, dilation: int) -> int:
    """Positions from the first to the last of a window."""
    return dilation * (kernel - 1) + 1


def plain_sizes(shape: Sequence[int]) -> tuple[int, ...]:
    """Those of some axes but the batch, for a reshape.

    While the ONNX exporter of TorchScript traces, sizes are nodes of its graph, and a shape with a node in it makes it
    write down the batch of its example. Plain numbers beside a -1 leave the batch free; the grid is fixed there.
    """
    return tuple(map(int, shape)) if _grid_is_fixed() else tuple(shape)


def batch(size: int) -> int:
    """That of the batch for a reshape: -1 beside :func:`plain_sizes`, and itself elsewhere.

    A -1 would not be known where ``torch.func.vmap`` maps over nothing.
    """
    return -1 if _grid_is_fixed() else size


def _grid_is_fixed() -> bool:
    return not torch.compiler.is_compiling() and backends.in_onnx_export()


def samples(x: Tensor) -> Tensor:
    """``[B, L, I, d]`` to ``[B * L, I, d]``: where all positions have one weight, they are samples."""
    return x.reshape(batch(x.shape[0] * x.shape[1]), *plain_sizes(x.shape[2:]))


def pad(poses: Tensor, sides: Sequence[Margins]) -> Tensor:
    """Zeros around, or positions cut off, ``[B, *space, C, d]``; the same tensor where there is nothing to do."""
    if not any(itertools.chain(*sides)):
        return poses
    # F.pad counts axes from the last one; those of the capsules stay as they are.
    amounts = [0, 0, 0, 0, *itertools.chain(*reversed(sides))]
    return torch.nn.functional.pad(poses, amounts)


def windows(poses: Tensor, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> Tensor:
    """All windows, a view but where one cannot be had: ``[B, *space, C, d]`` to ``[B, *positions, *kernel, C, d]``."""
    axes = len(kernel)
    unfold = _gathered if backends.in_onnx_export() or sharding.among((poses,)) else _unfolded
    for axis, (k, s, gap) in enumerate(zip(kernel, stride, dilation, strict=True), 1):
        poses = unfold(poses, axis, k, s, gap)
    # now [B, *positions, C, d, *kernel]
    first = poses.dim() - axes
    return poses.movedim(tuple(range(first, first + axes)), tuple(range(axes + 1, 2 * axes + 1)))


def _unfolded(poses: Tensor, axis: int, kernel: int, stride: int, dilation: int) -> Tensor:
    """The windows along an axis, a view: ``[..., W, ...]`` to ``[..., positions, ..., kernel]``."""
    return poses.unfold(axis, span(kernel, dilation), stride)[..., ::dilation]


def _gathered(poses: Tensor, axis: int, kernel: int, stride: int, dilation: int) -> Tensor:
    """The same as a copy, for what cannot unfold: ONNX has no such operator, and DTensors have no rule for it."""
    positions = (poses.shape[axis] - span(kernel, dilation)) // stride + 1
    first = stride * torch.arange(positions, device=poses.device)
    index = first[:, None] + dilation * torch.arange(kernel, device=poses.device)  # [positions, kernel]
    return poses.index_select(axis, index.flatten()).unflatten(axis, index.shape).movedim(axis + 1, -1)
