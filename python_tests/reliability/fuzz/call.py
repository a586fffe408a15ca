"""One drawn call: everything about it in plain values, and the tensors that follow from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from python_tests.routing.cases import Case, Tensors, to, votes_of
from python_tests.routing.layouts import LAYOUTS

from .kernels import Kernel

OUTPUT_AXIS = {"weight": 1, "votes": 2, "bias": 0, "logits": -1, "coupling": -1, "output_mask": 1, "grad": 1}
EXPANDED = ("expanded 0", "expanded 1", "expanded -1")  # of stride 0 along this axis
PERMUTED = "permuted"
_LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {function.__name__: function for function in LAYOUTS}
LAYOUT_NAMES = (*_LAYOUTS, *EXPANDED, PERMUTED)
VALUES = ("normal", "zeros", "sparse", "integers")
HALVES = (torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class Call:
    """A call of a public function and of its backward."""

    entry: str  # "dynamic_routing" or "route_votes"
    kernel: Kernel  # what is to compute it
    case: Case  # sizes, which tensors are given, and the options
    dtype: torch.dtype  # of all floating tensors; under autocast, what they are cast to
    values: str  # one of VALUES, which tells of the capsules; "sparse": half of them are zero
    axes: tuple[int, ...]  # output axes, whose product is J; none for one axis
    layouts: tuple[tuple[str, str], ...]  # of arguments or "grad", by name; others are contiguous
    poisoned: bool  # NaN stands in what is absent
    autocast: bool  # the tensors come in float32, or in a half type if named in ``halves``, and autocast casts them
    halves: tuple[str, ...]
    differentiable: tuple[str, ...]  # whose gradient is asked for; none for a call without a backward
    details: tuple[str, ...]
    seed: int  # of all numbers

    def arguments(self) -> tuple[Tensors, Tensor]:
        """Tensor arguments with one output axis in ``dtype``, and the gradient of the output ``[B, J, D]``."""
        dtype = self.dtype
        tensors = self.case.tensors(torch.float64, self.seed)
        _change_values(tensors["x"], self.values, self.seed)
        if self.values == "integers":
            tensors["weight"] = (2 * tensors["weight"]).round()
        tensors = to(tensors, dtype)
        tensors = votes_of(tensors) if self.entry == "route_votes" else tensors
        tensors["grad"] = self.case.output_gradient(dtype, self.seed + 1)
        for name, layout in self.layouts:
            if layout in EXPANDED:
                axis = int(layout.split()[1]) % tensors[name].dim()
                if tensors[name].shape[axis]:
                    tensors[name] = tensors[name].narrow(axis, 0, 1).expand(tensors[name].shape)
        if self.poisoned and "input_mask" in tensors:
            absent = ~tensors["input_mask"]
            for name in {"x", "votes", "input_weight"} & tensors.keys():
                tensors[name] = tensors[name].clone()
                tensors[name][absent] = torch.nan
        return tensors, tensors.pop("grad")

    def placed(self, tensors: Mapping[str, Tensor]) -> Tensors:
        """The same with all output axes, where the layouts say, and in the types that autocast is to cast."""
        result = dict(tensors)
        for name, tensor in tensors.items():
            if self.axes and name in OUTPUT_AXIS:
                result[name] = tensor.unflatten(OUTPUT_AXIS[name], self.axes)
            if self.autocast and self.dtype in HALVES and tensor.is_floating_point() and name not in self.halves:
                result[name] = result[name].float()
        for name, layout in self.layouts:
            if name not in result:
                continue
            if layout in _LAYOUTS:
                result[name] = _LAYOUTS[layout](result[name])
            elif layout == PERMUTED:
                result[name] = permuted(result[name], self.seed)
        return result


def _change_values(x: Tensor, values: str, seed: int) -> None:
    if values == "zeros":
        x.zero_()
    elif values == "sparse":
        x[torch.rand(x.shape[:2], generator=torch.Generator().manual_seed(seed)) < 0.5] = 0
    elif values == "integers":
        x.round_()


def permuted(tensor: Tensor, seed: int) -> Tensor:
    """The same tensor with its axes stored in another order."""
    order = torch.randperm(tensor.dim(), generator=torch.Generator().manual_seed(seed)).tolist()
    back = [order.index(axis) for axis in range(tensor.dim())]
    return tensor.permute(order).contiguous().permute(back)


def divisors(number: int) -> list[int]:
    """From the largest to the smallest."""
    return [n for n in range(number, 0, -1) if number % n == 0]


def factors(number: int) -> list[tuple[int, ...]]:
    """Two or three sizes of axes with this product."""
    three = [(a, b, number // a // b) for a in divisors(number) for b in divisors(number // a) if a * b > 1]
    return [*((a, number // a) for a in divisors(number)), *three]
