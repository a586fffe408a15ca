"""A few training steps on real images, for the tests of all networks."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from capsroute.training.datasets import load_digits


def digits(count: int) -> tuple[Tensor, Tensor]:
    """Images ``[count, 1, 8, 8]`` in [0, 1] of handwritten digits, and their labels."""
    return load_digits().train.batch(slice(count))


def losses(model: nn.Module, loss: Callable[[], Tensor], steps: int, rate: float) -> list[float]:
    """The loss before each step of Adam."""
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    seen = []
    for _ in range(steps):
        optimizer.zero_grad()
        value = loss()
        value.backward()
        optimizer.step()
        seen.append(float(value.detach()))
    return seen


def count(model: nn.Module) -> int:
    """Learnable numbers."""
    return sum(parameter.numel() for parameter in model.parameters())
