"""How many interests users have."""

from __future__ import annotations

import torch
from torch import Tensor

from capsroute.routing import checks, dispatch
from capsroute.routing.proxies import traceable

__all__ = ["interest_counts", "interest_mask"]

_ROUNDINGS = ("down", "up")


@traceable
def interest_counts(lengths: Tensor, interests: int, rounding: str = "down") -> Tensor:
    """How many interests users have by the length of their history: ``max(1, min(interests, log2(length)))``.

    Li et al. 2019 (MIND), equation 8, which leaves the rounding open.

    Args:
        lengths: Items of each user, ``[B]``, an integer dtype.
        interests: The most, J.
        rounding: Of the logarithm: ``"down"`` (torch-rechub), or ``"up"`` (TorchEasyRec).

    Returns:
        ``[B]``, int64, from 1 to ``interests``.

    Raises:
        TypeError: ``lengths`` is not of an integer dtype.
        ValueError: ``lengths`` is not ``[B]``, ``interests`` is below 1, or ``rounding`` is unknown.
    """
    check_integers("lengths", lengths)
    if interests < 1:
        raise ValueError(f"interests must be at least 1, got {interests}")
    checks.choice("rounding", rounding, _ROUNDINGS)
    # Whole numbers compared with powers of two, which no rounding of a logarithm can spoil. int64 has 62 of them.
    exponents = torch.arange(min(interests, 62), device=lengths.device)
    reached = lengths[:, None] >= 2 ** (exponents + 1) if rounding == "down" else lengths[:, None] > 2**exponents
    return reached.sum(dim=1).clamp_min(1)


@traceable
def interest_mask(counts: Tensor, interests: int) -> Tensor:
    """Which interests users have that have the first ``counts`` of them: bool ``[B, J]``.

    Args:
        counts: ``[B]``, an integer dtype, from 0 to ``interests``. The values are not checked where there are none yet:
            while a program is compiled, exported or traced, under a transform of ``torch.func``, on the meta device.
        interests: The most, J.

    Raises:
        TypeError: ``counts`` is not of an integer dtype.
        ValueError: ``counts`` is not ``[B]``, or a value is negative or above ``interests``.
    """
    check_integers("counts", counts)
    if counts.numel() > 0 and dispatch.is_readable(counts):
        least, most = (int(value) for value in counts.aminmax())
        if least < 0 or most > interests:
            raise ValueError(f"counts must be from 0 to interests={interests}, got {least if least < 0 else most}")
    return torch.arange(interests, device=counts.device) < counts[:, None]


def is_integer(tensor: Tensor) -> bool:
    """Whether the dtype counts: neither floating nor complex nor bool."""
    return not (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool)


def check_integers(name: str, value: object) -> None:
    """A tensor ``[B]`` of an integer dtype."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor of an integer dtype, got {type(value).__name__}")
    if not is_integer(value):
        raise TypeError(f"{name} must have an integer dtype, got {value.dtype}")
    checks.rank(name, value, "B")
