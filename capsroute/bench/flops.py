"""Floating-point operations of one routing, by one convention for everybody.

Two operations per multiply-add; the votes are recomputed in every pass, whatever an implementation does; softmax and
squash are not counted. So a share of the peak compares implementations of one shape, and one that stores the votes
does fewer operations than it is credited with.
"""

from __future__ import annotations

from dataclasses import replace

from .shapes import Shape


def forward(shape: Shape) -> int:
    """T passes that make the votes (d) and, after the first, the agreement and the weighted sum (1 each)."""
    t, d = shape.iterations, shape.input_size
    return 2 * shape.votes * (t * d + 2 * (t - 1))


def backward(shape: Shape, gradient: str) -> int:
    """Operations of the backward alone.

    For ``gradient="all"``: T-1 passes with the votes, the logits, the products with the gradient and the sum for the
    query (d + 3), and a last one with the votes (d), logits and products of T-1 iterations, 2T-1 terms of the
    gradient of the votes, and the gradients of x and weight (2d). For ``"last"``: one pass with the votes, the
    logits of the last iteration (none if T = 1), one term, and the gradients of x and weight.
    """
    t, d = shape.iterations, shape.input_size
    if gradient == "last":
        return 2 * shape.votes * (d + min(t - 1, 1) + 1 + 2 * d)
    return 2 * shape.votes * ((t - 1) * (d + 3) + d + 2 * (t - 1) + (2 * t - 1) + 2 * d)


def of_pass(shape: Shape, gradient: str | None) -> int:
    """Operations of the forward (``gradient`` None) or of forward and backward together."""
    return forward(shape) + (0 if gradient is None else backward(shape, gradient))


def compulsory_bytes(shape: Shape, element_size: int, gradient: str | None) -> int:
    """Memory traffic that no implementation can avoid: each argument read once, each result written once.

    Forward: x, weight and the output. Forward and backward: x, weight and the gradient of the output read, the output
    and the gradients of x and weight written.
    """
    x = shape.batch * shape.inputs * shape.input_size
    weight = shape.inputs * shape.outputs * shape.output_size * shape.input_size
    output = shape.batch * shape.outputs * shape.output_size
    once = x + weight + output
    return element_size * (once if gradient is None else 2 * once)


def of_pass_from_votes(shape: Shape, gradient: str | None) -> int:
    """As :func:`of_pass`, for routing from given votes: all that is not making them, or the gradients behind them."""
    return of_pass(replace(shape, input_size=0), gradient)


def compulsory_bytes_from_votes(shape: Shape, element_size: int, gradient: str | None) -> int:
    """As :func:`compulsory_bytes`, with the votes in place of x and weight."""
    once = shape.votes + shape.batch * shape.outputs * shape.output_size
    return element_size * (once if gradient is None else 2 * once)
