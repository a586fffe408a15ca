"""One piece of work to measure: a shape, forward or forward and backward, done by any of the contenders."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

import capsroute

from . import memory, peers
from .peers import Route
from .shapes import Shape

OURS = "capsroute"


class Workload:
    """A shape with its random arguments.

    Args:
        shape: The sizes.
        dtype: Of all arguments.
        gradient: None for the forward alone, ``"all"`` or ``"last"`` for forward and backward.
    """

    def __init__(self, shape: Shape, dtype: torch.dtype, gradient: str | None) -> None:
        self.shape, self.dtype, self.gradient = shape, dtype, gradient
        x, weight, self.grad = shape.arguments(dtype, torch.device("cpu"))
        self.x, self.weight = (t.requires_grad_(gradient is not None) for t in (x, weight))

    def routes(self, families: Sequence[str]) -> dict[str, Route]:
        """The package itself and the peers of these families by name, as functions of x and weight."""
        iterations, gradient = self.shape.iterations, self.gradient or "all"

        def ours(x: Tensor, weight: Tensor) -> Tensor:
            return capsroute.dynamic_routing(x, weight, iterations=iterations, gradient=gradient, eps=peers.EPS)

        return {OURS: ours, **peers.contenders(families, iterations, gradient)}

    def work(self, route: Route) -> Callable[[], list[Tensor]]:
        """The call to measure; it returns the output, and the gradients of x and weight if there is a backward."""

        def forward() -> list[Tensor]:
            with torch.no_grad():
                return [route(self.x, self.weight)]

        def forward_and_backward() -> list[Tensor]:
            output = route(self.x, self.weight)
            return [output.detach(), *torch.autograd.grad(output, (self.x, self.weight), self.grad)]

        return forward if self.gradient is None else forward_and_backward

    def lack_of_memory(self, contender: str) -> str | None:
        """Why a contender would exhaust the machine, or None."""
        if contender == OURS:
            return None
        needed = peers.eager_bytes(self.shape.votes, self.x.element_size(), self.shape.iterations)
        free = memory.available_bytes()
        return f"needs about {needed / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free" if needed > free else None
