"""The error of plain PyTorch in a dtype, drawn at random in place of observed on one machine.

What a library happens to round, in its order of summation and with its instructions, differs from processor to
processor, and now and then it is almost exact by chance. So no bound rests on it. In its place stands Monte Carlo
arithmetic (Parker, 1997): a formula is evaluated in float64, forward and backward, each result that the dtype cannot
hold is moved by a random part of half a unit in the last place and then rounded to it, and the terms of sums and of
products of matrices, which are rounded on the way, by up to a whole one. Draws are the same on every machine, and some
of them tell how large the error may be.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

Results = TypeVar("Results")

# The largest error of so many counts. That of a few is mostly enough, and then the others need not be found: with more
# draws a bound only grows.
FEW, ALL = 8, 32

_ADD_UP = {"addmm", "baddbmm", "bmm", "convolution", "convolution_backward", "dot", "mean", "mm", "mv", "sum"}


class _Rounding(TorchDispatchMode):
    """Rounds to a dtype, by chance, the float64 results of whatever happens within."""

    def __init__(self, dtype: torch.dtype, seed: int) -> None:
        super().__init__()
        self._dtype, self._seed = dtype, seed
        self._generators: dict[torch.device, torch.Generator] = {}
        limits = torch.finfo(dtype)
        self._smallest = limits.smallest_normal * limits.eps  # apart are the numbers below the normal ones
        # Float64 has no digits between its own: there a result is moved by a whole unit or two.
        self._unit = limits.eps * (1 if dtype == torch.float64 else 0.25)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket.__name__ in _ADD_UP:
            args = [self._moved(arg, 2 * self._unit) if _is_wide(arg) else arg for arg in args]
        results = func(*args, **(kwargs or {}))
        if func.is_view:
            return results
        if func._schema.is_mutable:  # a result that is written to an argument must stay there
            return results.copy_(self._round(results)) if _is_wide(results) else results
        return tuple(map(self._round, results)) if isinstance(results, tuple) else self._round(results)

    def _round(self, result: Any) -> Any:
        """What the dtype holds exactly, because it was only moved or selected, stays."""
        if not _is_wide(result):
            return result
        moved = self._moved(result, self._unit)
        if self._dtype == torch.float64:
            return moved
        return torch.where(result.to(self._dtype) == result, result, moved.to(self._dtype).double())

    def _moved(self, values: Tensor, unit: float) -> Tensor:
        generator = self._generators.get(values.device)
        if generator is None:
            generator = self._generators[values.device] = torch.Generator(values.device).manual_seed(self._seed)
        draws = 2 * torch.rand(values.shape, generator=generator, dtype=values.dtype, device=values.device) - 1
        return values * (1 + unit * draws) + self._smallest * draws


def _is_wide(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dtype == torch.float64


class Draws(Generic[Results]):
    """What a formula may come to where each of its operations rounds as plain PyTorch does.

    Args:
        compute: The formula in float64; takes all its numbers from tensors of that type.
        dtype: Of the arguments of a call; plain PyTorch computes in float32 for half types.
    """

    def __init__(self, compute: Callable[[], Results], dtype: torch.dtype) -> None:
        self._compute = compute
        self._dtype = torch.float64 if dtype == torch.float64 else torch.float32
        self._found: list[Results] = []

    def __call__(self, count: int) -> list[Results]:
        """The first so many of them; each is found once."""
        while len(self._found) < count:
            with _Rounding(self._dtype, seed=len(self._found)):
                self._found.append(self._compute())
        return self._found[:count]
