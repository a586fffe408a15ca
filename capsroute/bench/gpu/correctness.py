"""Every shape held to the rule of :mod:`capsroute.bench.verify`, by each kernel that takes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

import capsroute
from capsroute.bench import peers, verify
from capsroute.bench.contenders import first_line
from capsroute.bench.shapes import Shape
from capsroute.bench.verify import Problem, Results, Truth

from . import variants
from .device import Device
from .plan import PRECISIONS, Precision

GRADIENTS = ("all", "last")
_FEW = 4  # samples for the plain kernel, which is slow


@dataclass(frozen=True)
class Check:
    """One kernel on one shape: output and gradients of x and weight.

    Attributes:
        shape: Name.
        samples: B, which is smaller than the shape's for the comparison of the plain kernel with the automatic choice.
        precision: Name.
        gradient: ``"all"`` or ``"last"``.
        variant: Kernel, see :mod:`.variants`.
        excess: By result, the error in parts of what the rule allows; empty if there are no results.
        passed: None where the kernel does not take the shape.
        problem: What is wrong, or why it does not take it; None if all is well.
    """

    shape: str
    samples: int
    precision: str
    gradient: str
    variant: str
    excess: dict[str, float]
    passed: bool | None
    problem: str | None = None


def check(shape: Shape, device: Device) -> Iterator[Check]:
    """Check a shape in every precision and with both gradients; one by one, as they are done."""
    for precision in PRECISIONS.values():
        for gradient in GRADIENTS:
            yield from _check(shape, precision, gradient, (variants.AUTOMATIC, *variants.FUSIONS), device)
            few = replace(shape, batch=min(shape.batch, _FEW))
            yield from _check(few, precision, gradient, (variants.AUTOMATIC, variants.PLAIN), device)
            device.release()


def _check(
    shape: Shape, precision: Precision, gradient: str, kernels: Sequence[str], device: Device
) -> Iterator[Check]:
    problem = Problem.of(shape, precision.dtype, gradient, device.place)
    with Precision("float32", torch.float32).in_force():
        truth = Truth(problem, precision.tf32, device.free_bytes())
    for variant in kernels:
        with precision.in_force():
            excess, passed, trouble = _held_to(truth, problem, variant, device)
        yield Check(shape.name, shape.batch, precision.name, gradient, variant, excess, passed, trouble)


def _held_to(
    truth: Truth, problem: Problem, variant: str, device: Device
) -> tuple[dict[str, float], bool | None, str | None]:
    try:
        first, second = (_results(problem, variant) for _ in range(2))
        device.synchronize()
    except (RuntimeError, ValueError) as error:
        if variants.is_refusal(error):
            return {}, None, variants.REFUSED
        device.synchronize()  # an error that the device does not recover from goes on from here
        return {}, False, f"{type(error).__name__}: {first_line(error)}"
    excess = truth.excess(first)
    wrong = {name: value for name, value in excess.items() if not value <= 1}
    if wrong:
        said = ", ".join(f"{name} is wrong by {value:.3g} times what is allowed" for name, value in wrong.items())
        return excess, False, said
    different = [name for name in first if not torch.equal(first[name], second[name])]
    if different:
        return excess, False, f"a second run gives other bits in {' and '.join(different)}"
    return excess, True, None


def _results(problem: Problem, variant: str) -> Results:
    def route(x: Tensor, weight: Tensor) -> Tensor:
        return capsroute.dynamic_routing(
            x, weight, iterations=problem.iterations, gradient=problem.gradient, eps=peers.EPS
        )

    with variants.forced(variant):
        return verify.results_of(route, problem)
