"""Floor 4: the registered ops of single passes, what routing sharded over its inputs is made of.

A pass goes over the inputs once and adds up; bias, squash and the next query are the caller's. Each op takes the
sources and the optional tensors of the routing op, see :mod:`.ops`, and then what the caller made of earlier
passes, in the accumulation type: float64 for float64 sources, float32 for all others. csrc/capsroute.h says what each
pass is.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from .. import _native
from . import ops, tangents, vmap
from .ops import DIFFERENTIABLE, OPTIONAL, SOURCES
from .options import RoutingOptions

Optional = Sequence[Tensor | None]

_library = torch.library.Library("capsroute", "FRAGMENT")


def accumulation_type(dtype: torch.dtype) -> torch.dtype:
    """The dtype of sums over sources of ``dtype``."""
    return torch.float64 if dtype == torch.float64 else torch.float32


@lru_cache
def query_updates(options: RoutingOptions) -> list[tuple[float, float]]:
    """How the query of iteration t + 1 follows from that of t and v, for t = 1, 2, ...: the factors of both."""
    packed = options.integers(), options.floats()
    problem = _native.RoutingProblem((1,) * 6, 0, *packed, 1, -1, 0, 0, 0, 0, (0,) * 4, 0, 0, False, 0, 0, 0)
    return [problem.query_update(t) for t in range(1, options.iterations + 1)]


def _empty_sums(sources: Sequence[Tensor], options: RoutingOptions) -> tuple[Tensor, Tensor]:
    """``[B, J, D]``, and the normaliser ``[B, 2, J]``, without elements for a softmax over outputs."""
    batch, _, outputs, _, size, _ = ops._sizes(sources)
    dtype = accumulation_type(sources[0].dtype)
    normalised = batch if options.softmax_over == "inputs" else 0
    like = sources[0]
    return like.new_empty((batch, outputs, size), dtype=dtype), like.new_empty((normalised, 2, outputs), dtype=dtype)


class _Core:
    """The problem of a call for the compiled core, and its workspace; keeps alive what the core reads."""

    def __init__(self, sources: Sequence[Tensor], optional: Optional, options: RoutingOptions) -> None:
        self._place = ops._place(sources[0], options)
        self._tensors = ops._arranged(sources, optional)
        self._like = sources[0]
        self.module = self._place.core
        self.problem = ops._problem(self._place, self._tensors, ops._sizes(sources), options)

    def workspace(self, size: int) -> tuple[int, int]:
        """Address and bytes."""
        self._memory, address = ops._workspace(size, self._place.alignment, self._like)
        return address, size


def _forward_pass(
    sources: Sequence[Tensor], optional: Optional, query: Tensor | None, iteration: int, options: RoutingOptions
) -> tuple[Tensor, Tensor]:
    results = _empty_sums(sources, options)
    if results[0].numel() == 0:
        return results
    core = _Core(sources, optional, options)
    (given,) = kept = ops._contiguous([query])
    space = core.workspace(core.problem.forward_pass_workspace())
    core.problem.forward_pass(iteration, *ops._addresses([given, *results]), *space)
    del kept
    return results


def _backward_pass(
    sources: Sequence[Tensor], optional: Optional, given: Optional, iteration: int, options: RoutingOptions
) -> Tensor:
    result, _ = _empty_sums(sources, options)
    if result.numel() == 0:
        return result
    core, kept = _Core(sources, optional, options), ops._contiguous(given)
    space = core.workspace(core.problem.backward_pass_workspace())
    core.problem.backward_pass(iteration, *ops._addresses([*kept, result]), *space)
    return result


def _last_pass(
    sources: Sequence[Tensor], optional: Optional, given: Optional, options: RoutingOptions, needed: Sequence[bool]
) -> tuple[Tensor | None, ...]:
    gradients = ops._empty_gradients([*sources, *optional[:DIFFERENTIABLE]], needed)
    if sources[0].numel() == 0:
        return tuple(None if gradient is None else gradient.zero_() for gradient in gradients)
    core, kept = _Core(sources, optional, options), ops._contiguous(given)
    x, weight, votes = (None, None, gradients[0]) if len(sources) == 1 else (*gradients[:2], None)
    wanted = core.module.RoutingBackward(0, 0, 0, *ops._addresses((x, weight, votes, *gradients[-DIFFERENTIABLE:])))
    space = core.workspace(core.problem.last_pass_workspace(wanted))
    core.problem.last_pass(*ops._addresses(kept), wanted, *space)
    return gradients


def forward_pass(
    name: str, tensors: Optional, query: Tensor | None, iteration: int, options: RoutingOptions
) -> tuple[Tensor, Tensor]:
    """The sum over the inputs of coupling times votes in one iteration.

    Args:
        name: Of the routing op, ``"dynamic_routing"`` or ``"route_votes"``.
        tensors: Its sources and then OPTIONAL, checked.
        query: Q of this iteration, ``[B, J, D]``; None in the first.
        iteration: From 1.
        options: With a backend that has kernels for the device of the tensors.

    Returns:
        The sum ``[B, J, D]`` before the bias; and for a softmax over inputs its normaliser ``[B, 2, J]``: the largest
        logit of these inputs and 1 over the sum of exp(logit - largest), 0 where there is no input.
    """
    sums: tuple[Tensor, Tensor] = FORWARD_PASSES[name](*tensors, query, iteration, *_packed(options))
    return sums


def backward_pass(name: str, tensors: Optional, given: Optional, iteration: int, options: RoutingOptions) -> Tensor:
    """What the query of one iteration is asked for by these inputs.

    Args:
        name: Of the routing op.
        tensors: As above.
        given: Query and slope of this iteration ``[B, J, D]``; for a softmax over inputs, else None, the normaliser
            ``[B, 2, J]`` and the sum of c p ``[B, J]`` over all inputs of all parts.
        iteration: From 2.
        options: As above.

    Returns:
        The sum over the inputs of the gradients of the logits times the votes, ``[B, J, D]``.
    """
    result: Tensor = BACKWARD_PASSES[name](*tensors, *given, iteration, *_packed(options))
    return result


def last_pass(
    name: str, tensors: Optional, given: Optional, options: RoutingOptions, needed: Sequence[bool]
) -> list[Tensor | None]:
    """The gradients of the tensors.

    Args:
        name: Of the routing op.
        tensors: As above.
        given: Queries and slopes ``[T, B, J, D]``, normalisers ``[T, B, 2, J]`` and means ``[T, B, J]``, or None.
        options: As above.
        needed: For sources, bias, logits and input_weight: whether its gradient is asked for.

    Returns:
        Gradients of these, contiguous; None where not needed.
    """
    gradients = LAST_PASSES[name](*tensors, *given, *_packed(options), list(needed))
    return [gradient if need else None for gradient, need in zip(gradients, needed, strict=True)]


def _packed(options: RoutingOptions) -> tuple[list[int], list[float]]:
    return options.integers(), options.floats()


def _register(name: str, sources: int) -> None:
    """Define the ops of the passes of one routing function."""
    last = sources + len(OPTIONAL)
    differentiable = sources + DIFFERENTIABLE
    tensors = ", ".join(
        [*(f"Tensor {source}" for source in SOURCES[name]), *(f"Tensor? {tensor}" for tensor in OPTIONAL)]
    )
    packed = "int[] options, float[] values"
    given = "Tensor query, Tensor slope, Tensor? normaliser, Tensor? mean"
    gradients = ", ".join(["Tensor"] * differentiable)

    def forward(*arguments: Any) -> tuple[Tensor, Tensor]:
        query, iteration, options, values = arguments[last:]
        unpacked = RoutingOptions.unpack(options, values)
        return _forward_pass(*ops._split(arguments[:last]), query, iteration, unpacked)

    def forward_fake(*arguments: Any) -> tuple[Tensor, Tensor]:
        return _empty_sums(arguments[:sources], RoutingOptions.unpack(*arguments[-2:]))

    def backward(*arguments: Any) -> Tensor:
        *vectors, iteration, options, values = arguments[last:]
        unpacked = RoutingOptions.unpack(options, values)
        return _backward_pass(*ops._split(arguments[:last]), vectors, iteration, unpacked)

    def backward_fake(*arguments: Any) -> Tensor:
        return _empty_sums(arguments[:sources], RoutingOptions.unpack(*arguments[-2:]))[0]

    def gather(*arguments: Any) -> tuple[Tensor, ...]:
        *vectors, options, values, needed = arguments[last:]
        unpacked = RoutingOptions.unpack(options, values)
        results = _last_pass(*ops._split(arguments[:last]), vectors, unpacked, needed)
        return ops._without_none(results, arguments[0], (0,))

    def gather_fake(*arguments: Any) -> tuple[Tensor, ...]:
        results = ops._empty_gradients(arguments[:differentiable], arguments[-1])
        return ops._without_none(results, arguments[0], (0,))

    for op, schema, run, fake in (
        ("forward_pass", f"Tensor? query, int iteration, {packed}) -> (Tensor, Tensor)", forward, forward_fake),
        ("backward_pass", f"{given}, int iteration, {packed}) -> Tensor", backward, backward_fake),
        ("last_pass", f"{given}, {packed}, bool[] needed) -> ({gradients})", gather, gather_fake),
    ):
        _library.define(f"{name}_{op}({tensors}, {schema}")
        refusing = tangents.Refusal(f"{name}_{op}", name)
        for device in ("CPU", "CUDA"):
            _library.impl(f"{name}_{op}", refusing.by(run), device)
        torch.library.register_fake(f"capsroute::{name}_{op}", fake, lib=_library)
        rule = refusing.by_rule(vmap.rule_in_turn(f"{name}_{op}"))
        torch.library.register_vmap(f"capsroute::{name}_{op}", rule, lib=_library)


for _name, _names in SOURCES.items():
    _register(_name, len(_names))

FORWARD_PASSES = {name: getattr(torch.ops.capsroute, f"{name}_forward_pass").default for name in SOURCES}
BACKWARD_PASSES = {name: getattr(torch.ops.capsroute, f"{name}_backward_pass").default for name in SOURCES}
LAST_PASSES = {name: getattr(torch.ops.capsroute, f"{name}_last_pass").default for name in SOURCES}
