"""Random affine maps of images on a larger canvas: in the manner of affNIST, and not affNIST itself.

affNIST draws rotations of up to 20 degrees, shears of up to 0.2, scales from 0.8 to 1.2 and translations that keep the
digit on the canvas. So does this, but from its own draws and with its own interpolation.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from capsroute.training.datasets import ImageSet

__all__ = ["CANVAS", "affine"]

CANVAS = 40
"""Height and width in pixels, as in affNIST."""
_CHUNK = 1000  # images mapped at once: the coordinates of all would take far more memory than the images


def affine(
    data: ImageSet,
    seed: int,
    *,
    side: int = CANVAS,
    degrees: float = 20.0,
    shear: float = 0.2,
    scale: tuple[float, float] = (0.8, 1.2),
    reach: float | None = None,
) -> ImageSet:
    """Each image under its own affine map, at a random place of a black canvas with all its ink inside.

    The map scales along both axes, shears along the rows, then rotates, each factor uniform in its range; the place is
    uniform too. Pixels are interpolated bilinearly. The same seed gives the same draws in whatever range.

    Args:
        data: Images, whose background is 0.
        seed: Of the maps.
        side: Height and width of the canvas in pixels.
        degrees: Largest rotation to either side.
        shear: Largest shear to either side: columns moved per row, in pixels.
        scale: Least and largest scale, above 0, drawn for each axis.
        reach: Pixels by which the middle of an image may lie beside that of the canvas, along each axis, unless its
            ink has to move further inside; None for anywhere, as in affNIST.

    Returns:
        Images ``[N, channels, side, side]``, with the labels of ``data``.
    """
    generator = torch.Generator().manual_seed(seed)
    count, channels = data.images.shape[:2]
    angle = math.radians(degrees) * (2 * torch.rand(count, generator=generator) - 1)
    skew = shear * (2 * torch.rand(count, generator=generator) - 1)
    sizes = scale[0] + (scale[1] - scale[0]) * torch.rand(count, 2, generator=generator)
    place = torch.rand(count, 2, generator=generator)

    matrix = _matrix(angle, skew, sizes)
    images = torch.empty(count, channels, side, side, dtype=torch.uint8)
    for part in _chunks(count):
        images[part] = _mapped(data.images[part], matrix[part], place[part], side, reach)
    return ImageSet(images, data.labels, data.white)


def _chunks(count: int) -> Iterator[slice]:
    return (slice(start, start + _CHUNK) for start in range(0, count, _CHUNK))


def _matrix(angle: Tensor, skew: Tensor, sizes: Tensor) -> Tensor:
    """``[N, 2, 2]``: coordinates (x, y) in the image to coordinates on the canvas, in pixels."""
    cosine, sine = angle.cos(), angle.sin()
    rotation = torch.stack([cosine, -sine, sine, cosine], dim=1).reshape(-1, 2, 2)
    shearing = torch.eye(2).repeat(len(skew), 1, 1)
    shearing[:, 0, 1] = skew
    return rotation @ shearing @ torch.diag_embed(sizes)


def _mapped(images: Tensor, matrix: Tensor, place: Tensor, side: int, reach: float | None) -> Tensor:
    """Images ``[N, channels, side, side]``, uint8; ``place`` ``[N, 2]`` goes from 0 to 1 over the room of each."""
    height, width = images.shape[-2:]
    corners = _ink_corners(images) @ matrix.mT  # [N, 4, 2]
    low, high = corners.amin(dim=1), corners.amax(dim=1)
    # What the box around the ink leaves free; a box larger than the canvas is centred.
    room = (side - (high - low)).clamp_min(0)
    middle = (low + high) / 2
    if reach is None:
        translation = room * (place - 0.5) - middle
    else:
        translation = torch.clamp(reach * (2 * place - 1), -room / 2 - middle, room / 2 - middle)

    # grid_sample goes from the canvas back to the image, with coordinates from -1 to 1 over either.
    inverse = torch.linalg.inv(matrix)
    half = torch.tensor([width, height]) / 2
    theta = torch.cat([inverse * (side / 2), -inverse @ translation[:, :, None]], dim=2) / half[:, None]
    grid = functional.affine_grid(theta, [len(images), 1, side, side], align_corners=False)
    mapped = functional.grid_sample(images.float(), grid, padding_mode="zeros", align_corners=False)
    return mapped.round_().clamp_(0, 255).to(torch.uint8)


def _ink_corners(images: Tensor) -> Tensor:
    """Corners of the box around all pixels above 0, ``[N, 4, 2]``: (x, y) in pixels from the middle of the image."""
    ink = (images > 0).any(dim=1)  # [N, H, W]
    spans = []
    for along, across in ((2, 1), (1, 2)):  # x, y
        size = ink.shape[along]
        held = ink.any(dim=across)  # [N, size]
        axis = torch.arange(size)
        first = torch.where(held, axis, size).amin(dim=1)
        last = torch.where(held, axis + 1, 0).amax(dim=1)
        empty = first >= last
        spans.append([torch.where(empty, size / 2, edge) - size / 2 for edge in (first, last)])
    (left, right), (top, bottom) = spans
    return torch.stack([torch.stack([x, y], dim=1) for x in (left, right) for y in (top, bottom)], dim=1)
