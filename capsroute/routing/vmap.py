"""Floor 4: rules of the ops for torch.func.vmap; the mapped axis joins another, or instances are taken in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor


def in_turn(op: Any, in_dims: Sequence[int | None], arguments: Sequence[Any], count: int) -> tuple[Any, Any]:
    """The vmap rule that is always right: a call per instance, or one of zeros for the shapes where there is none."""

    def instance(n: int) -> Iterator[Any]:
        for argument, dim in zip(arguments, in_dims, strict=True):
            if not isinstance(argument, Tensor) or dim is None:  # lists have lists of dims
                yield argument
            elif count == 0:
                yield argument.new_zeros(argument.movedim(dim, 0).shape[1:])
            else:
                yield argument.select(dim, n)

    results = [op(*instance(n)) for n in range(max(count, 1))]
    stacked = tuple(torch.stack(instances)[:count] for instances in zip(*results, strict=True))
    return stacked, (0,) * len(stacked)


def rule_in_turn(op: str) -> Callable[..., Any]:
    """The same as the rule of an op that returns one tensor or several; ``op`` is its name in torch.ops.capsroute."""

    def rule(info: Any, in_dims: Sequence[int | None], *arguments: Any) -> Any:
        def several(*each: Any) -> tuple[Tensor, ...]:
            result = getattr(torch.ops.capsroute, op)(*each)
            return result if isinstance(result, tuple) else (result,)

        results, dims = in_turn(several, in_dims, arguments, info.batch_size)
        return (results, dims) if len(results) > 1 else (results[0], dims[0])

    return rule


class Axes(NamedTuple):
    """Where an axis stands in the arguments of a forward op, None in those without it, and in its three results."""

    arguments: tuple[int | None, ...]
    results: tuple[int, int, int]


def _axes(sources: int, logits: Tensor | None, logits_dim: int | None) -> tuple[Axes, Axes]:
    """Those of the batch and of the outputs; the axis of ``logits`` that is mapped does not count."""
    per_sample = logits is not None and logits.dim() - (logits_dim is not None) == 3
    batch = (*((0, None) if sources == 2 else (0,)), None, 0 if per_sample else None, 0, 0, 0)
    outputs = (*((None, 1) if sources == 2 else (2,)), 0, 2 if per_sample else 1, None, None, 1)
    return Axes(batch, (0, 1, 1)), Axes(outputs, (1, 2, 3))


def of_forward(
    op: Any,
    sources: int,
    independent_outputs: bool,
    info: Any,
    in_dims: Sequence[int | None],
    arguments: Sequence[Any],
) -> Any:
    """One call where the mapped axis can join one along which nothing depends on anything else.

    That is the batch, where nothing that the samples share is mapped, as the weight would be. Or it is the outputs,
    where no softmax runs over them and the weight, or the votes, are mapped and nothing is that the outputs share.
    """
    batch, outputs = _axes(sources, arguments[sources + 1], in_dims[sources + 1])
    for axes, allowed in ((batch, True), (outputs, independent_outputs and in_dims[sources - 1] is not None)):
        if allowed and all(dim is None or axis is not None for axis, dim in zip(axes.arguments, in_dims, strict=False)):
            return _folded(op, axes, in_dims, arguments, info.batch_size)
    return in_turn(op, in_dims, arguments, info.batch_size)


def _folded(op: Any, axes: Axes, in_dims: Sequence[int | None], arguments: Sequence[Any], count: int) -> Any:
    """The mapped axis becomes part of another, in what has that one."""
    joined, size = list(arguments), 0
    for k, axis in enumerate(axes.arguments):
        if axis is not None and joined[k] is not None:
            dim = in_dims[k]
            wide = joined[k].expand(count, *joined[k].shape) if dim is None else joined[k].movedim(dim, 0)
            size = wide.shape[axis + 1]
            joined[k] = wide.movedim(0, axis).flatten(axis, axis + 1)
    results: list[Tensor] = []
    dims: list[int | None] = []
    for result, axis in zip(op(*joined), axes.results, strict=True):
        has_it = axis < result.dim()  # what stands for a result that is not there may not
        results.append(result.unflatten(axis, (count, size)) if has_it else result)
        dims.append(axis if has_it else None)
    return tuple(results), tuple(dims)
