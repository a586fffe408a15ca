"""Augmentation of training images."""

import torch
from torch import Tensor

__all__ = ["draw_shifts", "shifted"]


def draw_shifts(count: int, pixels: int, generator: torch.Generator) -> Tensor:
    """Draws a uniform shift of up to ``pixels``, to both sides, along each axis for each of B images.

    Returns:
        ``[2, B]``, int64 from 0 to ``2 * pixels``, where ``pixels`` leaves an image where it is: rows, then columns.
    """
    return torch.randint(2 * pixels + 1, (2, count), generator=generator)


def shifted(images: Tensor, shifts: Tensor, pixels: int) -> Tensor:
    """Shifts each image by its own whole number of pixels, with zeros moving in.

    Sabour et al. 2017, section 5: up to 2 pixels in each direction for MNIST.

    Args:
        images: ``[B, channels, H, W]``, on any device.
        shifts: Of these images, from :func:`draw_shifts`.
        pixels: Largest shift, as given there.

    Returns:
        ``[B, channels, H, W]``, a new tensor on the device of the images.
    """
    batch, _, height, width = images.shape
    device = images.device
    padded = torch.nn.functional.pad(images, (pixels,) * 4)
    starts = shifts.to(device, non_blocking=True)[:, :, None]
    rows = (starts[0] + torch.arange(height, device=device))[:, :, None]  # [B, H, 1]
    columns = (starts[1] + torch.arange(width, device=device))[:, None, :]  # [B, 1, W]
    sample = torch.arange(batch, device=device)[:, None, None]
    # Advanced indices around the slice put the channels last.
    return padded[sample, :, rows, columns].permute(0, 3, 1, 2)
