"""Outputs of networks in exported programs."""

from __future__ import annotations

from typing import TypeVar

from torch.utils import _pytree

__all__ = ["exportable"]

_Output = TypeVar("_Output", bound=type)


def exportable(output: _Output) -> _Output:
    """Class decorator that lets ``torch.export`` save programs which return this named tuple.

    A process that loads such a program imports the module first, since the file holds nothing but the name.
    """
    register = getattr(_pytree, "_register_namedtuple", None)  # torch has no public name for it
    if register is not None:
        register(output, serialized_type_name=f"{output.__module__}.{output.__qualname__}")
    return output
