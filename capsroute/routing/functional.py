"""Floor 1, the public functions. What they compute is in docs/maths.md."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, overload

from torch import Tensor

from . import calls, ops
from .options import DEFAULTS, RoutingOptions, hashable
from .result import RoutingResult

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .options import AllKeywords


@overload
def dynamic_routing(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, *, details: None = None, **keywords: Unpack[AllKeywords]
) -> Tensor: ...
@overload
def dynamic_routing(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, *, details: Sequence[str], **keywords: Unpack[AllKeywords]
) -> RoutingResult: ...
def dynamic_routing(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    iterations: int = DEFAULTS.iterations,
    logits: Tensor | None = None,
    input_mask: Tensor | None = None,
    output_mask: Tensor | None = None,
    input_weight: Tensor | None = None,
    coupling: Tensor | None = None,
    softmax_over: str = DEFAULTS.softmax_over,
    leaky: bool = DEFAULTS.leaky,
    gradient: str = DEFAULTS.gradient,
    eps: float = DEFAULTS.eps,
    squash: str = DEFAULTS.squash,
    squash_constant: float | None = DEFAULTS.squash_constant,
    logit_update: str = DEFAULTS.logit_update,
    agreement_factor: float = DEFAULTS.agreement_factor,
    temperature: float | Sequence[float] = DEFAULTS.temperature,
    details: Sequence[str] | None = None,
) -> Tensor | RoutingResult:
    """Route input capsules to output capsules by agreement, without ever storing the prediction vectors.

    Sabour, Frosst and Hinton, "Dynamic Routing Between Capsules", 2017, equations 1 to 3 and procedure 1. The
    prediction vectors (votes) are ``u_bij = weight_ij @ x_bi``. Differentiable once in ``x``, ``weight``, ``bias``,
    ``logits``, ``input_weight`` and ``coupling``. A sample's result does not depend on the other samples.

    J stands for one output axis or for several: a softmax over outputs then runs jointly over all of them.

    Args:
        x: Input capsules, ``[B, I, d]``; float32, float64, bfloat16 or float16, any strides. B may be 0.
        weight: Transformation matrices, ``[I, J, D, d]``, or ``[I_w, J, D, d]`` with I_w a divisor of I: input i uses
            matrix i mod I_w (1 = shared by all inputs). Dtype and device of ``x``, as for all other tensors.
        bias: Added before the squash in every iteration, ``[J, D]``.
        iterations: Number T of routing iterations, at least 1. T = 1 without ``logits`` is the uniform coupling.
        logits: Initial logits, ``[I, J]`` (may be learnable) or ``[B, I, J]``. Zero when not given.
        input_mask: bool ``[B, I]``; False = absent: takes part in no softmax and no sum, its value is never used.
        output_mask: bool ``[B, J]``; False = absent: its coupling and its output are 0.
        input_weight: Multiplies the coupling coefficients after the softmax, in every iteration, ``[B, I]``; finite.
        coupling: Coupling coefficients, ``[I, J]`` or ``[B, I, J]``, in the place of routing: the output is the squash
            of the votes' weighted sum, and ``iterations`` counts for nothing.
        softmax_over: ``"outputs"`` (each input divides itself among the outputs, as in the paper) or ``"inputs"``.
        leaky: Add one zero logit to each softmax over outputs and drop its share.
        gradient: ``"all"`` differentiates through all iterations; ``"last"`` takes what the earlier iterations
            computed, and the votes in the logits of the last, for constants; ``"detached_votes"`` takes only the votes
            for constants, in all but the sum of the last iteration, so that bias, logits and ``input_weight`` get
            gradients through all iterations.
        eps: In the squash, at least 0.
        squash: ``"standard"``, ``"norm_eps"``, ``"clamped"``, ``"shifted"``, ``"exponential"``, ``"power"`` or
            ``"none"``; the formulae are those of :func:`capsroute.nn.squash`.
        squash_constant: The number in ``"shifted"`` (0.5 by default) and ``"power"`` (1).
        logit_update: ``"accumulate"`` (initial logits and all agreements so far) or ``"replace"`` (the last agreement
            alone, from the second iteration on).
        agreement_factor: Multiplies every agreement that goes into the logits.
        temperature: The logits are divided by it before each softmax; a number above 0, or one for each iteration (of
            at most 32).
        details: None for the output alone, or some of ``"coupling"``, ``"pre_squash"`` and ``"agreement"``.

    Returns:
        Output capsules, ``[B, J, D]``, contiguous, in the dtype of ``x`` (under autocast: in autocast's dtype). With
        ``details`` a :class:`capsroute.RoutingResult`, whose first field they are.

    Raises:
        TypeError: An argument of the wrong kind or dtype.
        ValueError: Sizes, devices or options that do not fit; a forced backend without a kernel for the device.
    """
    options = RoutingOptions(
        iterations,
        softmax_over,
        leaky,
        gradient,
        eps,
        squash,
        squash_constant,
        logit_update,
        agreement_factor,
        hashable(temperature),
    )
    call = calls.checked((x, weight), bias, logits, input_weight, input_mask, output_mask, coupling, options)
    return calls.run(call, details)


@overload
def route_votes(
    votes: Tensor, bias: Tensor | None = None, *, details: None = None, **keywords: Unpack[AllKeywords]
) -> Tensor: ...
@overload
def route_votes(
    votes: Tensor, bias: Tensor | None = None, *, details: Sequence[str], **keywords: Unpack[AllKeywords]
) -> RoutingResult: ...
def route_votes(
    votes: Tensor,
    bias: Tensor | None = None,
    *,
    iterations: int = DEFAULTS.iterations,
    logits: Tensor | None = None,
    input_mask: Tensor | None = None,
    output_mask: Tensor | None = None,
    input_weight: Tensor | None = None,
    coupling: Tensor | None = None,
    softmax_over: str = DEFAULTS.softmax_over,
    leaky: bool = DEFAULTS.leaky,
    gradient: str = DEFAULTS.gradient,
    eps: float = DEFAULTS.eps,
    squash: str = DEFAULTS.squash,
    squash_constant: float | None = DEFAULTS.squash_constant,
    logit_update: str = DEFAULTS.logit_update,
    agreement_factor: float = DEFAULTS.agreement_factor,
    temperature: float | Sequence[float] = DEFAULTS.temperature,
    details: Sequence[str] | None = None,
) -> Tensor | RoutingResult:
    """Route given prediction vectors: :func:`dynamic_routing` from its second step on.

    Args:
        votes: Prediction vectors, ``[B, I, J, D]``; float32, float64, bfloat16 or float16, any strides, read in place.
            With several output axes, ``[B, I, *J, D]``, they are copied where their strides need it.
        bias: Added before the squash in every iteration, ``[J, D]``.
        iterations: Number T of routing iterations, at least 1.
        logits: Initial logits, ``[I, J]`` or ``[B, I, J]``. Zero when not given.
        input_mask: bool ``[B, I]``; False = absent.
        output_mask: bool ``[B, J]``; False = absent.
        input_weight: Multiplies the coupling coefficients after the softmax, ``[B, I]``; finite.
        coupling: Coupling coefficients in the place of routing, ``[I, J]`` or ``[B, I, J]``.
        softmax_over: ``"outputs"`` or ``"inputs"``.
        leaky: Add one zero logit to each softmax over outputs and drop its share.
        gradient: ``"all"``, ``"last"`` or ``"detached_votes"``.
        eps: In the squash, at least 0.
        squash: Name of the squash.
        squash_constant: The number in its formula.
        logit_update: ``"accumulate"`` or ``"replace"``.
        agreement_factor: Multiplies every agreement that goes into the logits.
        temperature: Divides the logits, one for all iterations or one for each.
        details: None, or some of ``"coupling"``, ``"pre_squash"`` and ``"agreement"``.

    Returns:
        Output capsules, ``[B, J, D]``, contiguous, in the dtype of ``votes`` (under autocast: in autocast's dtype), or
        with ``details`` a :class:`capsroute.RoutingResult`.

    Raises:
        TypeError: An argument of the wrong kind or dtype.
        ValueError: Sizes, devices or options that do not fit; a forced backend without a kernel for the device.
    """
    options = RoutingOptions(
        iterations,
        softmax_over,
        leaky,
        gradient,
        eps,
        squash,
        squash_constant,
        logit_update,
        agreement_factor,
        hashable(temperature),
    )
    call = calls.checked((votes,), bias, logits, input_weight, input_mask, output_mask, coupling, options)
    return calls.run(call, details)


def explain(*arguments: Any, **keywords: Any) -> str:
    """Say which kernel a call takes, and why, without running it.

    Args:
        *arguments: Those of :func:`dynamic_routing`, or of :func:`route_votes`: a second argument that is no weight.
        **keywords: Likewise; ``votes`` tells that :func:`route_votes` is meant.

    Returns:
        One line for a person, with the function, the backend and the reason.

    Raises:
        TypeError, ValueError: What the call itself would raise.
        RuntimeError: A CUDA kernel is forced that cannot run this problem.
    """
    of_votes = "votes" in keywords or (bool(arguments) and isinstance(arguments[0], Tensor) and arguments[0].dim() >= 4)
    function = route_votes if of_votes else dynamic_routing
    given = inspect.signature(function).bind(*arguments, **keywords)
    given.apply_defaults()
    values = given.arguments
    sources = tuple(values.pop(name) for name in ("x", "weight", "votes") if name in values)
    tensors = {name: values.pop(name) for name in (*ops.OPTIONAL, "coupling")}
    values.pop("details")
    values["temperature"] = hashable(values["temperature"])
    call = calls.checked(sources, **tensors, options=RoutingOptions(**values))
    return f"{function.__name__} takes backend {call.choice.name!r}{_detail(call)}: {call.choice.reason}"


def _detail(call: calls.Call) -> str:
    """The kernel within the backend, in parentheses."""
    if call.choice.name == "reference":
        return ""
    if call.tensors[0] is None or call.tensors[0].numel() == 0:
        return " (an empty batch runs nothing)"
    return f" ({ops.describe(call.tensors, calls.options_for_kernels(call))})"
