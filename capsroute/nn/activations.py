"""Squash and capsule lengths, with a finite value and gradient everywhere, at zero too."""

import torch
from torch import Tensor, nn

from capsroute import reference

__all__ = ["CapsuleLengths", "Squash", "capsule_lengths", "squash"]


def _accumulation_dtype(dtype: torch.dtype) -> torch.dtype:
    """Half types square and sum in float32: 1e-8 is not even representable in float16."""
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype


def _check_capsules(capsules: Tensor, name: str) -> None:
    if not capsules.is_floating_point():
        raise TypeError(f"{name} must be a floating-point tensor, got {capsules.dtype}")
    if capsules.dim() < 1:
        raise ValueError(f"{name} must have at least one dimension, the last one that of the capsule, got a scalar")


def squash(capsules: Tensor, eps: float = 1e-8) -> Tensor:
    r"""Shrinks each capsule to a length in [0, 1) and keeps its direction.

    ``v = s * |s|^2 / (1 + |s|^2) / sqrt(|s|^2 + eps)``: Sabour et al. 2017, equation 1, with ``eps`` under the root so
    that the gradient at ``s = 0`` is finite. With ``eps = 0`` value and gradient at 0 are 0.

    Args:
        capsules: ``[..., D]``, any floating-point dtype; half types are computed in float32.
        eps: Added to the squared length under the root; not negative.

    Returns:
        ``[..., D]``, dtype of ``capsules``.

    Raises:
        TypeError: ``capsules`` is not a floating-point tensor.
        ValueError: ``capsules`` is a scalar, or ``eps`` is negative.
    """
    _check_capsules(capsules, "capsules")
    if not eps >= 0:
        raise ValueError(f"eps must not be negative, got {eps}")
    return reference.squash(capsules.to(_accumulation_dtype(capsules.dtype)), eps).to(capsules.dtype)


def capsule_lengths(capsules: Tensor) -> Tensor:
    """Euclidean length of each capsule; the gradient of a zero capsule is 0.

    Args:
        capsules: ``[..., D]``, any floating-point dtype.

    Returns:
        ``[...]``, dtype of ``capsules``, or float32 for half types: losses compare lengths with margins.

    Raises:
        TypeError: ``capsules`` is not a floating-point tensor.
        ValueError: ``capsules`` is a scalar.
    """
    _check_capsules(capsules, "capsules")
    s = capsules.to(_accumulation_dtype(capsules.dtype))
    squared = (s * s).sum(dim=-1)
    zero = squared == 0
    return torch.where(zero, 0.0, torch.sqrt(torch.where(zero, 1.0, squared)))


class Squash(nn.Module):
    """Module form of :func:`squash`.

    Args:
        eps: Added to the squared length under the root; not negative.
    """

    def __init__(self, eps: float = 1e-8) -> None:
        super().__init__()
        if not eps >= 0:
            raise ValueError(f"eps must not be negative, got {eps}")
        self.eps = eps

    def forward(self, capsules: Tensor) -> Tensor:
        """``[..., D]`` to ``[..., D]``."""
        return squash(capsules, self.eps)

    def extra_repr(self) -> str:
        """What ``print`` shows."""
        return f"eps={self.eps}"


class CapsuleLengths(nn.Module):
    """Module form of :func:`capsule_lengths`: the probability that the entity of a capsule is present."""

    def forward(self, capsules: Tensor) -> Tensor:
        """``[..., D]`` to ``[...]``."""
        return capsule_lengths(capsules)
