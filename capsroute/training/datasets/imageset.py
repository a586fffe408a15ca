"""Labelled images in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

__all__ = ["Dataset", "ImageSet", "Images"]


class Images(Protocol):
    """Labelled images that are in memory, or made when they are asked for."""

    def __len__(self) -> int: ...

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width in pixels."""

    def batch(self, indices: Tensor | slice) -> tuple[Tensor, Tensor]:
        """Images ``[B, channels, H, W]``, float32 in [0, 1], and labels, their first axis B, at the given places.

        The same places give the same images at any time.
        """


@dataclass(frozen=True)
class ImageSet:
    """Images and their classes.

    Args:
        images: ``[N, channels, H, W]``, uint8: a quarter of the memory of float32, and nothing is lost.
        labels: Class numbers ``[N]``, int64; or presence ``[N, J]`` of 0 and 1, bool or uint8, for images with several
            labels or none.
        white: Value of a pixel that becomes 1.0.

    Raises:
        ValueError: There are not as many labels as images.
    """

    images: Tensor
    labels: Tensor
    white: int = 255

    def __post_init__(self) -> None:
        if len(self.labels) != len(self.images):
            raise ValueError(f"labels must be one per image, {len(self.images)}, got {len(self.labels)}")

    def __len__(self) -> int:
        return self.images.shape[0]

    def __getitem__(self, places: Tensor | slice) -> ImageSet:
        """The images at some places."""
        return ImageSet(self.images[places], self.labels[places], self.white)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width in pixels."""
        _, channels, height, width = self.images.shape
        return channels, height, width

    def batch(self, indices: Tensor | slice) -> tuple[Tensor, Tensor]:
        """Images ``[B, channels, H, W]``, float32 in [0, 1], and labels ``[B]`` or ``[B, J]`` at the given places."""
        return self.images[indices].to(torch.float32) / self.white, self.labels[indices]


@dataclass(frozen=True)
class Dataset:
    """A training set and the test set that is never trained on."""

    train: Images
    test: Images
