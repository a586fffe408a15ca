"""Beside all floors: the keyword arguments of the public functions, for type checkers.

scripts/generate_options.py writes this file from the rows of capsroute/routing/options.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from torch import Tensor


class RoutingKeywords(TypedDict, total=False):
    """The keyword arguments of the public functions that are not tensors and say how to route."""

    iterations: int
    """Number T of routing iterations, at least 1. T = 1 without ``logits`` is the uniform coupling."""
    softmax_over: str
    """What a softmax runs over; over ``outputs`` each input divides itself among them, as in the paper."""
    leaky: bool
    """Add one zero logit to each softmax over outputs and drop its share."""
    gradient: str
    """``all`` differentiates through all iterations; ``last`` takes what the earlier ones computed, and the votes in
    the logits of the last, for constants; ``detached_votes`` takes the votes for constants in all but the last sum, so
    that bias, logits and ``input_weight`` get gradients through all iterations."""
    eps: float
    """In the squash, at least 0."""
    squash: str
    """How the sum s is scaled; :func:`capsroute.nn.squash` has the formulae."""
    squash_constant: float | None
    """The number in ``shifted`` (0.5 by default) and ``power`` (1)."""
    logit_update: str
    """``accumulate``: initial logits and all agreements so far; ``replace``: the last agreement alone, from the second
    iteration on."""
    agreement_factor: float
    """Multiplies every agreement that goes into the logits."""
    temperature: float | tuple[float, ...]
    """Divides the logits before each softmax; a number above 0, or one for each iteration (of at most 32)."""


class AllKeywords(RoutingKeywords, total=False):
    """All keyword arguments of the public functions but ``details``."""

    logits: Tensor | None
    input_mask: Tensor | None
    output_mask: Tensor | None
    input_weight: Tensor | None
    coupling: Tensor | None
