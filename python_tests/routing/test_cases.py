"""The table of cases, each with every kernel: forward and all gradients, what is absent, details, and derivatives."""

from __future__ import annotations

import dataclasses

import pytest
import torch

import capsroute

from ..kernels import each_kernel, each_kernel_by_name
from ..lanes import FEW
from .cases import Case, amplifies, coupling_cases, option_cases, other, table
from .compare import assert_matches_reference, fused

OPTIONS = [*option_cases(), *coupling_cases()][:: 12 if FEW else 1]


@pytest.mark.parametrize("case", table(), ids=str)
@each_kernel_by_name
def test_results(case: Case, kernel: str) -> None:
    assert_matches_reference(
        case.arguments(), case.options(), case.output_gradient(case.dtype), amplified=amplifies(case)
    )


@pytest.mark.parametrize("case", [case for case in OPTIONS if case.input_mask], ids=str)
@each_kernel_by_name
def test_absent_inputs_are_never_used(case: Case, kernel: str) -> None:
    """NaN and infinity in absent inputs, and in their logits, change no bit of anything, and their gradient is 0."""
    clean, grad = case.arguments(torch.float32), case.output_gradient(torch.float32)
    absent = ~clean["input_mask"]
    first = next(iter(clean))
    expected = fused(clean, case.options(), grad)
    for poison in (torch.nan, torch.inf):
        poisoned = {name: t.clone() for name, t in clean.items()}
        poisoned[first][absent] = poison
        for pairs in ("logits", "coupling"):
            if pairs in clean and case.logits == "sample":
                poisoned[pairs][absent] = poison
        if case.input_weight:
            poisoned["input_weight"][absent] = poison
        actual = fused(poisoned, case.options(), grad)
        for name, tensor in expected.items():
            assert torch.equal(actual[name], tensor), name
        assert (actual[first][absent] == 0).all()
        if case.input_weight:
            assert (actual["input_weight"][absent] == 0).all()


@pytest.mark.parametrize("case", [case for case in OPTIONS if case.output_mask], ids=str)
@each_kernel
def test_absent_outputs_are_zero(case: Case, kernel: str) -> None:
    tensors, grad = case.tensors(torch.float32), case.output_gradient(torch.float32)
    result = fused(tensors, case.options(), grad)
    assert (result["output"][~tensors["output_mask"]] == 0).all()
    never = ~tensors["output_mask"].any(0)
    assert (result["weight"][:, never] == 0).all()


SMALL = [
    dataclasses.replace(case, sizes=(3, 4, 2, 3, 2))
    for case in (*option_cases(), *map(other, option_cases()))
    if case.gradient == "all"
][:: 12 if FEW else 1]


@pytest.mark.parametrize("case", SMALL, ids=str)
def test_gradcheck(case: Case, backend: str) -> None:
    """Only for gradients through all iterations: that of the last alone is not a derivative."""
    tensors = case.arguments(torch.float64)
    names = [n for n, t in tensors.items() if t.is_floating_point()]
    leaves = [tensors[n].requires_grad_() for n in names]

    def function(*values: torch.Tensor) -> torch.Tensor:
        given = {**tensors, **dict(zip(names, values, strict=True))}
        return getattr(capsroute, case.entry)(**given, **case.options())

    assert torch.autograd.gradcheck(function, leaves, atol=1e-7, rtol=1e-5, fast_mode=True)


@pytest.mark.parametrize("squash", ["clamped", "power"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@each_kernel
def test_a_capsule_as_long_as_eps(squash: str, dtype: torch.dtype, kernel: str) -> None:
    """There max(|s|, eps) has no derivative, and the one of torch.clamp is meant, as in the reference."""
    tensors = {
        "x": torch.tensor([[[1.0]], [[-1.0]], [[2.0]]], dtype=dtype),
        "weight": torch.ones(1, 1, 1, 1, dtype=dtype),
    }
    options = {"squash": squash, "eps": 1.0, "iterations": 1}
    assert_matches_reference(tensors, options, torch.ones(3, 1, 1, dtype=dtype))


@pytest.mark.parametrize("gradient", ["all", "last", "detached_votes"])
@pytest.mark.parametrize("softmax", ["outputs", "inputs"])
@each_kernel_by_name
def test_each_gradient_alone(softmax: str, gradient: str, kernel: str) -> None:
    """Only what requires a gradient is asked for; which are wanted decides on buffers, and changes no other one."""
    case = Case((18, 7, 5, 11, 12), bias=True, logits="shared", input_weight=True, softmax=softmax, gradient=gradient)
    for dtype, entry in ((torch.float32, "dynamic_routing"), (torch.bfloat16, "route_votes")):
        tensors, grad = dataclasses.replace(case, entry=entry).arguments(dtype), case.output_gradient(dtype)
        function = getattr(capsroute, entry)
        everything = fused(tensors, case.options(), grad)
        tolerances = {"rtol": 1e-5, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 2e-2, "atol": 1e-5}
        for name in tensors:
            leaf = tensors[name].clone().requires_grad_()
            output = function(**{**tensors, name: leaf}, **case.options())
            (alone,) = torch.autograd.grad(output, leaf, grad)
            torch.testing.assert_close(alone, everything[name], **tolerances)
        assert not function(**tensors, **case.options()).requires_grad
