"""Floor 4: rules of the ops for torch.func.vmap; the mapped axis joins the batch, or instances are taken in turn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor


def in_turn(op: Any, in_dims: Sequence[int | None], arguments: Sequence[Any], count: int) -> tuple[Any, Any]:
    """The vmap rule that is always right: one call per instance."""

    def instance(n: int) -> Iterator[Any]:
        for argument, dim in zip(arguments, in_dims, strict=True):
            mapped = isinstance(argument, Tensor) and dim is not None  # lists have lists of dims
            yield argument.select(dim, n) if mapped else argument

    results = [op(*instance(n)) for n in range(count)]
    stacked = tuple(torch.stack(instances) for instances in zip(*results, strict=True))
    return stacked, (0,) * len(stacked)


def _fold(arguments: list[Any], in_dims: Sequence[int | None], count: int, per_sample: Sequence[int]) -> list[Any]:
    """Make the mapped axis part of the batch, which is the first axis of the per-sample arguments."""
    folded = list(arguments)
    for k in per_sample:
        if folded[k] is not None:
            dim = in_dims[k]
            wide = folded[k].expand(count, *folded[k].shape) if dim is None else folded[k].movedim(dim, 0)
            folded[k] = wide.flatten(0, 1)
    return folded


def of_forward(
    op: Any, sources: int, optional: int, info: Any, in_dims: Sequence[int | None], arguments: Sequence[Any]
) -> Any:
    """Fold the mapped axis into the batch unless something that the samples share is mapped too."""
    logits = arguments[sources + 1]
    per_sample_logits = logits is not None and logits.dim() - (in_dims[sources + 1] is not None) == 3
    shared = [*range(1, sources), sources, *([] if per_sample_logits else [sources + 1])]
    if any(in_dims[k] is not None for k in shared):
        return in_turn(op, in_dims, arguments, info.batch_size)
    per_sample = [0, *range(sources + 2, sources + optional), *([sources + 1] if per_sample_logits else [])]
    output, *saved = op(*_fold(list(arguments), in_dims, info.batch_size, per_sample))
    unfolded = [tensor.unflatten(1, (info.batch_size, tensor.shape[1] // info.batch_size)) for tensor in saved]
    return (output.unflatten(0, (info.batch_size, output.shape[0] // info.batch_size)), *unfolded), (0, 1, 1)
