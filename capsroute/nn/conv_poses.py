"""Poses on a grid from the channels of feature maps."""

from __future__ import annotations

from torch import Tensor

from capsroute.nn.activations import squash

__all__ = ["primary_poses"]


def primary_poses(
    maps: Tensor, types: int, eps: float = 1e-8, kind: str = "standard", constant: float | None = None
) -> Tensor:
    """Groups the channels of feature maps into poses and squashes each.

    What :class:`~capsroute.nn.PrimaryCapsules` does to the maps of its convolution, with the grid kept for a
    convolutional capsule layer.

    Args:
        maps: ``[B, types * d, *space]``, any floating-point dtype.
        types: Capsule types, C; a capsule is a group of d consecutive channels at one position.
        eps: Of the squash; see :func:`~capsroute.nn.squash`.
        kind: Of the squash.
        constant: Of the squash.

    Returns:
        ``[B, types, d, *space]``.

    Raises:
        TypeError: ``maps`` is not a floating-point tensor.
        ValueError: The channels are no multiple of ``types``, or an argument of the squash is not allowed.
    """
    if maps.dim() < 2 or types < 1 or maps.shape[1] % types:
        raise ValueError(f"maps must have a multiple of types={types} channels, got the shape {list(maps.shape)}")
    poses = maps.unflatten(1, (types, maps.shape[1] // types)).movedim(2, -1)  # [B, C, *space, d]
    return squash(poses, eps, kind, constant).movedim(-1, 2)
