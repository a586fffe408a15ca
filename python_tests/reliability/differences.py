"""Gradients beside central differences of the outputs, in float64."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from ..routing.cases import Tensors

_FIRST, _LAST = 4, 34  # steps of 2^-4 … 2^-34 of an argument's size


@dataclass(frozen=True)
class Difference:
    """A derivative along a random direction, by the gradient and by differences."""

    analytic: float
    numeric: float
    # By how much the two best steps differ, and what rounding does to them: the error of ``numeric`` is of that size.
    doubt: float
    step: float  # relative to the argument
    scale: float  # sum of the absolute values of the products that ``analytic`` adds up

    @property
    def error(self) -> float:
        """Of the gradient, relative to what it adds up; 0 where there is nothing."""
        return abs(self.analytic - self.numeric) / self.scale if self.scale else 0.0

    @property
    def agrees(self) -> bool:
        """Whether gradient and differences are the same as far as differences can tell: 1e-7 of the scale, or their
        own doubt ten times."""
        return abs(self.analytic - self.numeric) <= 1e-7 * self.scale + 10 * self.doubt


def differences(
    output: Callable[[Tensors], Tensor], tensors: Tensors, gradients: Tensors, grad: Tensor
) -> dict[str, Difference]:
    """Compare each gradient of ``sum(output * grad)`` that is given with differences along one random direction.

    A direction moves every element in proportion to its own size, or to that of the tensor where it is 0. Steps are
    halved from 1/16 of that on; of each two neighbouring steps the central differences are extrapolated (Richardson),
    which leaves an error of the fourth power of the step. Among these results the one is taken that differs least from
    its neighbour: large steps err by the function's curvature, small ones by rounding.
    Everything is float64.
    """
    generator = torch.Generator().manual_seed(0)
    found = {}
    for name, tensor in tensors.items():
        if name not in gradients:
            continue
        size = tensor.abs()
        size = torch.where(size == 0, size.max() if size.max() > 0 else torch.ones(()), size)
        direction = torch.randn(tensor.shape, generator=generator, dtype=torch.float64) * size

        def along(step: float, name: str = name, direction: Tensor = direction) -> float:
            there, back = (output({**tensors, name: tensors[name] + sign * step * direction}) for sign in (1, -1))
            return float(((there - back) * grad).sum() / (2 * step))

        steps = [2.0**-k for k in range(_FIRST, _LAST)]
        plain = [along(step) for step in steps]
        # A difference of outputs is no better known than their own rounding, also where that is the same by chance.
        rounding = torch.finfo(torch.float64).eps * float((output(tensors) * grad).abs().sum())
        better = [(4 * fine - coarse) / 3 for coarse, fine in pairwise(plain)]
        noise = [rounding / step for step in steps[2:]]
        doubts = [abs(a - b) + own for (a, b), own in zip(pairwise(better), noise, strict=True)]
        best = min(range(len(doubts)), key=doubts.__getitem__)
        products = gradients[name] * direction
        found[name] = Difference(
            float(products.sum()), better[best + 1], doubts[best], steps[best + 2], float(products.abs().sum())
        )
    return found
