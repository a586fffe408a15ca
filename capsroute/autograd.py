"""The thin autograd wrapper around the registered ops."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import Function

from .ops import SOURCES
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


def _functions(name: str) -> tuple[type[Function], type[Function]]:
    """The Function of one routing op, and its twin for functorch.

    torch.func transforms need the style with setup_context, which costs several times the rest of a call in eager
    mode; so there are two classes with one backward.
    """
    forward_op = getattr(torch.ops.capsroute, f"{name}_forward").default
    backward_op = getattr(torch.ops.capsroute, f"{name}_backward").default
    sources = len(SOURCES[name])

    def save(ctx: Any, inputs: Any, outputs: Any) -> None:
        options, values, *tensors = inputs
        _, pre_squash, normaliser = outputs
        ctx.save_for_backward(*tensors, pre_squash, normaliser)
        ctx.packed = (options, values)

    def gradients_of(ctx: Any, grad_output: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        *tensors, pre_squash, normaliser = ctx.saved_tensors
        needed = list(ctx.needs_input_grad[2 : 2 + sources + 2])
        with torch.no_grad():
            gradients = backward_op(grad_output, *tensors, pre_squash, normaliser, *ctx.packed, needed)
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():  # create_graph=True
            gradients = _DifferentiableOnce.apply(len(gradients), *gradients, grad_output, *tensors)
        wanted = [gradient if need else None for gradient, need in zip(gradients, needed, strict=True)]
        return None, None, *wanted, None, None

    class Routing(Function):
        @staticmethod
        def forward(ctx: Any, options: list[int], values: list[float], *tensors: Tensor | None) -> Tensor:
            outputs = forward_op(*tensors, options, values, True)
            save(ctx, (options, values, *tensors), outputs)
            return outputs[0]

        backward = staticmethod(gradients_of)

    class FunctorchRouting(Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(options: list[int], values: list[float], *tensors: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
            return forward_op(*tensors, options, values, True)

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            ctx.mark_non_differentiable(output[1], output[2])
            save(ctx, inputs, output)

        backward = staticmethod(gradients_of)

    Routing.__name__ = Routing.__qualname__ = name
    FunctorchRouting.__name__ = FunctorchRouting.__qualname__ = f"{name}_functorch"
    return Routing, FunctorchRouting


_FUNCTIONS = {name: _functions(name) for name in SOURCES}
_FORWARD = {name: getattr(torch.ops.capsroute, f"{name}_forward").default for name in SOURCES}


def route(name: str, options: RoutingOptions, *tensors: Tensor | None) -> Tensor:
    """Call the op ``name`` with its sources, bias, logits, input_mask and output_mask."""
    integers, floats = options.integers(), options.floats()
    if torch._C._are_functorch_transforms_active():
        return _FUNCTIONS[name][1].apply(integers, floats, *tensors)[0]
    if torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors):
        return _FUNCTIONS[name][0].apply(integers, floats, *tensors)
    return _FORWARD[name](*tensors, integers, floats, False)[0]
