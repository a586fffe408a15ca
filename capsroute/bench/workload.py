"""One piece of work to measure: a shape, forward or forward and backward, done by any of the contenders."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

import capsroute
from capsroute.routing import reference

from . import peers
from .peers import Route
from .shapes import Shape

OURS = "capsroute"
_CHECKED_SAMPLES = 4  # samples are independent, and the reference in float64 takes memory
_CPU = torch.device("cpu")


class Workload:
    """A shape with its random arguments.

    Args:
        shape: The sizes.
        dtype: Of all arguments.
        gradient: None for the forward alone, ``"all"`` or ``"last"`` for forward and backward.
        device: Where the arguments lie.
    """

    def __init__(self, shape: Shape, dtype: torch.dtype, gradient: str | None, device: torch.device = _CPU) -> None:
        self.shape, self.dtype, self.gradient = shape, dtype, gradient
        x, weight, self.grad = shape.arguments(dtype, device)
        self.x, self.weight = (t.requires_grad_(gradient is not None) for t in (x, weight))

    def routes(self, families: Sequence[str]) -> dict[str, Route]:
        """The package itself and the peers of these families by name, as functions of x and weight."""
        return {OURS: self.ours(), **peers.contenders(families, self.shape.iterations, self.gradient or "all")}

    def ours(self) -> Route:
        """The package itself, as a function of x and weight."""
        iterations, gradient = self.shape.iterations, self.gradient or "all"

        def ours(x: Tensor, weight: Tensor) -> Tensor:
            return capsroute.dynamic_routing(x, weight, iterations=iterations, gradient=gradient, eps=peers.EPS)

        return ours

    def work(self, route: Route) -> Callable[[], list[Tensor]]:
        """The call to measure; it returns the output, and the gradients of x and weight if there is a backward."""

        def forward() -> list[Tensor]:
            with torch.no_grad():
                return [route(self.x, self.weight)]

        def forward_and_backward() -> list[Tensor]:
            output = route(self.x, self.weight)
            return [output.detach(), *torch.autograd.grad(output, (self.x, self.weight), self.grad)]

        return forward if self.gradient is None else forward_and_backward

    def error(self, results: Sequence[Tensor]) -> float:
        """Largest difference to the reference in float64, relative to its largest element.

        Of the output and, if there is a backward, of the gradient of x, for the first samples. NaN where any of these
        has one, so that only ``error <= allowed`` tells a right result.

        Args:
            results: What :meth:`work` returned.
        """
        few = slice(0, _CHECKED_SAMPLES)
        x = self.x.detach()[few].double().requires_grad_()
        weight = self.weight.detach().double()
        expected = reference.dynamic_routing(
            x, weight, iterations=self.shape.iterations, gradient=self.gradient or "all", eps=peers.EPS
        )
        pairs = [(results[0], expected.detach())]
        if self.gradient is not None:
            pairs.append((results[1], torch.autograd.grad(expected, x, self.grad[few].double())[0]))
        errors = [(a[few].double() - e).abs().max() / e.abs().max() for a, e in pairs]
        return float(torch.stack(errors).max())  # Python's max may drop a NaN

    def lack_of_memory(self, contender: str, free: int) -> str | None:
        """Why a contender would exhaust ``free`` bytes, or None."""
        if contender.startswith(OURS):
            return None
        needed = peers.eager_bytes(self.shape.votes, self.x.element_size(), self.shape.iterations)
        return f"needs about {needed / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free" if needed > free else None


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else "no message"
