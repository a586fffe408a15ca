"""The same numbers elsewhere in memory: strides, offsets and alignments, amid NaN that must not be read."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def _surrounding(t: Tensor, *shape: int) -> Tensor:
    """A buffer whose unread elements would be noticed."""
    return torch.full(shape, torch.nan if t.is_floating_point() else True, dtype=t.dtype)


def transposed(t: Tensor) -> Tensor:
    """Axes stored in reverse order."""
    order = list(reversed(range(t.dim())))
    return t.permute(order).contiguous().permute(order)


def every_other(t: Tensor) -> Tensor:
    """Stride 2 in the last axis."""
    buffer = _surrounding(t, *t.shape, 2)
    buffer[..., 0] = t
    return buffer[..., 0]


def padded(t: Tensor) -> Tensor:
    """A window of a larger tensor in every axis."""
    buffer = _surrounding(t, *(size + 3 for size in t.shape))
    window = buffer[tuple(slice(1, size + 1) for size in t.shape)]
    return window.copy_(t)


def misaligned(t: Tensor) -> Tensor:
    """Contiguous, at a storage offset of one element."""
    return _surrounding(t, t.numel() + 1)[1:].view(t.shape).copy_(t)


def off_its_elements(t: Tensor) -> Tensor:
    """Contiguous, at an address that is no multiple of an element's size, as in the bytes of a file."""
    if t.numel() == 0:
        return t
    memory = bytearray(t.numel() * t.element_size() + 1)
    return torch.frombuffer(memory, dtype=t.dtype, offset=1).view(t.shape).copy_(t).to(t.device)


LAYOUTS: list[Callable[[Tensor], Tensor]] = [transposed, every_other, padded, misaligned, off_its_elements]
