"""Layouts as axis strings, and the one function that turns a tensor from one into another.

An axis string names the axes of a tensor from the outermost to the innermost, one letter per axis: ``"J,I,D,d"``.
Letters that stand together are one axis of the tensor, the first letter outermost: ``"I,d,JD"``. ``1`` is an axis of
size 1. ``"FROM->TO"`` is a layout and what becomes of it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from capsroute.routing import checks

__all__ = ["is_axes", "parse", "plain_sizes", "rearrange", "solve"]

Axes = tuple[str, ...]  # one string of letters per axis of the tensor; "" is an axis of size 1

_ARROW = "->"
_AXES = re.compile(r"(1|[A-Za-z]+)(,(1|[A-Za-z]+))*")


def is_axes(text: str) -> bool:
    """Whether ``text`` is an axis string, with or without an arrow, and not the name of a layout."""
    return all(_AXES.fullmatch(part) for part in text.replace(" ", "").split(_ARROW))


def parse(text: str) -> Axes:
    """The axes of an axis string without an arrow.

    Raises:
        ValueError: It is none, or names an axis twice.
    """
    text = text.replace(" ", "")
    if not _AXES.fullmatch(text):
        raise ValueError(f"a layout must be axes such as 'J,I,D,d', letters or 1 between commas, got {text!r}")
    axes = tuple("" if axis == "1" else axis for axis in text.split(","))
    letters = "".join(axes)
    if len(set(letters)) != len(letters):
        raise ValueError(f"a layout must name each axis once, got {text!r}")
    return axes


def solve(found: Iterable[tuple[str, int]], sizes: Mapping[str, int]) -> dict[str, int]:
    """Sizes of all letters that follow from the lengths of axes.

    Args:
        found: Letters that are one axis of a tensor, and its length.
        sizes: Sizes known beforehand, by letter.

    Returns:
        ``sizes`` and what follows from ``found``. Axes that contradict it or that leave a letter open change nothing:
        :func:`rearrange` says so of the tensor in question.
    """
    known = dict(sizes)
    waiting = list(found)
    while True:
        rest = []
        for letters, length in waiting:
            unknown = [letter for letter in letters if letter not in known]
            others = math.prod(known[letter] for letter in letters if letter in known)
            if len(unknown) == 1 and others and length % others == 0:
                known[unknown[0]] = length // others
            elif unknown:
                rest.append((letters, length))
        if len(rest) == len(waiting):
            return known
        waiting = rest


def plain_sizes(sizes: Mapping[str, Any]) -> dict[str, int]:
    """Sizes that a caller gives, as plain ints.

    Raises:
        TypeError, ValueError: One is no int, or below 1.
    """
    return {letter: checks.whole(f"the size {letter}", size) for letter, size in sizes.items()}


def rearrange(tensor: Tensor, source: str, target: str, name: str = "tensor", /, **sizes: int) -> Tensor:
    """A tensor in another layout, as a view wherever strides can express it.

    Axes are split, permuted, merged, added and dropped as the two axis strings say. Only merging axes that do not lie
    together in memory copies. The result takes part in autograd like any view.

    Args:
        tensor: Any dtype and device, the axes of ``source``.
        source: Axis string of ``tensor``, for example ``"I,d,JD"``.
        target: Axis string of the result, for example ``"I,J,D,d"``. An axis that ``source`` lacks is added without a
            copy (stride 0) and needs its size in ``sizes``. An axis that it has too many must be of size 1 or of
            stride 0, so that nothing is lost.
        name: What messages call ``tensor``.
        **sizes: Sizes of axes by letter, ``J=10``, where the shape of ``tensor`` does not tell them.

    Returns:
        The tensor with the axes of ``target``.

    Raises:
        TypeError: ``tensor`` is not a tensor, or a size not an int.
        ValueError: An axis string is malformed, the shape of ``tensor`` contradicts ``source`` or ``sizes``, a size is
            missing, or an axis would be lost.
    """
    checks.dense(name, tensor)
    axes, wanted = parse(source), parse(target)
    known = _sizes(tensor, axes, wanted, source, name, plain_sizes(sizes))
    letters = "".join(axes)
    split = tensor.view([known[letter] for letter in letters])
    for letter in set(letters) - set("".join(wanted)):
        split = _without(split, letters.index(letter), letter, source, target, name)
        letters = letters.replace(letter, "")
    final = "".join(wanted)
    permuted = split.permute([letters.index(letter) for letter in final if letter in letters])
    for place, letter in enumerate(final):
        if letter not in letters:
            permuted = permuted.unsqueeze(place)
    expanded = permuted.expand([known[letter] for letter in final])
    return expanded.reshape([math.prod(known[letter] for letter in axis) for axis in wanted])


def _sizes(
    tensor: Tensor, axes: Axes, wanted: Axes, source: str, name: str, given: Mapping[str, int]
) -> dict[str, int]:
    """Sizes of all letters of both layouts, or an error that says what is wrong or missing."""
    letters = {*"".join(axes), *"".join(wanted)}
    if unused := sorted(set(given) - letters):
        raise ValueError(f"layout {source!r} of {name} has no axis {', '.join(unused)}")
    shape = list(tensor.shape)
    fits = len(axes) == len(shape)
    known = solve(zip(axes, shape, strict=True), given) if fits else {}
    if not fits or not all(_divides(axis, length, known) for axis, length in zip(axes, shape, strict=True)):
        expected = _expected(axes, {**dict.fromkeys(letters), **given})
        raise ValueError(f"{name} in the layout {source!r} must have the shape {expected}, got {shape}")
    if open_letters := sorted(letters - set(known)):
        raise ValueError(
            f"{name} of shape {shape} in the layout {source!r} does not tell the size of {', '.join(open_letters)}: "
            f"give {', '.join(f'{letter}=...' for letter in open_letters)}"
            + (", all but one of those that share an axis" if len(open_letters) > 1 else "")
        )
    return known


def _divides(axis: str, length: int, known: Mapping[str, int]) -> bool:
    """Whether an axis of this length can hold the letters of known size; exactly these, where all are known."""
    product = math.prod(known[letter] for letter in axis if letter in known)
    if all(letter in known for letter in axis):
        return length == product
    return length == 0 if product == 0 else length % product == 0


def _expected(axes: Axes, known: Mapping[str, int | None]) -> str:
    """``[J, I, D, d]`` with the sizes that were given in place of letters."""
    return "[" + ", ".join("*".join(str(known[letter] or letter) for letter in axis) or "1" for axis in axes) + "]"


def _without(split: Tensor, place: int, letter: str, source: str, target: str, name: str) -> Tensor:
    """``split`` without an axis along which it is constant."""
    if split.shape[place] != 1 and split.stride(place) != 0:
        raise ValueError(
            f"{name} must be shared over {letter} (size 1 or stride 0) to go from {source!r} to {target!r}, which has "
            f"no such axis; got size {split.shape[place]}"
        )
    return split.select(place, 0)
