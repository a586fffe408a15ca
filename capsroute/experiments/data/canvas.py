"""Images placed on a larger black canvas."""

from __future__ import annotations

import torch
from torch import Tensor

from capsroute.training.datasets import ImageSet

__all__ = ["DIRECTIONS", "SHIFT_CANVAS", "centred", "centred_shifted", "margin", "place", "shifted", "translated"]

SHIFT_CANVAS = 40
"""Height and width in pixels of the canvas for images of 28x28 and shifts of up to six. MNIST's digits keep four pixels
from the border of their 28x28, too few for that; here the whole frame moves, and nothing is cut off or wraps around."""
DIRECTIONS = torch.tensor([[1, 0], [1, 1], [0, 1], [-1, 1], [-1, 0], [-1, -1], [0, -1], [1, -1]])
"""The eight directions, ``[8, 2]``: down and right; a diagonal shift by k moves k pixels along both axes."""


def margin(data: ImageSet, side: int) -> int:
    """Whole pixels by which centred images can move on a canvas of ``side`` pixels without leaving it.

    Raises:
        ValueError: The images are not square, larger than the canvas, or of another parity.
    """
    height, width = data.images.shape[-2:]
    if height != width or height > side or (side - height) % 2:
        raise ValueError(
            f"side must exceed the side of square images by an even number of pixels; got {side} for images of "
            f"{height}x{width}"
        )
    return (side - height) // 2


def place(images: Tensor, corners: Tensor, side: int) -> Tensor:
    """Each image ``[N, channels, H, W]`` at its own place on a black canvas: ``[N, channels, side, side]``.

    The ``corners``, ``[N, 2]``, int64, are row and column of each image's upper left pixel; images stay inside.
    """
    count, channels, height, width = images.shape
    canvas = images.new_zeros(count, side, side, channels)
    rows = (corners[:, :1] + torch.arange(height))[:, :, None]  # [N, H, 1]
    columns = (corners[:, 1:] + torch.arange(width))[:, None, :]  # [N, 1, W]
    canvas[torch.arange(count)[:, None, None], rows, columns] = images.permute(0, 2, 3, 1)
    return canvas.permute(0, 3, 1, 2).contiguous()


def centred(data: ImageSet, side: int) -> ImageSet:
    """The images in the middle of a canvas of ``side`` pixels.

    Raises:
        ValueError: See :func:`margin`.
    """
    return centred_shifted(data, torch.zeros(len(data), 2, dtype=torch.int64), side)


def centred_shifted(data: ImageSet, shifts: Tensor, side: int) -> ImageSet:
    """The images moved from the middle of a canvas by ``shifts`` ``[N, 2]``, int64: pixels down and to the right.

    Raises:
        ValueError: An image would leave the canvas, or see :func:`margin`.
    """
    room = margin(data, side)
    if len(shifts) and int(shifts.abs().max()) > room:
        raise ValueError(f"shifts must be at most {room} pixels on a canvas of {side}, got {int(shifts.abs().max())}")
    return ImageSet(place(data.images, room + shifts, side), data.labels, data.white)


def shifted(data: ImageSet, pixels: int) -> ImageSet:
    """Images moved on :data:`SHIFT_CANVAS` by a number of pixels, image n in direction n modulo 8.

    Raises:
        ValueError: An image would leave the canvas, or does not fit on it.
    """
    return centred_shifted(data, pixels * DIRECTIONS[torch.arange(len(data)) % len(DIRECTIONS)], SHIFT_CANVAS)


def translated(data: ImageSet, side: int, seed: int) -> ImageSet:
    """Each image at a random place of a canvas, wholly inside; all places are equally likely.

    Sabour et al. 2017, section 5.2, train on MNIST placed so on 40x40 pixels.

    Raises:
        ValueError: See :func:`margin`.
    """
    room = margin(data, side)
    generator = torch.Generator().manual_seed(seed)
    corners = torch.randint(2 * room + 1, (len(data), 2), generator=generator)
    return ImageSet(place(data.images, corners, side), data.labels, data.white)
