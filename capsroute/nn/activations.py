"""Squash and capsule lengths, with a finite value and gradient everywhere, at zero too."""

import torch
from torch import Tensor, nn

from capsroute.routing import checks, reference
from capsroute.routing.options import SQUASHES, RoutingOptions, check
from capsroute.routing.proxies import traceable

__all__ = ["CapsuleLengths", "Squash", "capsule_lengths", "squash"]


def _accumulation_dtype(dtype: torch.dtype) -> torch.dtype:
    """Half types square and sum in float32: 1e-8 is not even representable in float16."""
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype


def _check_capsules(capsules: Tensor, name: str) -> None:
    if checks.floating(name, capsules).dim() < 1:
        raise ValueError(f"{name} must have at least one dimension, the last one that of the capsule, got a scalar")


def _checked(eps: float, kind: str, constant: float | None) -> RoutingOptions:
    kind = checks.choice("kind", kind, SQUASHES)
    if constant is not None:
        constant = checks.number("constant", constant, "None or a finite number above 0")
    return check(RoutingOptions(eps=eps, squash=kind, squash_constant=constant))


@traceable
def squash(capsules: Tensor, eps: float = 1e-8, kind: str = "standard", constant: float | None = None) -> Tensor:
    r"""Scales each capsule by a function of its length and keeps its direction.

    With ``n = |s|^2`` and ``r = |s|``, by ``kind``:

    * ``"standard"``: ``s n / (1 + n) / sqrt(n + eps)``, Sabour et al. 2017, equation 1, with ``eps`` under the root;
    * ``"norm_eps"``: ``s n / (1 + n) / (r + eps)``;
    * ``"clamped"``: ``s n / (1 + n) / max(r, eps)``;
    * ``"shifted"``: ``s sqrt(q) / (constant + q)`` with q = n + eps and a constant of 0.5 unless given;
    * ``"exponential"``: ``s (1 - exp(-r)) / (r + eps)``, Mazzia et al. 2021, "Efficient-CapsNet", equation 3;
    * ``"power"``: ``s (n / (1 + n))^constant / max(r, eps)`` with a constant of 1 unless given;
    * ``"none"``: s.

    Value and gradient at s = 0 are finite, and 0 where the formula has no value there. Towards 0 the gradient of
    ``"power"`` grows without bound where its constant is below 1/2.

    Args:
        capsules: ``[..., D]``, float32, float64, bfloat16 or float16; half types are computed in float32.
        eps: Finite, at least 0.
        kind: One of the names above.
        constant: The number in ``"shifted"`` and ``"power"``, above 0.

    Returns:
        ``[..., D]``, dtype of ``capsules``.

    Raises:
        TypeError: ``capsules`` is not a floating-point tensor.
        ValueError: ``capsules`` is a scalar, or another argument is not allowed.
    """
    _check_capsules(capsules, "capsules")
    options = _checked(eps, kind, constant)
    exact = capsules.to(_accumulation_dtype(capsules.dtype))
    return reference.squash(exact, options.eps, options.squash, options.constant_of_squash()).to(capsules.dtype)


@traceable
def capsule_lengths(capsules: Tensor) -> Tensor:
    """Euclidean length of each capsule; the gradient of a zero capsule is 0.

    Args:
        capsules: ``[..., D]``, float32, float64, bfloat16 or float16.

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
        eps: See :func:`squash`.
        kind: See :func:`squash`.
        constant: See :func:`squash`.
    """

    def __init__(self, eps: float = 1e-8, kind: str = "standard", constant: float | None = None) -> None:
        super().__init__()
        options = _checked(eps, kind, constant)
        self.eps, self.kind, self.constant = options.eps, options.squash, options.squash_constant

    def forward(self, capsules: Tensor) -> Tensor:
        """``[..., D]`` to ``[..., D]``."""
        return squash(capsules, self.eps, self.kind, self.constant)

    def extra_repr(self) -> str:
        """What ``print`` shows."""
        constant = "" if self.constant is None else f", constant={self.constant}"
        return f"eps={self.eps}, kind={self.kind!r}{constant}"


class CapsuleLengths(nn.Module):
    """Module form of :func:`capsule_lengths`: the probability that the entity of a capsule is present."""

    def forward(self, capsules: Tensor) -> Tensor:
        """``[..., D]`` to ``[...]``."""
        return capsule_lengths(capsules)
