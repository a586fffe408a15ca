"""Floor 2: a call of a public function, checked, cast by autocast, given to its backend, and run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from . import backends, checks, core, definition, details, ops, output_axes, sharding, tangents
from .options import RoutingOptions
from .result import RoutingResult


class Call(NamedTuple):
    """A checked call: the name of the op, its tensors after autocast (sources, optional ones), what runs it."""

    name: str
    tensors: tuple[Tensor | None, ...]
    options: RoutingOptions
    choice: backends.Choice
    output_axes: torch.Size | None  # of several, which are one in the tensors


def route(
    sources: Sequence[Tensor],
    bias: Tensor | None,
    logits: Tensor | None,
    input_weight: Tensor | None,
    input_mask: Tensor | None,
    output_mask: Tensor | None,
    coupling: Tensor | None,
    wanted: Sequence[str] | None,
    keywords: Mapping[str, Any],
) -> Any:
    """Run a public function; ``sources`` are x and weight, or votes, ``wanted`` the details, or None.

    Raises:
        TypeError, ValueError: What the public functions say.
    """
    call = checked(sources, bias, logits, input_weight, input_mask, output_mask, coupling, keywords, wanted)
    if type(sources[0]) is not Tensor and sharding.among(call.tensors):
        result = sharding.route(call.name, call.tensors, lambda own: _run(call._replace(tensors=tuple(own)), wanted))
    else:
        result = _run(call, wanted)
    return result if call.output_axes is None else output_axes.split(result, call.output_axes)


def _run(call: Call, wanted: Sequence[str] | None) -> Tensor | RoutingResult:
    if call.choice.name == "reference":
        return _by_reference(call, wanted)
    return details.route(call.name, for_kernels(call), call.tensors, wanted)


def checked(
    sources: Sequence[Tensor],
    bias: Tensor | None,
    logits: Tensor | None,
    input_weight: Tensor | None,
    input_mask: Tensor | None,
    output_mask: Tensor | None,
    coupling: Tensor | None,
    keywords: Mapping[str, Any],
    wanted: Sequence[str] | None = None,
) -> Call:
    """The call that these arguments of a public function make, see :func:`route`."""
    several, *joined = output_axes.joined(sources, bias, logits, coupling, output_mask)
    sources, bias, logits, coupling, output_mask = joined
    *sources, bias, logits, coupling, input_weight = _autocast(*sources, bias, logits, coupling, input_weight)
    options = checks.arguments(sources, bias, logits, input_weight, input_mask, output_mask, coupling, keywords, wanted)
    if coupling is not None:
        logits, options = coupling, options._replace(iterations=1, coupling_given=True)
    elif options.gradient == "detached_votes" and bias is None and logits is None and input_weight is None:
        options = options._replace(gradient="last")  # nothing else could get a gradient through the iterations
    name = "dynamic_routing" if len(sources) == 2 else "route_votes"
    tensors = (*sources, bias, logits, input_weight, input_mask, output_mask)
    choice = backends.choose(sources[0].device)
    if choice.name != "reference" and tangents.are_given(tensors):
        choice = backends.FORWARD_MODE
    return Call(name, tensors, options, choice, several)


def explain(name: str, *arguments: Any) -> str:
    """See :func:`capsroute.explain`; the arguments are those of :func:`checked`."""
    call = checked(*arguments)
    if call.choice.name == "reference":
        kernel = ""
    elif call.tensors[0] is None or call.tensors[0].numel() == 0:
        kernel = " (an empty batch runs nothing)"
    elif call.tensors[0].is_meta:
        kernel = " (nothing runs)"
    else:
        kernel = f" ({ops.describe(call.tensors, for_kernels(call))})"
    return f"{name} takes backend {call.choice.name!r}{kernel}: {call.choice.reason}"


def for_kernels(call: Call) -> RoutingOptions:
    """The options with what the backend needs beside them."""
    choice = call.choice
    if choice.name == call.options.backend:  # "cpu", the default, which needs nothing
        return call.options
    # A compiled program asks torch's switch each time it runs, and does not keep what it said when it was traced.
    tf32 = None if torch.compiler.is_compiling() else core.tf32_allowed()
    return call.options._replace(
        backend=choice.name, allow_tf32=tf32, cuda_kernel=choice.cuda_kernel, cuda_fusion=choice.cuda_fusion
    )


def _by_reference(call: Call, wanted: Sequence[str] | None) -> Tensor | RoutingResult:
    backends.warn_once(call.choice)
    by = definition.exactly if call.choice is backends.FORWARD_MODE else definition.call
    result: Tensor | RoutingResult = by(call.name, call.options, call.tensors, wanted)
    return result


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
