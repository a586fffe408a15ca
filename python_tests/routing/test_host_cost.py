"""What a call costs beside its arithmetic, on a problem with next to none.

Times differ between machines, and on one from hour to hour. Ratios of times taken in turns do so by a few percent where
both are made of the same, here of Python, autograd and small allocations in like shares; beside allocations alone, a
call took 2.8 times as long on one processor and 4.7 times on another. The limits stand some 20 percent above what was
measured, and below what the way through torch's dispatcher takes.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd.function import Function

import capsroute
from capsroute.routing import dispatch

X, WEIGHT = torch.randn(1, 2, 4), torch.randn(2, 2, 4, 4)
LEAVES = (X.clone().requires_grad_(), WEIGHT.clone().requires_grad_())
GRAD = torch.ones(1, 2, 4)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Threads that a busy machine has no time for are waited for, and that is no cost of the call itself."""
    torch.set_num_threads(1)


class Nothing(Function):
    """What autograd itself costs: saves and returns tensors of the same sizes, and computes nothing."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return x.new_empty((1, 2, 4))

    @staticmethod
    def backward(ctx: Any, _: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        return torch.empty_like(x), torch.empty_like(weight)


def there_and_back_for_nothing() -> None:
    torch.autograd.grad(Nothing.apply(*LEAVES), LEAVES, GRAD)


def forward() -> None:
    capsroute.dynamic_routing(X, WEIGHT)


def forward_and_backward() -> None:
    torch.autograd.grad(capsroute.dynamic_routing(*LEAVES), LEAVES, GRAD)


def dispatched(call: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """The same call by way of torch's dispatcher."""

    def through_the_dispatcher() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(dispatch, "is_needed", lambda tensors: True)
            repeat(call)

    return through_the_dispatcher


def repeat(call: Callable[[], None]) -> None:
    for _ in range(50):
        call()


def ratio(call: Callable[[], None], yardstick: Callable[[], None]) -> float:
    """Median over many pairs of 50 calls each, taken in turns."""

    def seconds(repeated: Callable[[], None]) -> float:
        start = time.perf_counter()
        repeated()
        return time.perf_counter() - start

    pairs = [(seconds(call), seconds(yardstick)) for _ in range(60)]
    return statistics.median(one / other for one, other in pairs[10:])


def test_forward() -> None:
    """Measured: 0.72 to 0.79, and 1.16 to 1.25 through the dispatcher."""
    assert ratio(lambda: repeat(forward), lambda: repeat(there_and_back_for_nothing)) < 0.95


def test_forward_and_backward() -> None:
    """Measured: 3.1 to 3.3, and 4.1 to 4.4 through the dispatcher."""
    assert ratio(lambda: repeat(forward_and_backward), lambda: repeat(there_and_back_for_nothing)) < 4.0


@pytest.mark.parametrize("call", [forward, forward_and_backward])
def test_the_dispatcher_is_left_out(call: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Measured: 0.65 of the time with it, and 0.75 with backward."""
    assert ratio(lambda: repeat(call), dispatched(call, monkeypatch)) < 0.9
