"""Floor 3: the thin autograd wrapper around the ops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import Function

from . import definition, dispatch, ops, tangents
from .options import RoutingOptions


class _Gradients(Function):
    """The gradients of a routing op by the kernels; theirs, of any order, are those of the definition.

    It is taken where the gradients may be differentiated again, which torch's once_differentiable would make silent:
    torch.autograd.grad says then that x was not used.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(
        name: str, options: RoutingOptions, needed: Sequence[bool], grad_output: Tensor, *tensors: Tensor | None
    ) -> tuple[Tensor, ...]:
        found = ops.backward(name, grad_output, tensors[:-2], tensors[-2:], options, needed)
        return tuple(gradient for gradient in found if gradient is not None)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.name, ctx.options, ctx.needed, *tensors = inputs
        ctx.save_for_backward(*tensors[:-2])

    @staticmethod
    def backward(ctx: Any, *given: Tensor) -> Any:
        def gradients(grad_output: Tensor, *tensors: Tensor | None) -> tuple[Tensor, ...]:
            found = definition.gradients(ctx.name, ctx.options, grad_output, tensors, ctx.needed)
            return tuple(gradient for gradient in found if gradient is not None)

        found = definition.pulled_back(gradients, ctx.saved_tensors, ctx.needs_input_grad[3:-2], given)
        return None, None, None, *found, None, None


def _gradients(
    name: str,
    options: RoutingOptions,
    grad_output: Tensor,
    tensors: Sequence[Tensor | None],
    saved: Sequence[Tensor | None],
    needed: Sequence[bool],
) -> Sequence[Tensor | None]:
    """What a backward returns for the tensors that are differentiable; see :func:`.ops.backward`."""
    if tangents.are_given((grad_output, *tensors)):
        return definition.gradients(name, options, grad_output, tensors, needed)
    if torch.is_grad_enabled() and not torch.compiler.is_compiling():  # create_graph=True
        present = iter(_Gradients.apply(name, options, needed, grad_output, *tensors, *saved))
        return [next(present) if need else None for need in needed]
    with torch.no_grad():
        return ops.backward(name, grad_output, tensors, saved, options, needed)


def _functions(name: str) -> tuple[type[Function], type[Function]]:
    """The Function of one routing op, and its twin for functorch.

    torch.func transforms need the style with setup_context, which costs several times the rest of a call in eager
    mode; so there are two classes with one backward.
    """
    sources = len(ops.SOURCES[name])

    def gradients_of(ctx: Any, grad_output: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        *tensors, pre_squash, normaliser = ctx.saved_tensors
        needed = ctx.needs_input_grad[1 : 1 + sources + ops.DIFFERENTIABLE]
        return None, *_gradients(name, ctx.options, grad_output, tensors, (pre_squash, normaliser), needed), None, None

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


def _register(name: str) -> None:
    """The gradients of the op called by itself, as traces and exported programs call it.

    They hold it without what a backward needs, which takes memory and which most never ask for: backward runs the
    forward once more.
    """
    differentiable = len(ops.SOURCES[name]) + ops.DIFFERENTIABLE

    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        *tensors, ctx.options, ctx.values, ctx.save = inputs
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(*tensors, *output[1:])

    def backward(ctx: Any, grad_output: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        *tensors, pre_squash, normaliser = ctx.saved_tensors
        if not ctx.save:
            with torch.no_grad():
                _, pre_squash, normaliser = ops.FORWARD_OPS[name](*tensors, ctx.options, ctx.values, True)
        options, needed = RoutingOptions.unpack(ctx.options, ctx.values), ctx.needs_input_grad[:differentiable]
        found = _gradients(name, options, grad_output, tensors, (pre_squash, normaliser), needed)
        return *found, *(None,) * (len(ctx.needs_input_grad) - differentiable)

    torch.library.register_autograd(
        f"capsroute::{name}_forward", backward, setup_context=setup_context, lib=ops._library
    )


for _name in ops.SOURCES:
    _register(_name)


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
    if learns and not dispatch.is_written_down():
        return _FUNCTIONS[name][0].apply(options, *tensors), None
    output, pre_squash, _ = ops.forward(name, tensors, options, keep)
    return output, pre_squash
