"""Tests of the networks."""

from torch import nn


def count(model: nn.Module) -> int:
    """Learnable numbers."""
    return sum(parameter.numel() for parameter in model.parameters())
