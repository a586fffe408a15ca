"""Beside all floors: arguments that stand for the tensors of a later run, as the proxies of ``torch.fx`` do.

They answer through torch's protocol of ``__torch_function__``, so nothing of ``torch.fx`` is needed here. A function
that meets one becomes a node of the graph that is being traced; what it checks, it checks when that graph runs.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function

_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")


def among(arguments: Sequence[object]) -> bool:
    """Whether one of the arguments stands for a tensor and is none."""
    return has_torch_function(arguments) and any(map(is_proxy, arguments))


def is_proxy(value: object) -> bool:
    """Whether a value stands for a tensor and is none."""
    return not isinstance(value, Tensor) and hasattr(type(value), "__torch_function__")


def traceable(function: Callable[_Given, _Result]) -> Callable[_Given, _Result]:
    """Decorator of public functions with branches on their arguments: a call with a proxy is one node of the graph."""

    @functools.wraps(function)
    def outer(*arguments: _Given.args, **keywords: _Given.kwargs) -> _Result:
        given = (*arguments, *keywords.values())
        if among(given):
            result: _Result = handle_torch_function(outer, given, *arguments, **keywords)
            return result
        return function(*arguments, **keywords)

    return outer


def specialized(name: str, value: Any) -> Any:
    """An argument that decides what a network computes, as it is traced: one left at its default is that default.

    As with the ``concrete_args`` of ``torch.fx``, the graph refuses another value when it runs.

    Args:
        name: Of the argument.
        value: It, or a proxy for it.
    """
    node = getattr(value, "node", None) if is_proxy(value) else None
    if node is None or node.op != "placeholder" or not node.args:
        return value
    (default,) = node.args
    same = value.tracer.create_proxy("call_function", operator.is_, (value, default), {})
    said = f"{name} was left at {default!r} when this graph was traced: trace with concrete_args to have another"
    value.tracer.create_proxy("call_function", torch._assert, (same, said), {})
    return default
