"""Work to measure: arguments of one problem, forward or forward and backward, done by any of the contenders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

import capsroute
from capsroute.routing import reference

from . import peers
from .contenders import OURS, Work
from .peers import Route
from .shapes import Shape

_CPU = torch.device("cpu")


class Task:
    """Arguments on which all contenders do the same.

    Args:
        x: Argument that is split by samples.
        weight: The other one.
        grad: Gradient of the output.
        gradient: None for the forward alone, ``"all"`` or ``"last"`` for forward and backward.
        votes: Number of vote components.
        iterations: T.
    """

    checked_samples = 4  # samples are independent, and the reference in float64 takes memory

    def __init__(
        self, x: Tensor, weight: Tensor, grad: Tensor, gradient: str | None, votes: int, iterations: int
    ) -> None:
        self.x, self.weight = (t.requires_grad_(gradient is not None) for t in (x, weight))
        self.grad, self.gradient, self.votes, self.iterations = grad, gradient, votes, iterations

    def expected(self, x: Tensor, weight: Tensor) -> Tensor:
        """The output by the reference."""
        raise NotImplementedError

    def work(self, route: Callable[[Tensor, Tensor], Tensor]) -> Work:
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
        few = slice(0, self.checked_samples)
        x = self.x.detach()[few].double().requires_grad_()
        expected = self.expected(x, self.weight.detach().double())
        pairs = [(results[0], expected.detach())]
        if self.gradient is not None:
            pairs.append((results[1], torch.autograd.grad(expected, x, self.grad[few].double())[0]))
        errors = [(a[few].double() - e).abs().max() / e.abs().max() for a, e in pairs]
        return float(torch.stack(errors).max())  # Python's max may drop a NaN

    def lack_of_memory(self, contender: str, free: int) -> str | None:
        """Why a contender would exhaust ``free`` bytes, or None."""
        if contender.startswith(OURS):
            return None
        needed = peers.eager_bytes(self.votes, self.x.element_size(), self.iterations)
        return f"needs about {needed / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free" if needed > free else None


class Workload(Task):
    """Dynamic routing of a shape with random arguments.

    Args:
        shape: The sizes.
        dtype: Of all arguments.
        gradient: None for the forward alone, ``"all"`` or ``"last"`` for forward and backward.
        device: Where the arguments lie.
    """

    def __init__(self, shape: Shape, dtype: torch.dtype, gradient: str | None, device: torch.device = _CPU) -> None:
        super().__init__(*shape.arguments(dtype, device), gradient, shape.votes, shape.iterations)
        self.shape, self.dtype = shape, dtype
        self._options: dict[str, Any] = {
            "iterations": shape.iterations,
            "gradient": gradient or "all",
            "eps": peers.EPS,
        }

    def routes(self, families: Sequence[str]) -> dict[str, Route]:
        """The package itself and the peers of these families by name, as functions of x and weight."""
        return {OURS: self.ours(), **peers.contenders(families, self.iterations, self.gradient or "all")}

    def ours(self) -> Route:
        """The package itself, as a function of x and weight."""
        return lambda x, weight: capsroute.dynamic_routing(x, weight, **self._options)

    def explanation(self) -> str:
        """What :func:`capsroute.explain` says of the package's call."""
        return capsroute.explain(self.x, self.weight, **self._options)

    def expected(self, x: Tensor, weight: Tensor) -> Tensor:
        """See :class:`Task`."""
        return reference.dynamic_routing(x, weight, **self._options)
