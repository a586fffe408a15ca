"""Floor 3: the thin autograd wrapper around the ops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import Function

from . import ops
from .options import RoutingOptions


class _DifferentiableOnce(Function):
    """The identity on the first ``count`` tensors, whose own backward is a clear error.

    torch's once_differentiable cuts the graph: asked for a second derivative, torch.autograd.grad then says that x was
    not used, or returns None. Here the gradients stay connected to all ``tensors`` that they depend on.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(count: int, *tensors: Tensor | None) -> tuple[Tensor, ...]:
        return tuple(tensor.view_as(tensor) for tensor in tensors[:count] if tensor is not None)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> Any:
        raise RuntimeError(
            "capsroute's kernels are differentiable once, and a second derivative was asked for: "
            "run the forward under capsroute.testing.backend('reference'), which can be differentiated again"
        )


def refusing_a_second_derivative(
    gradients: Sequence[Tensor | None], tensors: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """The gradients, whose own backward is an error and which depend on ``tensors``."""
    present = [gradient for gradient in gradients if gradient is not None]
    connected = iter(_DifferentiableOnce.apply(len(present), *present, *tensors))
    return [None if gradient is None else next(connected) for gradient in gradients]


def _functions(name: str) -> tuple[type[Function], type[Function]]:
    """The Function of one routing op, and its twin for functorch.

    torch.func transforms need the style with setup_context, which costs several times the rest of a call in eager
    mode; so there are two classes with one backward.
    """
    sources = len(ops.SOURCES[name])

    def computed(ctx: Any, grad_output: Tensor, saved: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        needed = ctx.needs_input_grad[1 : 1 + sources + ops.DIFFERENTIABLE]
        return ops.backward(name, grad_output, saved[:-2], saved[-2:], ctx.options, needed)

    def gradients_of(ctx: Any, grad_output: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        if not torch.is_grad_enabled():
            return None, *computed(ctx, grad_output, saved), None, None
        with torch.no_grad():  # create_graph=True
            gradients = computed(ctx, grad_output, saved)
        if not torch.compiler.is_compiling():
            gradients = refusing_a_second_derivative(gradients, (grad_output, *saved[:-2]))
        return None, *gradients, None, None

    class Routing(Function):
        @staticmethod
        def forward(ctx: Any, options: RoutingOptions, *tensors: Tensor | None) -> Tensor:
            output, pre_squash, normaliser = ops.forward(name, tensors, options, True)
            ctx.save_for_backward(*tensors, pre_squash, normaliser)
            ctx.options = options
            return output

        backward = staticmethod(gradients_of)

    class FunctorchRouting(Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(options: RoutingOptions, *tensors: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
            return ops.FORWARD_OPS[name](*tensors, options.integers(), options.floats(), True)

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            ctx.options, *tensors = inputs
            _, pre_squash, normaliser = output
            ctx.mark_non_differentiable(pre_squash, normaliser)
            ctx.save_for_backward(*tensors, pre_squash, normaliser)

        backward = staticmethod(gradients_of)

    Routing.__name__ = Routing.__qualname__ = name
    FunctorchRouting.__name__ = FunctorchRouting.__qualname__ = f"{name}_functorch"
    return Routing, FunctorchRouting


_FUNCTIONS = {name: _functions(name) for name in ops.SOURCES}


def route(
    name: str, options: RoutingOptions, tensors: Sequence[Tensor | None], keep: bool = False
) -> tuple[Tensor, Tensor | None]:
    """Call an op.

    Args:
        name: Of the routing op.
        options: With a backend that has kernels for the device of the tensors.
        tensors: Its sources and optional tensors, checked.
        keep: Whether the second result is asked for.

    Returns:
        The output ``[B, J, D]``, and s of every iteration ``[T, B, J, D]`` before the bias, which is not
        differentiable; None or anything where it was not asked for.
    """
    learns = torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors)
    if torch._C._are_functorch_transforms_active() or (keep and learns):
        output, pre_squash, _ = _FUNCTIONS[name][1].apply(options, *tensors)
        return output, pre_squash
    if learns:
        return _FUNCTIONS[name][0].apply(options, *tensors), None
    output, pre_squash, _ = ops.forward(name, tensors, options, keep)
    return output, pre_squash
