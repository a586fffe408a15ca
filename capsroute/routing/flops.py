"""Floor 4: floating-point operations of the ops, by one convention for everybody, ``torch.utils.flop_counter`` too.

Two operations per multiply-add; the votes are recomputed in every pass, whatever an implementation does; softmax and
squash are not counted. So a share of the peak compares implementations of one shape, and one that stores the votes
does fewer operations than it is credited with. docs/benchmarks.md says the same to a reader.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch

from . import imports, ops
from .options import RoutingOptions


def forward(votes: int, size: int, iterations: int, logits: bool = False) -> int:
    """T passes that make the votes (d) and, after the first, the agreement and the weighted sum (1 each).

    Args:
        votes: Components of all votes, B·I·J·D.
        size: Components of an input capsule, d; 0 where the votes are given.
        iterations: T.
        logits: Whether the first coupling is not uniform, so that its sum is weighted too.
    """
    return 2 * votes * (iterations * size + 2 * (iterations - 1) + logits)


def backward(votes: int, size: int, iterations: int, gradient: str = "all", products: int = 2) -> int:
    """Operations of the backward alone.

    For ``gradient="all"``: T-1 passes with the votes, the logits, the products with the gradient and the sum for the
    query (d + 3), and a last one with the votes (d), logits and products of T-1 iterations, 2T-1 terms of the
    gradient of the votes, and the gradients of x and weight (2d). For ``"detached_votes"`` one term. For ``"last"``:
    one pass with the votes, the logits of the last iteration (none if T = 1), one term, and the gradients of x and
    weight.

    Args:
        votes: As above.
        size: As above.
        iterations: T.
        gradient: The option.
        products: Of the gradients of x and weight, how many are asked for.
    """
    if gradient == "last":
        return 2 * votes * (size + min(iterations - 1, 1) + 1 + products * size)
    return (iterations - 1) * backward_pass(votes, size) + last_pass(votes, size, iterations, gradient, products)


def backward_pass(votes: int, size: int) -> int:
    """What the query of one iteration is asked for; see :func:`backward`."""
    return 2 * votes * (size + 3)


def last_pass(votes: int, size: int, iterations: int, gradient: str, products: int) -> int:
    """The gradients of the tensors; see :func:`backward`."""
    if gradient == "last":
        return backward(votes, size, iterations, gradient, products)
    terms = 2 * iterations - 1 if gradient == "all" else 1
    return 2 * votes * (size + 2 * (iterations - 1) + terms + products * size)


def _formulas(name: str) -> dict[str, Callable[..., int]]:
    """By op of a routing function, from its arguments with shapes in the place of tensors."""
    sources = len(ops.SOURCES[name])
    last = sources + len(ops.OPTIONAL)

    def problem(arguments: Sequence[Any]) -> tuple[int, int]:
        """Components of the votes, and of an input capsule."""
        if sources == 1:
            return prod(arguments[0]), 0
        (batch, inputs, size), (_, outputs, output_size, _) = arguments[:2]
        return batch * inputs * outputs * output_size, size

    def of_forward(*arguments: Any, **_: Any) -> int:
        options = RoutingOptions.unpack(*arguments[last : last + 2])
        return forward(*problem(arguments), options.iterations, arguments[sources + 1] is not None)

    def of_backward(_: Any, *arguments: Any, **__: Any) -> int:
        integers, floats, needed = arguments[-3:]
        options = RoutingOptions.unpack(integers, floats)
        return backward(*problem(arguments), options.iterations, options.gradient, sum(needed[:sources]))

    def of_agreement(*arguments: Any, **_: Any) -> int:
        votes, size = problem(arguments)
        return 2 * votes * (size + 1)

    def of_forward_pass(*arguments: Any, **_: Any) -> int:
        votes, size = problem(arguments)
        queried, weighted = arguments[last] is not None, arguments[sources + 1] is not None
        return 2 * votes * (size + (2 if queried else weighted))

    def of_backward_pass(*arguments: Any, **_: Any) -> int:
        return backward_pass(*problem(arguments))

    def of_last_pass(*arguments: Any, **_: Any) -> int:
        integers, floats, needed = arguments[-3:]
        options = RoutingOptions.unpack(integers, floats)
        return last_pass(*problem(arguments), options.iterations, options.gradient, sum(needed[:sources]))

    return {
        f"{name}_forward": of_forward,
        f"{name}_backward": of_backward,
        f"{name}_agreement": of_agreement,
        f"{name}_forward_pass": of_forward_pass,
        f"{name}_backward_pass": of_backward_pass,
        f"{name}_last_pass": of_last_pass,
    }


def _register(counter: Any) -> None:
    from . import passes  # noqa: F401  its ops, which most never need

    for name in ops.SOURCES:
        for op, formula in _formulas(name).items():
            counter.register_flop_formula(getattr(torch.ops.capsroute, op))(formula)


imports.when("torch.utils.flop_counter", _register)
