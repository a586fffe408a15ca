"""Compare a public function with the plain reference in float64, forward and every gradient."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import capsroute
from capsroute import reference

from .cases import Tensors, evaluate, to
from .tolerances import assert_faithful

MOST_VOTES = 2**26  # that the reference stores at once; 512 MiB in float64, several times
Order = tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]


def entry_name(tensors: Tensors) -> str:
    """The public function that takes these arguments."""
    return "route_votes" if "votes" in tensors else "dynamic_routing"


def fused(tensors: Tensors, options: dict[str, Any], grad: Tensor) -> Tensors:
    """``output`` and gradients of the public function."""
    return evaluate(getattr(capsroute, entry_name(tensors)), tensors, options, grad)


def plain(tensors: Tensors, options: dict[str, Any], grad: Tensor, dtype: torch.dtype) -> Tensors:
    """``output`` and gradients of the plain reference, computed in ``dtype`` from the same rounded arguments.

    It stores the votes several times, so large problems are taken in chunks of samples.
    """
    function, tensors, grad = getattr(reference, entry_name(tensors)), to(tensors, dtype), grad.to(dtype)
    inputs, (batch, outputs, size) = next(iter(tensors.values())).shape[1], grad.shape
    samples = max(1, MOST_VOTES // (inputs * outputs * size))
    if samples >= batch:
        return evaluate(function, tensors, options, grad)
    per_sample = {
        n
        for n, t in tensors.items()
        if n in ("x", "votes", "input_mask", "output_mask", "input_weight") or t.dim() == 3
    }
    per_sample.discard("weight")
    parts = [
        evaluate(function, {n: t[k] if n in per_sample else t for n, t in tensors.items()}, options, grad[k])
        for k in (slice(first, first + samples) for first in range(0, batch, samples))
    ]
    together = {n: [part[n] for part in parts] for n in parts[0]}
    per_sample.add("output")
    return {n: torch.cat(ts) if n in per_sample else functools.reduce(torch.add, ts) for n, ts in together.items()}


def in_several_orders(
    compute: Callable[[Tensors, Tensor], Tensors], tensors: Tensors, grad: Tensor, orders: Sequence[Order] = ()
) -> list[Tensors]:
    """What ``compute`` makes of the tensors as they are, with every axis reversed, and with every axis rotated by one.

    Nothing but the order of the sums differs. One result alone has by chance a small error now and then, which says
    nothing about how exact plain PyTorch is.

    Args:
        compute: Takes the tensor arguments and the gradient of the output.
        tensors: The tensor arguments by name.
        grad: Gradient of the output, ``[B, J, D]``.
        orders: Others than these three.
    """
    results = []
    for there, back in orders or ORDERS:
        moved = compute({n: there(t) for n, t in tensors.items()}, there(grad))
        results.append({n: back(t) for n, t in moved.items()})
    return results


def _reversed(tensor: Tensor) -> Tensor:
    return tensor.flip(*range(tensor.dim()))


def _rotated(tensor: Tensor, by: int = 1) -> Tensor:
    return tensor.roll([by] * tensor.dim(), list(range(tensor.dim())))


def _rotation(by: int) -> Order:
    return functools.partial(_rotated, by=by), functools.partial(_rotated, by=-by)


def _reversed_rotation(by: int) -> Order:
    return lambda t: _rotated(_reversed(t), by), lambda t: _reversed(_rotated(t, -by))


# Reordering and its inverse. Input i uses weight i mod I_w before and after both.
ORDERS: list[Order] = [(torch.clone, torch.clone), (_reversed, _reversed), _rotation(1)]
MORE_ORDERS = [*ORDERS, *(_rotation(by) for by in range(2, 8)), *(_reversed_rotation(by) for by in range(1, 8))]


def assert_matches_reference(
    tensors: Tensors,
    options: dict[str, Any],
    grad: Tensor,
    *,
    actual: Tensors | None = None,
    amplified: bool = False,
) -> None:
    """Hold the public function, or results already computed by it, to the rule of the tolerances.

    Args:
        tensors: The tensor arguments by name; all floating ones in one dtype.
        options: The other arguments.
        grad: Gradient of the output, ``[B, J, D]``.
        actual: ``output`` and gradients to check in place of a call.
        amplified: See :func:`.tolerances.assert_faithful`.
    """
    actual = fused(tensors, options, grad) if actual is None else actual
    expected(tensors, options, grad).check(actual, amplified=amplified)


@dataclass(frozen=True)
class Expected:
    """What a call should give.

    Attributes:
        truth: ``output`` and gradients in float64.
        orders: What plain PyTorch computes, in float32 for half types, in a few orders of summation.
        more_orders: The same in many, since a few may all have a small error by chance.
        grad: Gradient of the output, in the dtype of the call.
    """

    truth: Tensors
    orders: list[Tensors]
    more_orders: Callable[[], list[Tensors]]
    grad: Tensor

    def check(self, actual: Tensors, *, amplified: bool = False) -> None:
        """Hold results to the rule of the tolerances."""
        assert actual.keys() == self.truth.keys()
        for name in self.truth:
            self.check_one(actual[name], name, amplified=amplified)

    def check_one(self, actual: Tensor, name: str, *, amplified: bool = False) -> None:
        """The same for the output or one gradient."""
        dtype, grad = self.grad.dtype, self.grad
        assert actual.dtype == dtype, f"{name} is {actual.dtype}, expected {dtype}"
        # Gradients of logits are differences of terms p = w û·a, which cancel exactly over a softmax of one capsule.
        terms = float(grad.abs().amax()) if name == "logits" and grad.numel() else 0.0

        def check_beside(orders: list[Tensors]) -> None:
            plain_results = [results[name] for results in orders]
            assert_faithful(actual, self.truth[name], plain_results, name=name, terms=terms, amplified=amplified)

        try:
            check_beside(self.orders)
        except AssertionError:
            check_beside(self.more_orders())


def expected(tensors: Tensors, options: dict[str, Any], grad: Tensor) -> Expected:
    """What the public function should give for these arguments, see :func:`assert_matches_reference`."""
    compute = torch.float64 if grad.dtype == torch.float64 else torch.float32
    truth = plain(tensors, options, grad, torch.float64)

    def in_orders(orders: Sequence[Order]) -> list[Tensors]:
        return in_several_orders(
            lambda moved, moved_grad: plain(moved, options, moved_grad, compute), tensors, grad, orders
        )

    return Expected(truth, in_orders(ORDERS), functools.cache(lambda: in_orders(MORE_ORDERS)), grad)


def assert_bitwise_equal(actual: Tensors, expected: Tensors) -> None:
    """Every tensor equal bit by bit."""
    assert actual.keys() == expected.keys()
    for name, tensor in expected.items():
        different = int((actual[name] != tensor).sum())
        assert torch.equal(actual[name], tensor), f"{name}: {different} of {tensor.numel()} elements differ"
