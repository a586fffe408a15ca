"""Small images whose every pixel tells where it comes from."""

from __future__ import annotations

import torch

from capsroute.training.datasets import ImageSet


def marked_images(count, side=28, classes=10, seed=0):
    """Random images without a black pixel, labelled in turn."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(1, 256, (count, 1, side, side), generator=generator, dtype=torch.uint8)
    return ImageSet(images, torch.arange(count) % classes)


def window(image, top, left, side):
    """The part of ``side`` pixels of an image ``[channels, H, W]``."""
    return image[:, top : top + side, left : left + side]
