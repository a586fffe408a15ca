"""The op in PyTorch's autograd: checkpointing, threads, partial gradients."""

from __future__ import annotations

import threading

import pytest
import torch
from torch.utils.checkpoint import checkpoint

import capsroute
from capsroute import testing

from .cases import Case, Tensors, evaluate, votes_of
from .compare import assert_bitwise_equal, entry_name, fused

CASE = Case((9, 8, 4, 5, 3), bias=True, logits="shared")
ENTRY = pytest.mark.parametrize("entry", ["dynamic_routing", "route_votes"])


def arguments(case: Case, entry: str, dtype: torch.dtype = torch.float64) -> Tensors:
    tensors = case.tensors(dtype)
    return votes_of(tensors) if entry == "route_votes" else tensors


@ENTRY
def test_no_gradient_no_graph(entry: str, backend: str) -> None:
    tensors = arguments(CASE, entry)
    assert not getattr(capsroute, entry)(**tensors, **CASE.options()).requires_grad
    leaf = next(iter(tensors.values())).requires_grad_()
    assert leaf.requires_grad
    with torch.no_grad():
        assert not getattr(capsroute, entry)(**tensors, **CASE.options()).requires_grad
    with torch.inference_mode():
        assert not getattr(capsroute, entry)(**tensors, **CASE.options()).requires_grad


@ENTRY
def test_backward_twice_through_a_retained_graph(entry: str, backend: str) -> None:
    tensors = arguments(CASE, entry)
    leaf = next(iter(tensors.values())).requires_grad_()
    output = getattr(capsroute, entry)(**tensors, **CASE.options())
    (first,) = torch.autograd.grad(output, leaf, CASE.output_gradient(), retain_graph=True)
    (second,) = torch.autograd.grad(output, leaf, CASE.output_gradient())
    assert torch.equal(first, second)


@ENTRY
def test_changed_argument_is_noticed(entry: str, backend: str) -> None:
    """What the backward reads again must not have been written to since."""
    tensors = arguments(CASE, entry)
    leaf = next(iter(tensors.values())).requires_grad_()
    doubled = leaf * 1.0
    tensors[next(iter(tensors))] = doubled
    output = getattr(capsroute, entry)(**tensors, **CASE.options())
    with torch.no_grad():
        doubled.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.sum().backward()


@ENTRY
def test_activation_checkpointing(entry: str, backend: str) -> None:
    tensors, grad = arguments(CASE, entry), CASE.output_gradient()

    def checkpointed(**given: torch.Tensor) -> torch.Tensor:
        names = [n for n in given if n in tensors]
        options = {n: v for n, v in given.items() if n not in tensors}
        return checkpoint(
            lambda *values: getattr(capsroute, entry)(**dict(zip(names, values, strict=True)), **options),
            *(given[n] for n in names),
            use_reentrant=False,
        )

    assert_bitwise_equal(evaluate(checkpointed, tensors, CASE.options(), grad), fused(tensors, CASE.options(), grad))


@ENTRY
@pytest.mark.parametrize("forced", ["reference", "cpu", "cuda"])
def test_backward_keeps_the_backend_of_its_forward(entry: str, forced: str, backend: str) -> None:
    """From another thread, in which another backend is forced (even one without a kernel here)."""
    tensors, grad = arguments(CASE, entry), CASE.output_gradient()
    expected = fused(tensors, CASE.options(), grad)
    leaves = {n: t.detach().requires_grad_() for n, t in tensors.items()}
    output = getattr(capsroute, entry_name(tensors))(**leaves, **CASE.options())
    result: Tensors = {"output": output.detach()}

    def backward() -> None:
        with testing.backend(forced):
            grads = torch.autograd.grad(output, list(leaves.values()), grad)
        result.update(zip(leaves, grads, strict=True))

    thread = threading.Thread(target=backward)
    thread.start()
    thread.join()
    assert_bitwise_equal(result, expected)


@ENTRY
def test_concurrent_calls(entry: str, backend: str) -> None:
    """Several threads at once, each with a result of its own."""
    tensors, grad = arguments(CASE, entry), CASE.output_gradient()
    expected = fused(tensors, CASE.options(), grad)
    results: list[Tensors] = []

    def repeat() -> None:
        with testing.backend(backend):
            results.extend(fused(tensors, CASE.options(), grad) for _ in range(5))

    threads = [threading.Thread(target=repeat) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 20
    for result in results:
        assert_bitwise_equal(result, expected)
