"""Labelled images in memory."""

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Dataset", "ImageSet"]


@dataclass(frozen=True)
class ImageSet:
    """Images and their classes.

    Args:
        images: ``[N, channels, H, W]``, uint8: a quarter of the memory of float32, and nothing is lost.
        labels: ``[N]``, int64.
        white: Value of a pixel that becomes 1.0.
    """

    images: Tensor
    labels: Tensor
    white: int = 255

    def __len__(self) -> int:
        return self.images.shape[0]

    def batch(self, indices: Tensor | slice) -> tuple[Tensor, Tensor]:
        """Images ``[B, channels, H, W]``, float32 in [0, 1], and labels ``[B]`` at the given places."""
        return self.images[indices].to(torch.float32) / self.white, self.labels[indices]


@dataclass(frozen=True)
class Dataset:
    """A training set and the test set that is never trained on."""

    train: ImageSet
    test: ImageSet
