"""Pairs of overlapping digits, in the manner of MultiMNIST (Sabour et al. 2017, section 6.1)."""

from __future__ import annotations

import torch
from torch import Tensor

from capsroute.experiments.data.canvas import margin, place
from capsroute.training.datasets import ImageSet

__all__ = ["CANVAS", "OverlappingPairs"]

CANVAS = 36
"""Height and width in pixels: 28, and the largest shift of 4 to either side."""


class OverlappingPairs:
    """Two grey images of different classes, each shifted, one on top of the other; made when they are asked for.

    Each pair is two images drawn uniformly under the condition that their classes differ, each shifted by up to 4
    pixels along both axes (the frame of 28x28 stays inside the 36x36 of the canvas), and the sum of their pixels, cut
    off at white. Seed and number of a pair decide it alone.

    Args:
        source: Single images, of at least two classes.
        count: Pairs.
        seed: Of the pairs.

    Raises:
        ValueError: ``count`` is negative, ``source`` has fewer than two classes, or its images do not fit the canvas.
    """

    image_shape = (3, CANVAS, CANVAS)

    def __init__(self, source: ImageSet, count: int, seed: int) -> None:
        if count < 0:
            raise ValueError(f"count must not be negative, got {count}")
        if len(source.labels.unique()) < 2:
            raise ValueError("source must hold images of at least two classes")
        self._source = source
        room = margin(source, CANVAS)
        # All are drawn at once: a number or two for each is little memory, and any subset is then at hand.
        generator = torch.Generator().manual_seed(seed)
        self._members = _members(source.labels, count, generator)
        self._corners = torch.randint(2 * room + 1, (count, 2, 2), generator=generator)

    def __len__(self) -> int:
        return len(self._members)

    def batch(self, indices: Tensor | slice) -> tuple[Tensor, Tensor]:
        """Pairs with what they are made of.

        Returns:
            Images ``[B, 3, 36, 36]``, float32 in [0, 1]: the pair, then each digit alone as it is shifted in the pair;
            and the classes of the two digits, ``[B, 2]``, int64.
        """
        members, corners = self._members[indices], self._corners[indices]
        images, labels = self._source.batch(members.flatten())
        singles = place(images, corners.flatten(0, 1), CANVAS).view(-1, 2, CANVAS, CANVAS)
        pair = singles.sum(dim=1, keepdim=True).clamp_(max=1)
        return torch.cat([pair, singles], dim=1), labels.view(-1, 2)


def _members(labels: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Which two images each pair is made of, ``[N, 2]``, int64."""
    first = torch.randint(len(labels), (count,), generator=generator)
    draw = torch.rand(count, dtype=torch.float64, generator=generator)
    # Sorted by class, the images of other classes are those before and those after a gap.
    order = labels.argsort(stable=True)
    sizes = labels.bincount()
    gap_start, gap = (sizes.cumsum(0) - sizes)[labels[first]], sizes[labels[first]]
    chosen = (draw * (len(labels) - gap)).long()
    return torch.stack([first, order[torch.where(chosen < gap_start, chosen, chosen + gap)]], dim=1)
