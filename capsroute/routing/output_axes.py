"""Floor 2: several output axes as one; a softmax over outputs then runs over all of them jointly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Size, Tensor

from . import checks
from .result import RoutingResult


def _place(sources: Sequence[Any]) -> tuple[int, int]:
    """How many axes stand before and behind the output axes, in ``weight [I, *J, D, d]`` or ``votes [B, I, *J, D]``."""
    return (1, 2) if len(sources) == 2 else (2, 1)


def joined(
    sources: Sequence[Any], bias: Any, logits: Any, coupling: Any, output_mask: Any
) -> tuple[Size | None, Sequence[Any], Any, Any, Any, Any]:
    """The sizes of the output axes where there is more than one, else None; and the arguments with one.

    Raises:
        ValueError: An argument that does not have these axes.
    """
    axes = _several_outputs(sources)
    if axes is None:
        return None, sources, bias, logits, coupling, output_mask
    return (
        axes,
        _join_sources(sources),
        _join("bias", bias, axes, 0, 1),
        _join("logits", logits, axes, None, 0),
        _join("coupling", coupling, axes, None, 0),
        _join("output_mask", output_mask, axes, 1, 0),
    )


def split(result: Tensor | RoutingResult, axes: Size) -> Tensor | RoutingResult:
    """The output, alone or with details, with its output axis divided again."""
    if isinstance(result, Tensor):
        return result.unflatten(1, axes)
    places = (1, 2, 1, 2)  # where J stands in each field
    fields = [None if field is None else field.unflatten(at, axes) for field, at in zip(result, places, strict=True)]
    return RoutingResult(*fields)  # type: ignore[arg-type]


def _several_outputs(sources: Sequence[Any]) -> Size | None:
    """The sizes of the output axes where there is more than one, else None.

    Args:
        sources: x and weight, or votes. What is no tensor is left to the checks.
    """
    source = sources[-1]
    if not isinstance(source, Tensor) or source.dim() <= 4:  # [I, J, D, d] and [B, I, J, D] have one
        return None
    checks.dense("weight" if len(sources) == 2 else "votes", source)
    before, after = _place(sources)
    return source.shape[before:-after]


def _join_sources(sources: Sequence[Tensor]) -> list[Tensor]:
    """The same tensors, the last of them with its output axes joined."""
    before, after = _place(sources)
    return [*sources[:-1], sources[-1].flatten(before, -1 - after)]


def _join(name: str, value: Any, axes: Size, before: int | None, after: int) -> Any:
    """A view or copy of a tensor with its output axes joined.

    Args:
        name: Of the argument.
        value: A tensor with output axes. What is no tensor is left to the checks.
        axes: The expected sizes of the output axes.
        before: How many axes stand before them; None for any number.
        after: How many stand behind them.

    Raises:
        ValueError: The tensor does not have these axes.
    """
    if not isinstance(value, Tensor):
        return value
    checks.dense(name, value)
    end = value.dim() - after
    start = end - len(axes)
    if start < 0 or value.shape[start:end] != axes or before not in (None, start):
        raise ValueError(f"{name} must have the output axes {tuple(axes)}, got shape {tuple(value.shape)}")
    return value.flatten(start, end - 1)
