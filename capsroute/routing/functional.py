"""Floor 1, the public functions. What they compute is in docs/maths.md."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

from torch import Tensor
from torch.overrides import handle_torch_function

from . import calls, proxies
from .result import RoutingResult
from .signatures import with_options

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .keywords import AllKeywords, RoutingKeywords

_OPTIONAL = ("bias", "logits", "input_weight", "input_mask", "output_mask", "coupling")


@overload
def dynamic_routing(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, *, details: None = None, **keywords: Unpack[AllKeywords]
) -> Tensor: ...
@overload
def dynamic_routing(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, *, details: Sequence[str], **keywords: Unpack[AllKeywords]
) -> RoutingResult: ...
@proxies.traced_alone
@with_options
def dynamic_routing(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    logits: Tensor | None = None,
    input_mask: Tensor | None = None,
    output_mask: Tensor | None = None,
    input_weight: Tensor | None = None,
    coupling: Tensor | None = None,
    details: Sequence[str] | None = None,
    **options: Unpack[RoutingKeywords],
) -> Tensor | RoutingResult:
    """Route input capsules to output capsules by agreement, without ever storing the prediction vectors.

    Sabour, Frosst and Hinton, "Dynamic Routing Between Capsules", 2017, equations 1 to 3 and procedure 1. The
    prediction vectors (votes) are ``u_bij = weight_ij @ x_bi``. Differentiable in ``x``, ``weight``, ``bias``,
    ``logits``, ``input_weight`` and ``coupling``: gradients by the kernels; tangents of forward mode, and derivatives
    of the gradients, by :mod:`capsroute.reference`, which stores the votes. A sample's result does not depend on the
    other samples.

    J stands for one output axis or for several: a softmax over outputs then runs jointly over all of them.

    Args:
        x: Input capsules, ``[B, I, d]``; float32, float64, bfloat16 or float16, any strides. B may be 0.
        weight: Transformation matrices, ``[I, J, D, d]``, or ``[I_w, J, D, d]`` with I_w a divisor of I: input i uses
            matrix i mod I_w (1 = shared by all inputs). Dtype and device of ``x``, as for all other tensors.
        bias: Added before the squash in every iteration, ``[J, D]``.
        logits: Initial logits, ``[I, J]`` (may be learnable) or ``[B, I, J]``. Zero when not given.
        input_mask: bool ``[B, I]``; False = absent: takes part in no softmax and no sum, its value is never used.
        output_mask: bool ``[B, J]``; False = absent: its coupling and its output are 0.
        input_weight: Multiplies the coupling coefficients after the softmax, in every iteration, ``[B, I]``; finite.
        coupling: Coupling coefficients, ``[I, J]`` or ``[B, I, J]``, in the place of routing: the output is the squash
            of the votes' weighted sum, and ``iterations`` counts for nothing.
        details: None for the output alone, or some of ``"coupling"``, ``"pre_squash"`` and ``"agreement"``.

    Returns:
        Output capsules, ``[B, J, D]``, contiguous, in the dtype of ``x`` (under autocast: in autocast's dtype). With
        ``details`` a :class:`capsroute.RoutingResult`, whose first field they are.

    Raises:
        TypeError: An argument of the wrong kind or dtype.
        ValueError: Sizes, devices or options that do not fit; a forced backend without a kernel for the device.
    """
    optional = (bias, logits, input_weight, input_mask, output_mask, coupling)
    if proxies.among((x, weight, *optional)):
        return _node(dynamic_routing, (x, weight), optional, details, options)
    result: Tensor | RoutingResult = calls.route((x, weight), *optional, details, options)
    return result


@overload
def route_votes(
    votes: Tensor, bias: Tensor | None = None, *, details: None = None, **keywords: Unpack[AllKeywords]
) -> Tensor: ...
@overload
def route_votes(
    votes: Tensor, bias: Tensor | None = None, *, details: Sequence[str], **keywords: Unpack[AllKeywords]
) -> RoutingResult: ...
@proxies.traced_alone
@with_options
def route_votes(
    votes: Tensor,
    bias: Tensor | None = None,
    *,
    logits: Tensor | None = None,
    input_mask: Tensor | None = None,
    output_mask: Tensor | None = None,
    input_weight: Tensor | None = None,
    coupling: Tensor | None = None,
    details: Sequence[str] | None = None,
    **options: Unpack[RoutingKeywords],
) -> Tensor | RoutingResult:
    """Route given prediction vectors: :func:`dynamic_routing` from its second step on.

    Args:
        votes: Prediction vectors, ``[B, I, J, D]``; float32, float64, bfloat16 or float16, any strides, read in place.
            With several output axes, ``[B, I, *J, D]``, they are copied where their strides need it.
        bias: Added before the squash in every iteration, ``[J, D]``.
        logits: Initial logits, ``[I, J]`` or ``[B, I, J]``. Zero when not given.
        input_mask: bool ``[B, I]``; False = absent.
        output_mask: bool ``[B, J]``; False = absent.
        input_weight: Multiplies the coupling coefficients after the softmax, ``[B, I]``; finite.
        coupling: Coupling coefficients in the place of routing, ``[I, J]`` or ``[B, I, J]``.
        details: None, or some of ``"coupling"``, ``"pre_squash"`` and ``"agreement"``.

    Returns:
        Output capsules, ``[B, J, D]``, contiguous, in the dtype of ``votes`` (under autocast: in autocast's dtype), or
        with ``details`` a :class:`capsroute.RoutingResult`.

    Raises:
        TypeError: An argument of the wrong kind or dtype.
        ValueError: Sizes, devices or options that do not fit; a forced backend without a kernel for the device.
    """
    optional = (bias, logits, input_weight, input_mask, output_mask, coupling)
    if proxies.among((votes, *optional)):
        return _node(route_votes, (votes,), optional, details, options)
    result: Tensor | RoutingResult = calls.route((votes,), *optional, details, options)
    return result


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
    function: Any = route_votes if of_votes else dynamic_routing
    given = inspect.signature(function).bind(*arguments, **keywords).arguments
    sources = tuple(given.pop(name) for name in ("x", "weight", "votes") if name in given)
    tensors = [given.pop(name, None) for name in _OPTIONAL]
    details = given.pop("details", None)
    return calls.explain(function.__name__, sources, *tensors, given, details)


def _node(
    function: Callable[..., Any],
    sources: Sequence[Any],
    optional: Sequence[Any],
    details: Sequence[str] | None,
    options: Mapping[str, Any],
) -> Any:
    """The call as a node of a graph that is being traced, see :mod:`.proxies`."""
    given = {**dict(zip(_OPTIONAL, optional, strict=True)), "details": details}
    keywords = {name: value for name, value in given.items() if value is not None}
    return handle_torch_function(function, (*sources, *optional), *sources, **keywords, **options)
