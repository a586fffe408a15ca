"""Augmentation of training images."""

import torch
from torch import Tensor

__all__ = ["random_shift"]


def random_shift(images: Tensor, pixels: int, generator: torch.Generator) -> Tensor:
    """Shifts each image by its own random whole number of pixels, with zeros moving in.

    Sabour et al. 2017, section 5: up to 2 pixels in each direction for MNIST.

    Args:
        images: ``[B, channels, H, W]``, on the CPU.
        pixels: Largest shift along each axis, to both sides.
        generator: Source of the shifts, which are uniform.

    Returns:
        ``[B, channels, H, W]``, a new tensor unless ``pixels`` is 0.
    """
    if pixels == 0:
        return images
    batch, _, height, width = images.shape
    padded = torch.nn.functional.pad(images, (pixels,) * 4)
    offsets = torch.randint(2 * pixels + 1, (2, batch, 1), generator=generator)
    rows = (offsets[0] + torch.arange(height))[:, :, None]  # [B, H, 1]
    columns = (offsets[1] + torch.arange(width))[:, None, :]  # [B, 1, W]
    sample = torch.arange(batch)[:, None, None]
    # Advanced indices around the slice put the channels last.
    return padded[sample, :, rows, columns].permute(0, 3, 1, 2)
