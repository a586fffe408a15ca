"""Gradients that are not differentiated again, and say so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.autograd.function import Function

NO_FURTHER_DERIVATIVE = (
    "capsroute's kernels are differentiable once where the inputs are divided among ranks, and a derivative of the "
    "gradients was asked for: route all inputs on one rank by capsroute.dynamic_routing or .route_votes, which "
    "can be differentiated again"
)


class _DifferentiableOnce(Function):
    """The identity on the first ``count`` tensors, whose own backward is a clear error.

    torch's once_differentiable cuts the graph: asked for a second derivative, torch.autograd.grad then says that x was
    not used, or returns None. Here the gradients stay connected to all ``tensors`` that they depend on.
    """

    @staticmethod
    def forward(ctx: Any, count: int, *tensors: Tensor | None) -> tuple[Tensor, ...]:
        return tuple(tensor.view_as(tensor) for tensor in tensors[:count] if tensor is not None)

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> Any:
        raise RuntimeError(NO_FURTHER_DERIVATIVE)


def refusing_a_second_derivative(
    gradients: Sequence[Tensor | None], tensors: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """The gradients, whose own backward is an error and which depend on ``tensors``."""
    present = [gradient for gradient in gradients if gradient is not None]
    connected = iter(_DifferentiableOnce.apply(len(present), *present, *tensors))
    return [None if gradient is None else next(connected) for gradient in gradients]
