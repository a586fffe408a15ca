"""Floating-point operations of one routing by its shape, by the convention of :mod:`capsroute.routing.flops`."""

from __future__ import annotations

from dataclasses import replace

from capsroute.routing import flops

from .shapes import Shape


def forward(shape: Shape) -> int:
    """Operations of the forward."""
    return flops.forward(shape.votes, shape.input_size, shape.iterations)


def backward(shape: Shape, gradient: str) -> int:
    """Operations of the backward alone."""
    return flops.backward(shape.votes, shape.input_size, shape.iterations, gradient)


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
