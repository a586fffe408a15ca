"""Which calls go past torch's dispatcher: ordinary ones, and none that something else has to see or to change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import capsroute
from capsroute.routing import dispatch, ops

X, WEIGHT = torch.randn(3, 6, 4), torch.randn(6, 2, 5, 4)
NAME = "capsroute.dynamic_routing_forward.default"


class Subclass(torch.Tensor):
    """Without a ``__torch_dispatch__`` of its own."""


class DispatchMode(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.append(str(function))
        return function(*args, **(kwargs or {}))


class FunctionMode(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.append(str(function))
        return function(*args, **(kwargs or {}))


def negated(values: Tensor) -> Tensor:
    """The same values as a view of memory that holds their negatives."""
    view = torch._neg_view(-values)
    assert view.is_neg()
    assert view.is_contiguous()
    return view


@contextmanager
def _profiler() -> Iterator[None]:
    with torch.autograd.profiler.profile():
        yield


@pytest.mark.parametrize("prepare", [
    lambda x: x, torch.nn.Parameter, lambda x: x.mT.contiguous().mT, lambda x: x.double(), lambda x: x[:0],
], ids=["plain", "parameter", "strided", "float64", "empty"])  # fmt: skip
@pytest.mark.parametrize("context", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_ordinary_tensors(
    prepare: Callable[[Tensor], Tensor], context: Callable[[], AbstractContextManager[Any]]
) -> None:
    with context():
        assert not dispatch.is_needed((prepare(X), WEIGHT, None))


def test_autocast_is_ordinary() -> None:
    """It is over when the op is reached."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not dispatch.is_needed((X, WEIGHT, None))


@pytest.mark.parametrize("prepare", [
    lambda x: x.as_subclass(Subclass), negated, lambda x: torch._efficientzerotensor(x.shape),
    torch._to_functional_tensor, FakeTensorMode().from_tensor,
], ids=["subclass", "negated", "zero", "functional", "fake"])  # fmt: skip
def test_extraordinary_tensors(prepare: Callable[[Tensor], Tensor]) -> None:
    assert dispatch.is_needed((X, WEIGHT, None, prepare(X)))


@pytest.mark.parametrize("context", [DispatchMode, FunctionMode, _profiler, FakeTensorMode])
def test_extraordinary_contexts(context: Callable[[], AbstractContextManager[Any]]) -> None:
    with context():
        assert dispatch.is_needed((X, WEIGHT, None))
    assert not dispatch.is_needed((X, WEIGHT, None))


@pytest.mark.parametrize("transform", [torch.func.grad, torch.func.vmap, torch.func.functionalize])
def test_transforms(transform: Callable[[Any], Any]) -> None:
    """Also where no tensor of the call is wrapped."""
    asked: list[bool] = []

    def body(x: Tensor) -> Tensor:
        asked.append(dispatch.is_needed((WEIGHT,)))
        return x.sum()

    transform(body)(torch.ones(3))
    assert asked == [True]


def test_an_eager_call_reaches_no_op(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ops, "FORWARD_OPS", {})
    monkeypatch.setattr(ops, "BACKWARD_OPS", {})
    leaf = X.clone().requires_grad_()
    torch.autograd.grad(capsroute.dynamic_routing(leaf, WEIGHT).sum(), leaf)


@pytest.mark.parametrize("mode", [DispatchMode, FunctionMode])
def test_modes_see_the_op(mode: Callable[[], Any]) -> None:
    """As selective checkpointing must."""
    with mode() as watching:
        capsroute.dynamic_routing(X, WEIGHT)
    assert NAME in watching.seen


def test_a_mode_sees_the_backward_of_an_earlier_forward() -> None:
    """What the forward left out, the op of the backward is given."""
    leaf = X.clone().requires_grad_()
    expected, *_ = torch.autograd.grad(capsroute.dynamic_routing(leaf, WEIGHT).sum(), leaf)
    output = capsroute.dynamic_routing(leaf, WEIGHT)
    with DispatchMode() as watching:
        (actual,) = torch.autograd.grad(output, leaf, torch.ones_like(output))
    assert NAME.replace("forward", "backward") in watching.seen
    assert torch.equal(actual, expected)


@pytest.mark.parametrize("pre_dispatch", [False, True])
def test_traces_hold_the_op(pre_dispatch: bool) -> None:
    graph = make_fx(lambda x: capsroute.dynamic_routing(x, WEIGHT), pre_dispatch=pre_dispatch)(X).graph
    assert NAME in [str(node.target) for node in graph.nodes]


def test_negated_values_are_read_as_they_are() -> None:
    expected = capsroute.dynamic_routing(X, WEIGHT)
    assert torch.equal(capsroute.dynamic_routing(negated(X), WEIGHT), expected)


def test_gradients_without_memory() -> None:
    """A symbolic zero has no address."""
    leaf = X.clone().requires_grad_()
    output = capsroute.dynamic_routing(leaf, WEIGHT)
    (gradient,) = torch.autograd.grad(output, leaf, torch._efficientzerotensor(output.shape))
    assert torch.equal(gradient, torch.zeros_like(X))


def test_batched_gradients() -> None:
    leaf = X.clone().requires_grad_()
    output = capsroute.dynamic_routing(leaf, WEIGHT)
    several = torch.randn(2, *output.shape)
    (batched,) = torch.autograd.grad(output, leaf, several, retain_graph=True, is_grads_batched=True)
    for together, grad in zip(batched, several, strict=True):
        (alone,) = torch.autograd.grad(output, leaf, grad, retain_graph=True)
        assert torch.equal(together, alone)


def test_a_subclass_comes_back_as_itself() -> None:
    routed = capsroute.dynamic_routing(X, WEIGHT.as_subclass(Subclass))
    assert type(routed) is Subclass
    assert torch.equal(routed.as_subclass(torch.Tensor), capsroute.dynamic_routing(X, WEIGHT))
