"""The public functions: checks, what must agree between the ranks, and the call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from typing_extensions import Unpack

from capsroute.routing import backends, calls, ops
from capsroute.routing.keywords import AllKeywords
from capsroute.routing.options import RoutingOptions

from .consensus import Exchange, Facts, refusals_shared
from .groups import members
from .routing import ShardedCall, route

_TENSORS = ("logits", "input_weight", "input_mask", "output_mask", "coupling")


def dynamic_routing(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    group: dist.ProcessGroup | None = None,
    **keywords: Unpack[AllKeywords],
) -> Tensor:
    """Routing by agreement of input capsules that are divided among the ranks of a process group.

    The result is that of :func:`capsroute.dynamic_routing` for the inputs of all ranks, one slice behind the other, up
    to rounding. Every rank of the group calls this with the same options and the same kinds of arguments, and has the
    same bits as result.

    Per iteration each rank goes over its own inputs, and ``[B, J, D]`` sums are added up over the ranks, once, in
    float32 (float64 for float64); for a softmax over inputs ``[B, J, D + 1]``, and before it the largest of ``[B, J]``,
    which an iteration without logits leaves out. Backward adds up ``[B, J, D]`` once for each iteration but the first,
    and nothing with ``gradient="last"``. Besides, each call exchanges 8 bytes per rank, while the first pass computes.

    Every rank is expected to compute the same loss from the result, so that the gradient of the result is the same on
    every rank. Then the gradients of ``x``, ``weight``, ``logits``, ``input_weight`` and ``coupling`` are those of the
    slice, whole and exact; that of ``bias`` is the whole one on every rank, and no further sum is needed anywhere. All
    ranks must run the backward, or none.

    Args:
        x: This rank's input capsules, ``[B, I_local, d]``; I_local may differ between the ranks, and is at least 1.
        weight: Their matrices ``[I_local, J, D, d]``, or ``[I_w, J, D, d]`` with I_w a divisor of I_local: matrices
            that this rank's inputs share. J may be several axes.
        bias: ``[J, D]``, the same on every rank.
        group: The ranks; None for all of ``torch.distributed``'s default group.
        **keywords: The other arguments of :func:`capsroute.dynamic_routing` but ``details``. ``logits``,
            ``input_weight``, ``input_mask`` and ``coupling`` are this rank's slice along I, ``output_mask`` is the same
            on every rank.

    Returns:
        Output capsules, ``[B, J, D]``, dtype of ``x`` (under autocast: its dtype), the same on every rank.

    Raises:
        TypeError: An argument of the wrong kind or dtype.
        ValueError: Sizes, devices or options that do not fit; ranks that differ in B, J, D, dtype, device type,
            options, or in which arguments are given or differentiable; another rank refused its arguments; the device
            has no kernel; this process is not in the group.
        RuntimeError: ``torch.distributed`` is not initialised.
    """
    return _routed("dynamic_routing", (x, weight), bias, group, dict(keywords))


def route_votes(
    votes: Tensor,
    bias: Tensor | None = None,
    *,
    group: dist.ProcessGroup | None = None,
    **keywords: Unpack[AllKeywords],
) -> Tensor:
    """Routing by agreement of votes that are divided among the ranks of a process group by their inputs.

    Args:
        votes: The votes of this rank's inputs, ``[B, I_local, J, D]``.
        bias: ``[J, D]``, the same on every rank.
        group: As in :func:`dynamic_routing`.
        **keywords: Likewise.

    Returns:
        As :func:`dynamic_routing`.

    Raises:
        TypeError, ValueError, RuntimeError: As :func:`dynamic_routing`.
    """
    return _routed("route_votes", (votes,), bias, group, dict(keywords))


@torch.compiler.disable  # one break instead of a piece of a program between any two sums
def _routed(
    name: str,
    sources: Sequence[Tensor],
    bias: Tensor | None,
    group: dist.ProcessGroup | None,
    keywords: dict[str, Any],
) -> Tensor:
    ranks = members(group)
    device = next((source.device for source in sources if isinstance(source, Tensor)), torch.device("cpu"))
    with refusals_shared(ranks, device):
        call = _checked(sources, bias, keywords)
    differentiable = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in call.tensors)
    exchange = Exchange(ranks, _facts(call, differentiable), device)
    sharded = ShardedCall(call.name, calls.for_kernels(call), ranks, exchange.finish)
    output = route(sharded, call.tensors, differentiable)
    return output if call.output_axes is None else output.unflatten(1, call.output_axes)


def _checked(sources: Sequence[Tensor], bias: Tensor | None, keywords: dict[str, Any]) -> calls.Call:
    tensors = {name: keywords.pop(name, None) for name in _TENSORS}
    call = calls.checked(sources, bias, **tensors, keywords=keywords)
    if call.choice is backends.FORWARD_MODE or torch._C._are_functorch_transforms_active():
        raise ValueError(
            f"{call.name} must not be given tangents or run inside a transform of torch.func where its inputs are "
            f"divided among ranks, which neither can see: use capsroute.{call.name} with all inputs"
        )
    if call.choice.name == "reference":
        raise ValueError(f"sharded routing needs a kernel for the device of its tensors: {call.choice.reason}")
    return call


def _facts(call: calls.Call, differentiable: bool) -> Facts:
    """What must be the same on every rank, by the names that a user knows."""
    sources = call.tensors[: -len(ops.OPTIONAL)]
    first, last = sources[0], sources[-1]
    assert first is not None
    assert last is not None
    *_, outputs, size = last.shape if len(sources) == 1 else last.shape[:-1]
    given = zip(ops.OPTIONAL, call.tensors[-len(ops.OPTIONAL) :], strict=True)
    options = RoutingOptions.unpack(call.options.integers(), call.options.floats()).keywords()  # 1 is 1.0
    return (
        ("the function", call.name),
        ("B", first.shape[0]),
        ("J", outputs if call.output_axes is None else tuple(call.output_axes)),
        ("D", size),
        ("the dtype", first.dtype),
        ("the device type", first.device.type),
        *((name, "given" if tensor is not None else "not given") for name, tensor in given if name != "logits"),
        ("logits", _kind_of_logits(call)),
        *options.items(),
        ("a gradient", "needed" if differentiable else "not needed"),
    )


def _kind_of_logits(call: calls.Call) -> str:
    if call.tensors[-len(ops.OPTIONAL) + 1] is None:
        return "not given"
    return "the coupling" if call.options.coupling_given else "given"
