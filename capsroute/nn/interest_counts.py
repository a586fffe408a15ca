"""How many interests users have."""

from __future__ import annotations

from decimal import Decimal

import torch
from torch import Tensor

from capsroute.routing import checks, dispatch
from capsroute.routing.proxies import traceable

__all__ = ["interest_counts", "interest_mask"]

_ROUNDINGS = ("down", "up")
_LOGARITHMS = ("log2", "log2_1p", "ln")
_POWERS_OF_2 = tuple(2**k for k in range(63))  # as far as int64 goes
_POWERS_OF_E = tuple(int(Decimal(k).exp()) for k in range(44))  # rounded down; none but the first is whole


@traceable
def interest_counts(lengths: Tensor, interests: int, rounding: str = "down", *, logarithm: str = "log2") -> Tensor:
    """How many interests users have by the length of their history: ``max(1, min(interests, log2(length)))``.

    Li et al. 2019 (MIND), equation 8, which leaves the rounding open. Whole numbers are compared with whole numbers, so
    no rounding of a logarithm decides.

    Args:
        lengths: Items of each user, n, ``[B]``, an integer dtype.
        interests: The most, J.
        rounding: Of the logarithm: ``"down"`` (torch-rechub, DeepMatch, EasyRec), or ``"up"`` (TorchEasyRec).
        logarithm: ``"log2"`` for log2(n), as in the paper; ``"log2_1p"`` for log2(1 + n) (DeepMatch); or ``"ln"`` for
            the natural logarithm of n (EasyRec).

    Returns:
        ``[B]``, int64, from 1 to ``interests``.

    Raises:
        TypeError: ``lengths`` is not of an integer dtype.
        ValueError: ``lengths`` is not ``[B]``, ``interests`` is below 1, or ``rounding`` or ``logarithm`` is unknown.
    """
    check_integers("lengths", lengths)
    if interests < 1:
        raise ValueError(f"interests must be at least 1, got {interests}")
    checks.choice("rounding", rounding, _ROUNDINGS)
    checks.choice("logarithm", logarithm, _LOGARITHMS)
    lengths = lengths.long()
    counts = torch.ones_like(lengths)
    for least in _least_lengths(rounding, logarithm)[1:interests]:
        counts = counts + (lengths >= least)  # numbers of Python, which need no copy to a device
    return counts


def _least_lengths(rounding: str, logarithm: str) -> list[int]:
    """From which length on there are 1, 2, 3, … interests, without regard to the first, which all have."""
    powers = _POWERS_OF_E if logarithm == "ln" else _POWERS_OF_2
    if rounding == "up":  # k interests where the logarithm is above k - 1
        least = [power + 1 for power in powers]
    elif logarithm == "ln":  # k where it is at least k; no length is a power of e
        least = [power + 1 for power in powers[1:]]
    else:
        least = list(powers[1:])
    return [length - 1 for length in least] if logarithm == "log2_1p" else least


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
