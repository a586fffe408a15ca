"""The public functions: checks, autocast, choice of the backend. What they compute is in docs/maths.md."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from . import backends, checks, ops, reference
from .autograd import route
from .options import RoutingOptions


def dynamic_routing(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    iterations: int = 3,
    logits: Tensor | None = None,
    input_mask: Tensor | None = None,
    output_mask: Tensor | None = None,
    softmax_over: str = "outputs",
    leaky: bool = False,
    gradient: str = "all",
    eps: float = 1e-8,
) -> Tensor:
    """Route input capsules to output capsules by agreement, without ever storing the prediction vectors.

    Sabour, Frosst and Hinton, "Dynamic Routing Between Capsules", 2017, equations 1 to 3 and procedure 1. The
    prediction vectors (votes) are ``u_bij = weight_ij @ x_bi``. Differentiable once in ``x``, ``weight``, ``bias`` and
    ``logits``. A sample's result does not depend on the other samples.

    Args:
        x: Input capsules, ``[B, I, d]``; float32, float64, bfloat16 or float16, any strides. B may be 0.
        weight: Transformation matrices, ``[I, J, D, d]``, or ``[I_w, J, D, d]`` with I_w a divisor of I: input i uses
            matrix i mod I_w (1 = shared by all inputs). Dtype and device of ``x``, as for all other tensors.
        bias: Added before the squash in every iteration, ``[J, D]``.
        iterations: Number T of routing iterations, at least 1. T = 1 without ``logits`` is the uniform coupling.
        logits: Initial logits, ``[I, J]`` (may be learnable) or ``[B, I, J]``. Zero when not given.
        input_mask: bool ``[B, I]``; False = absent: takes part in no softmax and no sum, its value is never used.
        output_mask: bool ``[B, J]``; False = absent: its coupling and its output are 0.
        softmax_over: ``"outputs"`` (each input divides itself among the outputs, as in the paper) or ``"inputs"``.
        leaky: Add one zero logit to each softmax over outputs and drop its share.
        gradient: ``"all"`` differentiates through all iterations; ``"last"`` takes what the earlier iterations
            computed, and the votes in the logits of the last, for constants.
        eps: Under the root of the squash, at least 0.

    Returns:
        Output capsules, ``[B, J, D]``, contiguous, in the dtype of ``x`` (under autocast: in autocast's dtype).

    Raises:
        TypeError: An argument of the wrong kind or dtype.
        ValueError: Sizes, devices or options that do not fit; a forced backend without a kernel for the device.
    """
    options = RoutingOptions(iterations, softmax_over, leaky, gradient, eps)
    return _run(_call((x, weight), bias, logits, input_mask, output_mask, options))


def route_votes(
    votes: Tensor,
    bias: Tensor | None = None,
    *,
    iterations: int = 3,
    logits: Tensor | None = None,
    input_mask: Tensor | None = None,
    output_mask: Tensor | None = None,
    softmax_over: str = "outputs",
    leaky: bool = False,
    gradient: str = "all",
    eps: float = 1e-8,
) -> Tensor:
    """Route given prediction vectors: :func:`dynamic_routing` from its second step on.

    Args:
        votes: Prediction vectors, ``[B, I, J, D]``; float32, float64, bfloat16 or float16, any strides, read in place.
        bias: Added before the squash in every iteration, ``[J, D]``.
        iterations: Number T of routing iterations, at least 1.
        logits: Initial logits, ``[I, J]`` or ``[B, I, J]``. Zero when not given.
        input_mask: bool ``[B, I]``; False = absent.
        output_mask: bool ``[B, J]``; False = absent.
        softmax_over: ``"outputs"`` or ``"inputs"``.
        leaky: Add one zero logit to each softmax over outputs and drop its share.
        gradient: ``"all"`` or ``"last"``.
        eps: Under the root of the squash, at least 0.

    Returns:
        Output capsules, ``[B, J, D]``, contiguous, in the dtype of ``votes`` (under autocast: in autocast's dtype).

    Raises:
        TypeError: An argument of the wrong kind or dtype.
        ValueError: Sizes, devices or options that do not fit; a forced backend without a kernel for the device.
    """
    options = RoutingOptions(iterations, softmax_over, leaky, gradient, eps)
    return _run(_call((votes,), bias, logits, input_mask, output_mask, options))


def explain(*arguments: Any, **keywords: Any) -> str:
    """Say which kernel a call takes, and why, without running it.

    Args:
        *arguments: Those of :func:`dynamic_routing`, or of :func:`route_votes`: a first argument with four dimensions.
        **keywords: Likewise; ``votes`` tells that :func:`route_votes` is meant.

    Returns:
        One line for a person: the function, the backend, the reason.

    Raises:
        TypeError, ValueError: What the call itself would raise.
        RuntimeError: A CUDA kernel is forced that cannot run this problem.
    """
    four_dimensional = bool(arguments) and isinstance(arguments[0], Tensor) and arguments[0].dim() == 4
    function = route_votes if "votes" in keywords or four_dimensional else dynamic_routing
    given = inspect.signature(function).bind(*arguments, **keywords)
    given.apply_defaults()
    values = given.arguments
    sources = tuple(values.pop(name) for name in ("x", "weight", "votes") if name in values)
    bias, logits, input_mask, output_mask = (
        values.pop(name) for name in ("bias", "logits", "input_mask", "output_mask")
    )
    call = _call(sources, bias, logits, input_mask, output_mask, RoutingOptions(**values))
    return f"{function.__name__} takes backend {call.choice.name!r}{_detail(call)}: {call.choice.reason}"


def _detail(call: _Call) -> str:
    """The kernel within the backend, in parentheses."""
    if call.choice.name == "reference":
        return ""
    if call.tensors[0] is None or call.tensors[0].numel() == 0:
        return " (an empty batch runs nothing)"
    return f" ({ops.describe(call.tensors, _for_kernels(call))})"


class _Call(NamedTuple):
    """A checked call: the name of the op, its tensors after autocast (sources, bias, logits, masks), what runs it."""

    name: str
    tensors: tuple[Tensor | None, ...]
    options: RoutingOptions
    choice: backends.Choice


def _call(
    sources: Sequence[Tensor],
    bias: Tensor | None,
    logits: Tensor | None,
    input_mask: Tensor | None,
    output_mask: Tensor | None,
    options: RoutingOptions,
) -> _Call:
    checks.scalar_options(options)
    *sources, bias, logits = _autocast(*sources, bias, logits)
    if len(sources) == 2:
        name, like_name, sizes = "dynamic_routing", "x", checks.inputs_and_weight(*sources)
    else:
        name, like_name, sizes = "route_votes", "votes", checks.prediction_votes(*sources)
    checks.shared_tensors(like_name, sources[0], bias, logits, input_mask, output_mask, sizes)
    choice = backends.choose(sources[0].device)
    return _Call(name, (*sources, bias, logits, input_mask, output_mask), options, choice)


def _run(call: _Call) -> Tensor:
    options = call.options
    if call.choice.name != "reference":
        return route(call.name, _for_kernels(call), *call.tensors)
    if backends.forced() is None:
        backends.warn_once(call.choice.reason)
    *sources, bias, logits, input_mask, output_mask = call.tensors
    return getattr(reference, call.name)(
        *sources,
        bias,
        iterations=options.iterations,
        logits=logits,
        input_mask=input_mask,
        output_mask=output_mask,
        softmax_over=options.softmax_over,
        leaky=options.leaky,
        gradient=options.gradient,
        eps=options.eps,
    )


def _for_kernels(call: _Call) -> RoutingOptions:
    """The options with what the backend needs beside them."""
    if call.choice.name == call.options.backend:  # "cpu", the default, which needs nothing
        return call.options
    kernel, fusion = backends.forced_cuda_kernel()
    # A compiled program asks torch's switch each time it runs, and does not keep what it said when it was traced.
    tf32 = None if torch.compiler.is_compiling() else backends.tf32_allowed()
    return call.options._replace(backend=call.choice.name, allow_tf32=tf32, cuda_kernel=kernel, cuda_fusion=fusion)


def _autocast(*values: Any) -> tuple[Any, ...]:
    """Cast what autocast would cast: floating tensors but float64, to the dtype chosen for the device of the first."""
    if not isinstance(values[0], Tensor):
        return values  # the checks say what is wrong
    device = values[0].device.type
    if not torch.amp.is_autocast_available(device) or not torch.is_autocast_enabled(device):
        return values
    dtype = torch.get_autocast_dtype(device)
    return tuple(
        value.to(dtype)
        if isinstance(value, Tensor) and value.is_floating_point() and value.dtype != torch.float64
        else value
        for value in values
    )
