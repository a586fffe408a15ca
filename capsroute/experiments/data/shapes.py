"""Shapes with soft edges, drawn for many images at once.

A coverage is the share of each pixel that a shape takes, ``[N, side, side]`` in [0, 1]: the signed distance to the
shape's edge, in pixels, cut off half a pixel to either side. That is what averaging over the area of a pixel gives
along a straight edge, at the price of one evaluation per pixel.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["arc", "ellipse", "frame", "paint", "segment", "triangle"]

Frame = tuple[Tensor, Tensor]
"""Coordinates ``(u, v)`` of every pixel's centre in the frame of a shape, each ``[N, side, side]``, in pixels."""


def frame(centre: Tensor, angle: Tensor, side: int) -> Frame:
    """Coordinates of the pixels relative to a centre and turned by an angle.

    Args:
        centre: ``[N, 2]``, x to the right and y down, in pixels from the middle of the image.
        angle: ``[N]``, radians; positive turns the shape from x towards y.
        side: Height and width of the images in pixels.
    """
    axis = torch.arange(side) - (side - 1) / 2
    x = axis[None, None, :] - centre[:, 0, None, None]  # [N, 1, side]
    y = axis[None, :, None] - centre[:, 1, None, None]  # [N, side, 1]
    cosine, sine = angle.cos()[:, None, None], angle.sin()[:, None, None]
    return x * cosine + y * sine, y * cosine - x * sine


def ellipse(at: Frame, half_width: Tensor, half_height: Tensor) -> Tensor:
    """Coverage of ellipses with the half axes ``[N]`` along u and v."""
    u, v = at
    width, height = half_width[:, None, None], half_height[:, None, None]
    # To first order the distance to the edge f = 0 is f / |grad f|.
    value = (u / width).square() + (v / height).square() - 1
    slope = 2 * ((u / width.square()).square() + (v / height.square()).square()).sqrt()
    return _covered(value / slope.clamp_min(1e-6))


def triangle(at: Frame, half_width: Tensor, half_height: Tensor) -> Tensor:
    """Coverage of isosceles triangles that stand on their base, within the half sizes ``[N]``."""
    u, v = at
    width, height = half_width[:, None, None], half_height[:, None, None]
    flank = (2 * height * u.abs() - width * (v + height)) / (4 * height.square() + width.square()).sqrt()
    return _covered(torch.maximum(flank, v - height))


def arc(at: Frame, half_width: Tensor, half_thickness: Tensor, bend: Tensor) -> Tensor:
    """Coverage of bands along the parabola ``v = bend * (u² / half_width - half_width / 2)``.

    Args:
        at: Coordinates of the pixels.
        half_width: ``[N]``, along u.
        half_thickness: ``[N]``, along v.
        bend: ``[N]``; positive bends the ends down, in the direction of v.
    """
    u, v = at
    width, bend = half_width[:, None, None], bend[:, None, None]
    off = v - bend * (u.square() / width - width / 2)
    slope = (1 + (2 * bend * u / width).square()).sqrt()
    return _covered(torch.maximum(off.abs() / slope - half_thickness[:, None, None], u.abs() - width))


def segment(at: Frame, half_length: Tensor, half_thickness: Tensor) -> Tensor:
    """Coverage of straight strokes along u, with the half sizes ``[N]``."""
    u, v = at
    return _covered(torch.maximum(u.abs() - half_length[:, None, None], v.abs() - half_thickness[:, None, None]))


def paint(images: Tensor, coverage: Tensor, tone: Tensor) -> Tensor:
    """Images ``[N, side, side]`` with a shape of a tone ``[N]`` laid over them, as a new tensor."""
    return images + coverage * (tone[:, None, None] - images)


def _covered(distance: Tensor) -> Tensor:
    """Share of a pixel inside a straight edge at a signed distance, negative inside."""
    return (0.5 - distance).clamp_(0, 1)
