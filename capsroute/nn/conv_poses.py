"""Poses on a grid from the channels of feature maps."""

from __future__ import annotations

from torch import Tensor

from capsroute.nn.activations import squash

__all__ = ["primary_poses"]


def primary_poses(maps: Tensor, types: int, eps: float = 1e-8) -> Tensor:
    """Groups the channels of feature maps into poses and squashes each.

    What :class:`~capsroute.nn.PrimaryCapsules` does to the maps of its convolution, with the grid kept for a
    convolutional capsule layer.

    Args:
        maps: ``[B, types * d, *space]``, any floating-point dtype.
        types: Capsule types, C; a capsule is a group of d consecutive channels at one position.
        eps: Of the squash, see :func:`~capsroute.nn.squash`.

    Returns:
        ``[B, types, d, *space]``.

    Raises:
        TypeError: ``maps`` is not a floating-point tensor.
        ValueError: The channels are no multiple of ``types``, or ``eps`` is negative.
    """
    if maps.dim() < 2 or types < 1 or maps.shape[1] % types:
        raise ValueError(f"maps must have a multiple of types={types} channels, got the shape {list(maps.shape)}")
    return squash(maps.unflatten(1, (types, maps.shape[1] // types)).movedim(2, -1), eps).movedim(-1, 2)
