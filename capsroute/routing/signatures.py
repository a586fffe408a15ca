"""Beside all floors: the options of a public function as its signature and its docstring show them."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from typing import TypeVar

from .options import DEFAULTS, PUBLIC, ROWS, TYPES
from .values import OneOf

Function = TypeVar("Function", bound=Callable[..., object])


def with_options(function: Function) -> Function:
    """Name every option in the signature of a function with ``**options``, and describe it under ``Args:``."""
    signature = inspect.signature(function)
    *own, _ = signature.parameters.values()
    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=getattr(DEFAULTS, name), annotation=TYPES[name])
        for name in PUBLIC
    ]
    function.__signature__ = signature.replace(parameters=[*own, *options])  # type: ignore[attr-defined]
    before, _, behind = (function.__doc__ or "").partition("\n    Returns:")
    described = "".join(f"        {line}\n" for name in PUBLIC for line in _described(name))
    function.__doc__ = f"{before.rstrip()}\n{described}\n    Returns:{behind}"
    return function


def _described(name: str) -> list[str]:
    row = ROWS[name]
    values = f"{', '.join(f'``{value!r}``' for value in row.kind.names)}. " if isinstance(row.kind, OneOf) else ""
    return textwrap.wrap(f"{name}: {values}{row.text}", 110, subsequent_indent="    ")
