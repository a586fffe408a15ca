"""Floor 2: a call of a public function, checked, cast by autocast, given to its backend, and run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from . import backends, checks, core, output_axes, reference
from .autograd import route
from .details import route_with_details
from .options import RoutingOptions
from .result import RoutingResult


class Call(NamedTuple):
    """A checked call: the name of the op, its tensors after autocast (sources, optional ones), what runs it."""

    name: str
    tensors: tuple[Tensor | None, ...]
    options: RoutingOptions
    choice: backends.Choice
    output_axes: torch.Size | None  # of several, which are one in the tensors


def checked(
    sources: Sequence[Tensor],
    bias: Tensor | None,
    logits: Tensor | None,
    input_weight: Tensor | None,
    input_mask: Tensor | None,
    output_mask: Tensor | None,
    coupling: Tensor | None,
    options: RoutingOptions,
) -> Call:
    """Check the arguments of a public function; ``sources`` are x and weight, or votes.

    Raises:
        TypeError, ValueError: What the public functions say.
    """
    checks.scalar_options(options)
    logits_name = "logits"
    if coupling is not None:
        checks.coupling_alone(options, logits)
        logits_name, logits = "coupling", coupling
        options = options._replace(iterations=1, coupling_given=True)
    elif options.gradient == "detached_votes" and bias is None and logits is None and input_weight is None:
        options = options._replace(gradient="last")  # nothing else could get a gradient through the iterations
    several = output_axes.several_outputs(sources)
    if several is not None:
        sources = output_axes.join_sources(sources)
        bias = output_axes.join("bias", bias, several, 0, 1)
        logits = output_axes.join(logits_name, logits, several, None, 0)
        output_mask = output_axes.join("output_mask", output_mask, several, 1, 0)
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
    return Call(name, tensors, options, chosen, several)


def run(call: Call, details: Sequence[str] | None) -> Tensor | RoutingResult:
    """Run a call of a public function."""
    if call.choice.name == "reference" and backends.forced() is None:
        backends.warn_once(call.choice.reason)
    if details is None:
        output = _output_of(call)
        return output if call.output_axes is None else output.unflatten(1, call.output_axes)
    checks.detail_names(details)
    result = _with_details(call, details)
    return result if call.output_axes is None else output_axes.split(result, call.output_axes)


def _output_of(call: Call) -> Tensor:
    if call.choice.name != "reference":
        return route(call.name, options_for_kernels(call), *call.tensors)
    output: Tensor = _by_reference(call, None)
    return output


def _with_details(call: Call, details: Sequence[str]) -> RoutingResult:
    if call.choice.name != "reference":
        return route_with_details(call.name, options_for_kernels(call), call.tensors, details)
    result: RoutingResult = _by_reference(call, details)
    return result


def _by_reference(call: Call, details: Sequence[str] | None) -> Any:
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


def options_for_kernels(call: Call) -> RoutingOptions:
    """The options with what the backend needs beside them."""
    if call.choice.name == call.options.backend:  # "cpu", the default, which needs nothing
        return call.options
    kernel, fusion = backends.forced_cuda_kernel()
    # A compiled program asks torch's switch each time it runs, and does not keep what it said when it was traced.
    tf32 = None if torch.compiler.is_compiling() else core.tf32_allowed()
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
