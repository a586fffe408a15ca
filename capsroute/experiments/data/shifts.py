"""Centred images tested away from the centre.

MNIST's digits keep four pixels from the border of their 28x28, too few for shifts of six. All sets here are therefore
on 40x40, where a digit's whole frame moves by up to six pixels and nothing is cut off or wraps around.
"""

from __future__ import annotations

import torch

from capsroute.experiments.data.canvas import centred_shifted
from capsroute.training.datasets import ImageSet

__all__ = ["CANVAS", "DIRECTIONS", "shifted"]

CANVAS = 40
"""Height and width in pixels of the canvas for images of 28x28 and shifts of up to six."""
DIRECTIONS = torch.tensor([[1, 0], [1, 1], [0, 1], [-1, 1], [-1, 0], [-1, -1], [0, -1], [1, -1]])
"""The eight directions, ``[8, 2]``: down and right; a diagonal shift by k moves k pixels along both axes."""


def shifted(data: ImageSet, pixels: int, *, side: int = CANVAS) -> ImageSet:
    """Images moved by a number of pixels, image n in direction n modulo 8.

    Args:
        data: Images, smaller than the canvas.
        pixels: Of the shift; 0 is the centred set.
        side: Height and width of the canvas in pixels.

    Raises:
        ValueError: An image would leave the canvas, or does not fit on it.
    """
    return centred_shifted(data, pixels * DIRECTIONS[torch.arange(len(data)) % len(DIRECTIONS)], side)
