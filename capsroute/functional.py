"""The public functions: checks, autocast, choice of the backend. What they compute is in docs/maths.md."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import torch
from torch import Tensor

from . import axes, backends, checks, ops, reference
from .autograd import route
from .details import route_with_details
from .options import DEFAULTS, RoutingOptions
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
        _hashable(temperature),
    )
    call = _call((x, weight), bias, logits, input_weight, input_mask, output_mask, coupling, options)
    return _route(call, details)


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
        _hashable(temperature),
    )
    call = _call((votes,), bias, logits, input_weight, input_mask, output_mask, coupling, options)
    return _route(call, details)


def explain(*arguments: Any, **keywords: Any) -> str:
    """Say which kernel a call takes, and why, without running it.

    Args:
        *arguments: Those of :func:`dynamic_routing`, or of :func:`route_votes`: a second argument that is no weight.
        **keywords: Likewise; ``votes`` tells that :func:`route_votes` is meant.

    Returns:
        One line for a person: the function, the backend, the reason.

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
    values["temperature"] = _hashable(values["temperature"])
    call = _call(sources, **tensors, options=RoutingOptions(**values))
    return f"{function.__name__} takes backend {call.choice.name!r}{_detail(call)}: {call.choice.reason}"


def _detail(call: _Call) -> str:
    """The kernel within the backend, in parentheses."""
    if call.choice.name == "reference":
        return ""
    if call.tensors[0] is None or call.tensors[0].numel() == 0:
        return " (an empty batch runs nothing)"
    return f" ({ops.describe(call.tensors, _for_kernels(call))})"


def _hashable(temperature: Any) -> Any:
    return tuple(temperature) if isinstance(temperature, list) else temperature


class _Call(NamedTuple):
    """A checked call: the name of the op, its tensors after autocast (sources, optional ones), what runs it."""

    name: str
    tensors: tuple[Tensor | None, ...]
    options: RoutingOptions
    choice: backends.Choice
    output_axes: torch.Size | None  # of several, which are one in the tensors


def _call(
    sources: Sequence[Tensor],
    bias: Tensor | None,
    logits: Tensor | None,
    input_weight: Tensor | None,
    input_mask: Tensor | None,
    output_mask: Tensor | None,
    coupling: Tensor | None,
    options: RoutingOptions,
) -> _Call:
    checks.scalar_options(options)
    logits_name = "logits"
    if coupling is not None:
        checks.coupling_alone(options, logits)
        logits_name, logits = "coupling", coupling
        options = options._replace(iterations=1, coupling_given=True)
    elif options.gradient == "detached_votes" and bias is None and logits is None and input_weight is None:
        options = options._replace(gradient="last")  # nothing else could get a gradient through the iterations
    several = axes.several_outputs(sources)
    if several is not None:
        sources = axes.join_sources(sources)
        bias = axes.join("bias", bias, several, 0, 1)
        logits = axes.join(logits_name, logits, several, None, 0)
        output_mask = axes.join("output_mask", output_mask, several, 1, 0)
    *sources, bias, logits, input_weight = _autocast(*sources, bias, logits, input_weight)
    if len(sources) == 2:
        name, like_name, sizes = "dynamic_routing", "x", checks.inputs_and_weight(*sources)
    else:
        name, like_name, sizes = "route_votes", "votes", checks.prediction_votes(*sources)
    checks.shared_tensors(
        like_name, sources[0], bias, logits_name, logits, input_weight, input_mask, output_mask, sizes
    )
    tensors = (*sources, bias, logits, input_weight, input_mask, output_mask)
    chosen = backends.choose(sources[0].device)
    return _Call(name, tensors, options, chosen, several)


def _route(call: _Call, details: Sequence[str] | None) -> Tensor | RoutingResult:
    """Run a call of a public function."""
    if call.choice.name == "reference" and backends.forced() is None:
        backends.warn_once(call.choice.reason)
    if details is None:
        output = _run(call)
        return output if call.output_axes is None else output.unflatten(1, call.output_axes)
    checks.detail_names(details)
    result = _run_with_details(call, details)
    return result if call.output_axes is None else axes.split(result, call.output_axes)


def _run(call: _Call) -> Tensor:
    if call.choice.name != "reference":
        return route(call.name, _for_kernels(call), *call.tensors)
    output: Tensor = _run_reference(call, None)
    return output


def _run_with_details(call: _Call, details: Sequence[str]) -> RoutingResult:
    if call.choice.name != "reference":
        return route_with_details(call.name, _for_kernels(call), call.tensors, details)
    result: RoutingResult = _run_reference(call, details)
    return result


def _run_reference(call: _Call, details: Sequence[str] | None) -> Any:
    options = call.options
    *sources, bias, logits, input_weight, input_mask, output_mask = call.tensors
    return getattr(reference, call.name)(
        *sources,
        bias,
        input_mask=input_mask,
        output_mask=output_mask,
        input_weight=input_weight,
        details=details,
        **{"coupling" if options.coupling_given else "logits": logits},
        **options.keywords(),
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
