"""The sharded op: passes of the kernels, sums over the ranks, and steps, in turn; and the same backwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import Function

from capsroute.routing import ops, passes, tangents
from capsroute.routing.options import RoutingOptions

from .groups import Members
from .once import NO_FURTHER_DERIVATIVE, refusing_a_second_derivative
from .steps import Steps

Optional = Sequence[Tensor | None]


class ShardedCall(NamedTuple):
    """What of a call is no tensor."""

    name: str  # of the routing op
    options: RoutingOptions
    members: Members
    ready: Callable[[], None]  # waits until it is known that all ranks make the same call

    def steps(self, tensors: Optional) -> Steps:
        """Its steps."""
        return Steps(self.members, self.options, tensors[-len(ops.OPTIONAL) :])


class _Saved(NamedTuple):
    """What the backward needs of all iterations, the same on every rank."""

    queries: Tensor  # [T, B, J, D]; that of the first is not used
    totals: Tensor  # [T, B, J, D], before the bias
    normalisers: Tensor | None  # [T, B, 2, J]; softmax over inputs


def _forward(call: ShardedCall, tensors: Optional) -> tuple[Tensor, _Saved]:
    steps = call.steps(tensors)
    queries: list[Tensor] = []
    totals: list[Tensor] = []
    normalisers: list[Tensor] = []
    query = None
    for t in range(1, call.options.iterations + 1):
        part, normaliser = passes.forward_pass(call.name, tensors, query, t, call.options)
        if t == 1:
            call.ready()
        total, normaliser = steps.total(part, normaliser, t)
        queries.append(torch.zeros_like(total) if query is None else query)
        totals.append(total)
        normalisers.append(normaliser)
        v = steps.output(total)
        query = steps.next_query(query, v, t)
    over_inputs = call.options.softmax_over == "inputs"
    saved = _Saved(torch.stack(queries), torch.stack(totals), torch.stack(normalisers) if over_inputs else None)
    first = tensors[0]
    assert first is not None
    return v.to(first.dtype), saved


def _backward(
    call: ShardedCall, grad_output: Tensor, tensors: Optional, saved: _Saved, needed: Sequence[bool]
) -> list[Tensor | None]:
    steps, options = call.steps(tensors), call.options
    queries, totals, normalisers = saved
    slopes = torch.zeros_like(totals)
    means = None if normalisers is None else totals.new_zeros(totals.shape[:-1])

    def set_slope(t: int, gradient: Tensor) -> None:
        slopes[t - 1] = steps.slope(totals[t - 1], gradient)
        if means is not None:
            means[t - 1] = (totals[t - 1] * slopes[t - 1]).sum(-1)

    set_slope(options.iterations, grad_output.to(totals.dtype))
    carried = None
    for t in range(options.iterations, 1 if options.gradient != "last" else options.iterations, -1):
        given = [each if each is None else each[t - 1] for each in (queries, slopes, normalisers, means)]
        part = passes.backward_pass(call.name, tensors, given, t, options)
        carried = steps.carried(carried, part, t)
        set_slope(t - 1, steps.gradient_of_output(carried, t - 1))
    return passes.last_pass(call.name, tensors, (queries, slopes, normalisers, means), options, needed)


class _Sharded(Function):
    @staticmethod
    def forward(ctx: Any, call: ShardedCall, *tensors: Tensor | None) -> Tensor:
        output, saved = _forward(call, tensors)
        ctx.save_for_backward(*tensors, *saved)
        ctx.call = call
        return output

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        tensors, saved = ctx.saved_tensors[: -len(_Saved._fields)], _Saved(*ctx.saved_tensors[-len(_Saved._fields) :])
        sources = len(tensors) - len(ops.OPTIONAL)
        needed = ctx.needs_input_grad[1 : 1 + sources + ops.DIFFERENTIABLE]
        if tangents.are_given((grad_output, *tensors)):
            raise RuntimeError(NO_FURTHER_DERIVATIVE)
        with torch.no_grad():
            gradients = _backward(ctx.call, grad_output, tensors, saved, needed)
        if torch.is_grad_enabled():  # create_graph=True
            gradients = refusing_a_second_derivative(gradients, (grad_output, *tensors))
        return None, *gradients, None, None


def route(call: ShardedCall, tensors: Optional, differentiable: bool) -> Tensor:
    """Run a checked call on its tensors, sources and then OPTIONAL; all ranks say alike whether a backward may follow.

    Returns:
        Output capsules ``[B, J, D]`` in the dtype of the sources, the same on every rank.
    """
    if differentiable:
        output: Tensor = _Sharded.apply(call, *tensors)
        return output
    with torch.no_grad():
        return _forward(call, tensors)[0]
