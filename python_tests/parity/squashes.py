"""The places where public code puts ε in the squash, written out once for all statements."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Squash = Callable[[Tensor], Tensor]


def no_eps(s: Tensor, dim: int = -1) -> Tensor:
    """n / (1 + n) · s / √n."""
    n = (s**2).sum(dim, keepdim=True)
    return n / (1 + n) * s / n.sqrt()


def under_root(eps: float) -> Squash:
    """n / (1 + n) · s / √(n + ε)."""

    def squash(s: Tensor) -> Tensor:
        n = (s**2).sum(-1, keepdim=True)
        return n / (1 + n) / torch.sqrt(n + eps) * s

    return squash


def beside_norm(s: Tensor) -> Tensor:
    """n / (1 + n) · s / (√n + 1e-8)."""
    r = s.norm(dim=-1, keepdim=True)
    return r**2 / (1 + r**2) / (r + 1e-8) * s


def half(eps: float) -> Squash:
    """√q / (0.5 + q) · s with q = n + ε: 0.5 in the place of 1."""

    def squash(s: Tensor) -> Tensor:
        q = (s**2).sum(-1, keepdim=True) + eps
        return torch.sqrt(q) / (0.5 + q) * s

    return squash
