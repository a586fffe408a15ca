"""Pairs of overlapping digits, in the manner of MultiMNIST (Sabour et al. 2017, section 6.1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from capsroute.experiments.data.canvas import margin, place
from capsroute.training.datasets import ImageSet

__all__ = ["CANVAS", "OverlappingPairs"]

CANVAS = 36
"""Height and width in pixels: 28, and the largest shift of 4 to either side."""


@dataclass(frozen=True)
class _Draws:
    """Which images and where, ``[N, 2]`` and ``[N, 2, 2]``, int64."""

    members: Tensor
    corners: Tensor


class OverlappingPairs:
    """Two images of different classes, each shifted, one on top of the other; made when they are asked for.

    Each pair is two images drawn uniformly under the condition that their classes differ, each shifted by up to 4
    pixels along both axes (the frame of 28x28 stays inside the 36x36 of the canvas), and the sum of their pixels, cut
    off at white. Seed and number of a pair decide it alone.

    Args:
        source: Single images, of at least two classes.
        count: Pairs.
        seed: Of the pairs.
        classes: Classes of ``source``; None for one more than its largest label.
        side: Height and width of the canvas in pixels.

    Raises:
        ValueError: ``count`` is negative, ``source`` has fewer than two classes, or its images do not fit the canvas.
    """

    def __init__(
        self, source: ImageSet, count: int, seed: int, *, classes: int | None = None, side: int = CANVAS
    ) -> None:
        if count < 0:
            raise ValueError(f"count must not be negative, got {count}")
        if len(source.labels.unique()) < 2:
            raise ValueError("source must hold images of at least two classes")
        self._source = source
        self._side = side
        self.classes = int(source.labels.max()) + 1 if classes is None else classes
        """Classes of the single images."""
        self._draws = _draw(source.labels, count, margin(source, side), seed)

    def __len__(self) -> int:
        return len(self._draws.members)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        return self._source.images.shape[1], self._side, self._side

    def batch(self, indices: Tensor | slice) -> tuple[Tensor, Tensor]:
        """Images ``[B, channels, side, side]``, float32 in [0, 1], and labels ``[B, classes]``, float32, 0 or 1."""
        singles, labels = self.singles(indices)
        presence = torch.zeros(len(labels), self.classes).scatter_(1, labels, 1.0)
        return singles.sum(dim=1).clamp_(max=1), presence

    def singles(self, indices: Tensor | slice) -> tuple[Tensor, Tensor]:
        """What the pairs are made of.

        Returns:
            Images ``[B, 2, channels, side, side]``, float32 in [0, 1], each shifted as it is in the pair, and their
            classes ``[B, 2]``, int64.
        """
        members, corners = self._draws.members[indices], self._draws.corners[indices]
        images, labels = self._source.batch(members.flatten())
        placed = place(images, corners.flatten(0, 1), self._side)
        return placed.unflatten(0, (-1, 2)), labels.unflatten(0, (-1, 2))


def _draw(labels: Tensor, count: int, room: int, seed: int) -> _Draws:
    """Draws all pairs: a number or two for each is little memory, and any subset is then at hand."""
    generator = torch.Generator().manual_seed(seed)
    first = torch.randint(len(labels), (count,), generator=generator)
    draw = torch.rand(count, dtype=torch.float64, generator=generator)
    corners = torch.randint(2 * room + 1, (count, 2, 2), generator=generator)
    # Sorted by class, the images of other classes are those before and those after a gap.
    order = labels.argsort(stable=True)
    sizes = labels.bincount()
    gap_start, gap = (sizes.cumsum(0) - sizes)[labels[first]], sizes[labels[first]]
    chosen = (draw * (len(labels) - gap)).long()
    second = order[torch.where(chosen < gap_start, chosen, chosen + gap)]
    return _Draws(torch.stack([first, second], dim=1), corners)
