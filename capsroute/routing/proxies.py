"""Beside all floors: arguments that stand for the tensors of a later run, as the proxies of ``torch.fx`` do.

They answer through torch's protocol of ``__torch_function__``, so little of ``torch.fx`` is needed here. A function
that meets one becomes a node of the graph that is being traced; what it checks, it checks when that graph runs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.fx.node import has_side_effect
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

    return traced_alone(outer)


def traced_alone(function: Callable[_Given, _Result]) -> Callable[_Given, _Result]:
    """Decorator of functions that ``torch.jit.script``, which asks for a form that it can take, has to refuse."""

    def prepare() -> Any:
        raise not_scriptable(function.__name__)

    function.__prepare_scriptable__ = prepare  # type: ignore[attr-defined]
    return function


def not_scriptable(name: str) -> TypeError:
    """What ``torch.jit.script`` says of a function or a layer: the Python that it compiles has no keyword options."""
    return TypeError(f"{name} must be traced for TorchScript, by torch.jit.trace: torch.jit.script cannot take it")


@has_side_effect  # or fx takes the check, of which nobody uses a result, for dead code
@traceable
def as_traced(value: object, default: object, name: str) -> None:
    """The check that a graph keeps of an argument that :func:`specialized` replaced.

    Raises:
        AssertionError: The graph runs with another value than it was traced with.
    """
    said = f"{name} was left at {default!r} when this graph was traced: trace with concrete_args to have another"
    torch._assert(value is default, said)


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
    as_traced(value, default, name)  # a node, which a graph that is traced again repeats
    return default
