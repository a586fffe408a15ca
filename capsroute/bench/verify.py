"""Whether results of the package are as exact as they promise to be, by a rule that needs nothing but the package.

The truth is the plain reference in float64 from the same rounded arguments. The yardstick is the error of the plain
reference in float32, the larger one of two orders of summation; for TF32 its x and weight are rounded to TF32 first.
An element may be wrong by

* twice the largest error of the yardstick,
* plus 1e-6 of the largest true element, or half a unit of TF32 (2⁻¹¹), as products made on the way are rounded too,
* plus, for bfloat16 and float16, two units in the last place of its own type;

and, as this would hide a small gradient that is lost altogether, the distance from the truth in the L2 norm may be ten
times that share of the truth's norm, plus twice the norm of the yardstick's error and the norm of those units.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from capsroute.routing import reference

from . import peers
from .shapes import Shape

NAMES = ("output", "x", "weight")  # results: the output, and the gradients of both arguments
Results = dict[str, Tensor]
Routing = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Problem:
    """Arguments ``x [B, I, d]``, ``weight [I, J, D, d]``, a gradient of the output, ``[B, J, D]``, and how to route."""

    x: Tensor
    weight: Tensor
    grad: Tensor
    iterations: int
    gradient: str

    @classmethod
    def of(cls, shape: Shape, dtype: torch.dtype, gradient: str, place: torch.device) -> Problem:
        """The random arguments of a shape."""
        return cls(*shape.arguments(dtype, place), shape.iterations, gradient)

    def to(self, dtype: torch.dtype) -> Problem:
        """The same values in another type."""
        return Problem(self.x.to(dtype), self.weight.to(dtype), self.grad.to(dtype), self.iterations, self.gradient)

    def rounded_to_tf32(self) -> Problem:
        """The same with x and weight rounded to the 10 bits of TF32."""
        return Problem(_tf32(self.x), _tf32(self.weight), self.grad, self.iterations, self.gradient)

    def flipped(self) -> Problem:
        """The same with every axis of every tensor in reverse, so that all sums run the other way."""
        return Problem(_flip(self.x), _flip(self.weight), _flip(self.grad), self.iterations, self.gradient)


def results_of(route: Routing, problem: Problem) -> Results:
    """Output and gradients of a function of x and weight."""
    x, weight = problem.x.detach().requires_grad_(), problem.weight.detach().requires_grad_()
    output = route(x, weight)
    gradients = torch.autograd.grad(output, (x, weight), problem.grad)
    return dict(zip(NAMES, (output.detach(), *gradients), strict=True))


def plain_results(problem: Problem, free_bytes: int) -> Results:
    """Output and gradients of the plain reference, in chunks of samples that fit a part of the free memory."""
    votes = problem.x.shape[1] * problem.weight.shape[1] * problem.weight.shape[2]
    per_sample = peers.eager_bytes(votes, problem.x.element_size(), problem.iterations)
    chunk = max(1, free_bytes // (3 * per_sample))

    def route(x: Tensor, weight: Tensor) -> Tensor:
        return reference.dynamic_routing(
            x, weight, iterations=problem.iterations, gradient=problem.gradient, eps=peers.EPS
        )

    parts = []
    for x, grad in zip(problem.x.split(chunk), problem.grad.split(chunk), strict=True):
        parts.append(results_of(route, Problem(x, problem.weight, grad, problem.iterations, problem.gradient)))
    joined = {name: torch.cat([part[name] for part in parts]) for name in ("output", "x")}
    weight_gradient = parts[0]["weight"]
    for part in parts[1:]:
        weight_gradient = weight_gradient + part["weight"]
    return {**joined, "weight": weight_gradient}


class Truth:
    """What a problem's results should be, and how exact plain PyTorch gets them.

    Args:
        problem: In the type whose results are to be held to the rule.
        tf32: Whether float32 products may be made in TF32.
        free_bytes: Memory of the device that may be used.
    """

    def __init__(self, problem: Problem, tf32: bool, free_bytes: int) -> None:
        single = problem.to(torch.float32)
        single = single.rounded_to_tf32() if tf32 else single
        self.dtype = problem.x.dtype
        self.share = 2.0**-11 if tf32 else 1e-6
        self.true = plain_results(problem.to(torch.float64), free_bytes)
        backwards = plain_results(single.flipped(), free_bytes)
        orders = [plain_results(single, free_bytes), {name: _flip(tensor) for name, tensor in backwards.items()}]
        errors = {n: torch.stack([(order[n].double() - t).abs() for order in orders]) for n, t in self.true.items()}
        self.largest_error = {name: float(error.max()) for name, error in errors.items()}
        self.error_norm = {name: float(error.amax(0).norm()) for name, error in errors.items()}

    def excess(self, results: Results) -> dict[str, float]:
        """By result, the error in parts of what the rule allows: at most 1 if it holds, infinite for a NaN."""
        return {name: self._excess(name, results[name]) for name in NAMES}

    def _excess(self, name: str, actual: Tensor) -> float:
        true = self.true[name]
        if actual.dtype != self.dtype or actual.shape != true.shape or not bool(torch.isfinite(actual).all()):
            return float("inf")
        error = (actual.double() - true).abs()
        units = 2 * _unit(true, self.dtype)
        allowed = units + 2 * self.largest_error[name] + self.share * float(true.abs().max())
        norm = float(units.norm()) + 2 * self.error_norm[name] + 10 * self.share * float(true.norm())
        return max(float((error / allowed).max()), float(error.norm()) / norm)


def _unit(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Unit in the last place of ``values`` (float64) in a half type; 0 for others, whose rounding the yardstick has."""
    if dtype not in (torch.bfloat16, torch.float16):
        return torch.zeros_like(values)
    limits = torch.finfo(dtype)
    _, exponent = torch.frexp(values.abs().clamp_min(limits.smallest_normal))
    return limits.eps * torch.exp2(exponent.double() - 1)


def _tf32(values: Tensor) -> Tensor:
    """Nearest number with 10 bits after the leading one; ties away from zero."""
    return ((values.contiguous().view(torch.int32) + 0x1000) & -0x2000).view(torch.float32)


def _flip(tensor: Tensor) -> Tensor:
    return tensor.flip(*range(tensor.dim()))
