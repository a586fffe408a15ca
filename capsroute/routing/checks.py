"""Floor 2: checks of the arguments of the routing functions, in one place for every backend.

Each failure is a TypeError (wrong kind) or a ValueError (wrong size or value) that names the argument, what was given
and what was expected.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from . import options
from .options import DEFAULTS, DETAILS, RoutingOptions
from .tensors import DTYPES, boolean, dense, floating
from .values import at_least_one, choice, flag, kind_of, number, per_axis, shown, whole, wholes

# Of single tensors and values, for modules too.
__all__ = [
    "DTYPES",
    "at_least_one",
    "choice",
    "dense",
    "flag",
    "floating",
    "kind_of",
    "number",
    "per_axis",
    "shown",
    "whole",
    "wholes",
]


def spread(name: str, value: Any) -> float | None:
    """A standard deviation of initial values, or None for one that follows from the sizes."""
    return None if value is None else number(name, value, "None or a finite number of at least 0", or_equal=True)


def rank(name: str, value: Tensor, axes: str) -> torch.Size:
    """One dimension per name in ``axes``; returns their sizes."""
    given, expected = value.shape, axes.count(",") + 1
    if len(given) != expected:
        raise ValueError(f"{name} must have {expected} dimensions [{axes}], got shape {tuple(given)}")
    return given


def shape(name: str, value: Tensor, axes: str, expected: Sequence[int]) -> None:
    """Exactly the expected sizes."""
    given = rank(name, value, axes)
    if any(given[k] != expected[k] for k in range(len(expected))):
        raise ValueError(f"{name} must have shape [{axes}] = {tuple(expected)}, got {tuple(given)}")


def positive(name: str, axes: str, given: torch.Size, *sizes: int) -> None:
    """At least 1, for those ``sizes`` of the shape ``given`` that must not be 0."""
    for size in sizes:
        if size < 1:
            raise ValueError(f"{name} [{axes}] must have sizes of at least 1 there, got shape {tuple(given)}")


def same_kind(name: str, value: Tensor, like_name: str, like: Tensor, *, dtype: bool = True) -> None:
    """Device, and unless told otherwise dtype, of another argument."""
    if dtype and value.dtype != like.dtype:
        raise TypeError(f"{name} must have the dtype of {like_name}, {like.dtype}, got {value.dtype}")
    if value.device != like.device:
        raise ValueError(f"{name} must be on the device of {like_name}, {like.device}, got {value.device}")


def mask(name: str, value: Any, like_name: str, like: Tensor, axes: str, expected: Sequence[int]) -> None:
    """A bool tensor of the expected sizes."""
    value = boolean(name, value)
    same_kind(name, value, like_name, like, dtype=False)
    shape(name, value, axes, expected)


def per_pair(name: str, value: object, like_name: str, like: Tensor, batch: int, inputs: int, outputs: int) -> None:
    """``[I, J]`` or ``[B, I, J]``."""
    tensor = floating(name, value)
    same_kind(name, tensor, like_name, like)
    given = tuple(tensor.shape)
    if len(given) == 2:
        shape(name, tensor, "I, J", (inputs, outputs))
    elif len(given) == 3:
        shape(name, tensor, "B, I, J", (batch, inputs, outputs))
    else:
        raise ValueError(
            f"{name} must have shape [I, J] = {(inputs, outputs)} or [B, I, J] = {(batch, inputs, outputs)}, "
            f"got {given}"
        )


def coupling_alone(given: RoutingOptions, logits: object) -> None:
    """Given coupling coefficients leave nothing to route."""
    if logits is not None:
        raise ValueError("coupling must not be given together with logits: given coefficients need no softmax")
    for name in ("softmax_over", "leaky", "gradient", "logit_update", "agreement_factor", "temperature"):
        value, default = getattr(given, name), getattr(DEFAULTS, name)
        if value != default:
            raise ValueError(
                f"{name} must be left at {default!r} where coupling is given, which leaves nothing to route; "
                f"got {value!r}"
            )


def detail_names(details: object) -> None:
    """A sequence of known names."""
    expected = f"details must be None or a sequence of {', '.join(map(repr, DETAILS))}"
    if isinstance(details, str) or not isinstance(details, Sequence):
        raise TypeError(f"{expected}, got {details!r}")
    for name in details:
        if name not in DETAILS:
            raise ValueError(f"{expected}, got {name!r}")


def keyword_options(keywords: Mapping[str, Any]) -> RoutingOptions:
    """Check the routing options of a module when it is made.

    Args:
        keywords: Those of :class:`capsroute.routing.keywords.RoutingKeywords`.

    Returns:
        All options, with defaults for those that are not given.

    Raises:
        TypeError: An unknown name, or a value of the wrong kind.
        ValueError: A value that cannot be, or values that do not go together.
    """
    return options.of_keywords(keywords)


def arguments(
    sources: Sequence[Any],
    bias: object,
    logits: object,
    input_weight: object,
    input_mask: object,
    output_mask: object,
    coupling: object,
    keywords: Mapping[str, Any],
    details: object,
) -> RoutingOptions:
    """Check all arguments of a public function; ``sources`` are x and weight, or votes. Returns the options."""
    given = keyword_options(keywords)
    if coupling is not None:
        coupling_alone(given, logits)
    if details is not None:
        detail_names(details)
    made = len(sources) == 2
    batch, inputs, outputs, output_size = inputs_and_weight(*sources) if made else prediction_votes(*sources)
    like_name, like = "x" if made else "votes", sources[0]
    if bias is not None:
        tensor = floating("bias", bias)
        same_kind("bias", tensor, like_name, like)
        shape("bias", tensor, "J, D", (outputs, output_size))
    for name, pairs in (("logits", logits), ("coupling", coupling)):
        if pairs is not None:
            per_pair(name, pairs, like_name, like, batch, inputs, outputs)
    if input_weight is not None:
        tensor = floating("input_weight", input_weight)
        same_kind("input_weight", tensor, like_name, like)
        shape("input_weight", tensor, "B, I", (batch, inputs))
    if input_mask is not None:
        mask("input_mask", input_mask, like_name, like, "B, I", (batch, inputs))
    if output_mask is not None:
        mask("output_mask", output_mask, like_name, like, "B, J", (batch, outputs))
    return given


def inputs_and_weight(x: Any, weight: Any) -> tuple[int, int, int, int]:
    """Check ``x [B, I, d]`` and ``weight [I_w, J, D, d]``; returns (B, I, J, D)."""
    x = floating("x", x)
    weight = floating("weight", weight)
    same_kind("weight", weight, "x", x)
    batch, inputs, size = x_shape = rank("x", x, "B, I, d")
    distinct, outputs, output_size, weight_size = weight_shape = rank("weight", weight, "I, J, D, d")
    positive("x", "B, I, d", x_shape, inputs, size)
    positive("weight", "I, J, D, d", weight_shape, distinct, outputs, output_size, weight_size)
    if weight_size != size:
        raise ValueError(
            f"weight [I, J, D, d] must have d = {size} as x [B, I, d] has, got shape {tuple(weight.shape)}"
        )
    if inputs % distinct != 0:
        raise ValueError(
            f"weight [I_w, J, D, d] must have I_w = I = {inputs} or a divisor of it, got shape {tuple(weight.shape)}"
        )
    return batch, inputs, outputs, output_size


def prediction_votes(votes: object) -> tuple[int, int, int, int]:
    """Check ``votes [B, I, J, D]``; returns its sizes."""
    tensor = floating("votes", votes)
    batch, inputs, outputs, output_size = votes_shape = rank("votes", tensor, "B, I, J, D")
    positive("votes", "B, I, J, D", votes_shape, inputs, outputs, output_size)
    return batch, inputs, outputs, output_size
