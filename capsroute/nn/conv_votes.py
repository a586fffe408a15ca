"""Votes of joined windows by torch's convolutions, in 1, 2 or 3 dimensions.

Everything is laid out for channels last: what comes out are whole capsules, which routing reads where they lie.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from capsroute.routing import checks

CONVOLUTIONS: dict[int, Callable[..., Tensor]] = {2: F.conv2d, 3: F.conv3d}
TRANSPOSED: dict[int, Callable[..., Tensor]] = {2: F.conv_transpose2d, 3: F.conv_transpose3d}


def votes_are_smaller(taps: float, in_size: int, outputs: int) -> bool:
    """Whether stored votes, of J·D = ``outputs`` components, take less memory than the windows, of taps·d, would."""
    return taps * in_size > outputs


def joined_votes(
    poses: Tensor, weight: Tensor, kernel_size: Sequence[int], *, transposed: bool = False, **geometry: Sequence[int]
) -> Tensor:
    """What the capsules of each window say, those of a type as one.

    Args:
        poses: ``[B, C, d, *space]``, any strides.
        weight: ``[I_w, J, D, prod(kernel_size) * d]``, I_w = C, or 1 for all types.
        kernel_size: One int for each axis of the space.
        transposed: Whether windows are those of a transposed convolution.
        **geometry: Arguments of the convolution, one int for each axis.

    Returns:
        ``[B, *positions, C, J, D]``; its first axes flatten in place where torch's convolution keeps channels last.

    Raises:
        TypeError: Poses of a dtype that is not the weight's, but for autocast.
        ValueError: Poses on another device.
    """
    kind = checks.floating("poses", poses).device.type
    casts = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    checks.same_kind("weight", weight, "poses", poses, dtype=not casts)
    batch, types, size = poses.shape[:3]
    own, outputs, out_size = weight.shape[:3]
    if len(kernel_size) == 1:  # no layout for channels last
        poses, kernel_size = poses.unsqueeze(3), (1, *kernel_size)
        fill = {"stride": 1, "dilation": 1}
        wide: dict[str, Any] = {name: (fill.get(name, 0), *value) for name, value in geometry.items()}
        return joined_votes(poses, weight, kernel_size, transposed=transposed, **wide).squeeze(1)
    axes = len(kernel_size)
    convolve = (TRANSPOSED if transposed else CONVOLUTIONS)[axes]
    kernel = weight.reshape(own, outputs * out_size, *kernel_size, size).movedim(-1, 2)  # [I_w, J·D, d, *kernel]
    if transposed:
        kernel = kernel.transpose(1, 2)
    # The kernel lies with its channels last, and what torch's convolutions return follows it in that.
    if own == 1:  # the types before the batch, so that batch and positions stay neighbours
        votes = convolve(poses.transpose(0, 1).flatten(0, 1), _last(kernel[0]), **geometry)
        votes = votes.movedim(1, -1).unflatten(0, (types, batch)).movedim(0, -2)
    elif axes == 3:  # torch's own groups take 1.5 times as long here
        each = zip(poses.unbind(1), kernel.unbind(0), strict=True)
        votes = torch.stack([convolve(x, _last(one), **geometry).movedim(1, -1) for x, one in each], dim=-2)
    else:
        votes = convolve(poses.flatten(1, 2), _last(kernel.flatten(0, 1)), groups=types, **geometry)
        votes = votes.movedim(1, -1).unflatten(-1, (types, -1))
    return votes.unflatten(-1, (outputs, out_size))


def _last(kernel: Tensor) -> Tensor:
    """The same, with its channels last in memory."""
    return kernel.movedim(1, -1).contiguous().movedim(-1, 1)  # vmap knows no memory_format
