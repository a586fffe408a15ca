"""Compare a public function with the plain reference in float64, forward and every gradient."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import capsroute
from capsroute import reference

from .cases import Tensors, evaluate, to
from .rounding import Draws
from .tolerances import assert_faithful

MOST_VOTES = 2**26  # that the reference stores at once; 512 MiB in float64, several times


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
        drawn: The same as plain PyTorch may compute it, in float32 for half types, see :mod:`.rounding`.
        grad: Gradient of the output, in the dtype of the call.
    """

    truth: Tensors
    drawn: Draws[Tensors]
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

        def plain(count: int) -> list[Tensor]:
            return [results[name] for results in self.drawn(count)]

        assert_faithful(actual, self.truth[name], plain, name=name, terms=terms, amplified=amplified)


def expected(tensors: Tensors, options: dict[str, Any], grad: Tensor) -> Expected:
    """What the public function should give for these arguments, see :func:`assert_matches_reference`.

    What was found last is kept, since a test asks for the same once for each kernel.
    """
    given = {**tensors, "grad of the output": grad}
    key = (str(options), *((name, t.device, t.dtype, t.shape, _digest(t)) for name, t in given.items()))
    if key not in _FOUND:
        while len(_FOUND) >= _MOST_FOUND:
            _FOUND.pop(next(iter(_FOUND)))

        def compute() -> Tensors:
            return plain(tensors, options, grad, torch.float64)

        _FOUND[key] = Expected(compute(), Draws(compute, grad.dtype), grad)
    return _FOUND[key]


_FOUND: dict[Any, Expected] = {}
_MOST_FOUND = 4


def _digest(tensor: Tensor) -> bytes:
    numbers = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
    return hashlib.blake2b(numbers, digest_size=16).digest()


def assert_close_to(
    compute: Callable[[], Tensors], actual: Tensors, dtype: torch.dtype, *, amplified: bool = False
) -> None:
    """Hold results to the rule of the tolerances, beside a formula of their own.

    Args:
        compute: The formula in float64, from the arguments as ``dtype`` rounds them.
        actual: Results in ``dtype``.
        dtype: float32 or float64.
        amplified: See :func:`.tolerances.assert_faithful`.
    """
    truth, drawn = compute(), Draws(compute, dtype)
    assert actual.keys() == truth.keys()
    for name, true in truth.items():
        assert actual[name].dtype == dtype, name

        def plain(count: int, name: str = name) -> list[Tensor]:
            return [results[name] for results in drawn(count)]

        assert_faithful(actual[name], true, plain, name=name, amplified=amplified)


def assert_bitwise_equal(actual: Tensors, expected: Tensors) -> None:
    """Every tensor equal bit by bit."""
    assert actual.keys() == expected.keys()
    for name, tensor in expected.items():
        different = int((actual[name] != tensor).sum())
        assert torch.equal(actual[name], tensor), f"{name}: {different} of {tensor.numel()} elements differ"
