"""Beside all floors: the ops of an exported program in operators of PyTorch alone, by the definition."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from . import definition, ops, reference
from .options import RoutingOptions


def decompositions() -> dict[Any, Callable[..., Any]]:
    """What the routing ops of an exported program are in PyTorch's own operators.

    For programs that go where capsroute is not: ``program.run_decompositions(capsroute.decompositions())``, before
    ``torch.onnx.export(program)`` for one. They store the votes then, and are as slow as :mod:`capsroute.reference`.

    Returns:
        Functions by op, for ``torch.export.ExportedProgram.run_decompositions``.

    Raises:
        ValueError: By the functions, for a program that holds a backward.
    """
    table: dict[Any, Callable[..., Any]] = {}
    for name in ops.SOURCES:
        table[ops.FORWARD_OPS[name]] = _forward(name)
        table[ops.BACKWARD_OPS[name]] = _backward
        table[ops.AGREEMENT_OPS[name]] = _agreement
    return table


def _forward(name: str) -> Callable[..., tuple[Tensor, ...]]:
    def forward(*arguments: Any) -> tuple[Tensor, ...]:
        *tensors, integers, floats, save = arguments
        options = RoutingOptions.unpack(integers, floats)
        if options.squash_output:
            output: Tensor = definition.exactly(name, options, tensors)
        else:
            output = definition.exactly(name, options, tensors, ("pre_squash",)).pre_squash
        nothing = output.new_empty((0, output.shape[0]))
        return output, _pre_squash(name, options, tensors) if save else nothing, nothing

    return forward


def _pre_squash(name: str, options: RoutingOptions, tensors: Sequence[Tensor | None]) -> Tensor:
    """S of each iteration before the bias, ``[T, B, J, D]``, from which details come."""
    bias, temperatures = tensors[-len(ops.OPTIONAL)], options.temperatures()
    found = []
    for t in range(1, options.iterations + 1):
        first = options._replace(iterations=t, temperature=temperatures if len(temperatures) == 1 else temperatures[:t])
        s = definition.call(name, first, [_exact(tensor) for tensor in tensors], ("pre_squash",)).pre_squash
        found.append(s if bias is None else s - _exact(bias))
    return torch.stack(found)


def _exact(tensor: Tensor | None) -> Tensor | None:
    return tensor.float() if tensor is not None and tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def _backward(*_: Any) -> None:
    raise ValueError(
        "a program with a backward of capsroute has no form in PyTorch's own operators: export the forward alone, "
        "or route by capsroute.reference in the program"
    )


def _agreement(*arguments: Any) -> Tensor:
    *sources, query, _, _ = arguments
    exact = [source.to(query.dtype) for source in sources]
    votes = reference.prediction_vectors(*exact) if len(exact) == 2 else exact[0]
    return (votes * query.unsqueeze(1)).sum(-1)
