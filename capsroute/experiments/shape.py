"""Properties of a drawn shape that have a name, from the moments of its brightness."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["PROPERTIES", "properties"]

PROPERTIES = ("ink", "down", "right", "height", "width", "slant")
"""Sum of the pixels; row and column of the centre; spread of the rows and of the columns around it, in pixels; by how
many pixels the shape goes to the left with each pixel downwards, as a regression of columns on rows has it."""


def properties(images: Tensor) -> Tensor:
    """The named properties of each image.

    Args:
        images: ``[..., H, W]``, at least 0.

    Returns:
        ``[..., len(PROPERTIES)]``; those of an image without ink are 0.
    """
    height, width = images.shape[-2:]
    ink = images.sum((-2, -1))
    share = images / ink.clamp_min(1e-6)[..., None, None]
    rows = torch.arange(height, dtype=images.dtype)[:, None]
    columns = torch.arange(width, dtype=images.dtype)

    def mean(values: Tensor) -> Tensor:
        return (share * values).sum((-2, -1))

    down, right = mean(rows), mean(columns)
    from_row, from_column = rows - down[..., None, None], columns - right[..., None, None]
    variance = mean(from_row.square())
    slant = -mean(from_row * from_column) / variance.clamp_min(1e-6)
    return torch.stack([ink, down, right, variance.sqrt(), mean(from_column.square()).sqrt(), slant], dim=-1)
