"""Every option and every pair of options, in every dtype, on every instruction set: forward and all gradients."""

from __future__ import annotations

import pytest
import torch

import capsroute

from .cases import Case, coupling_cases, option_cases, votes_of
from .compare import DTYPES, assert_matches_reference, fused

ALL = [*option_cases(), *coupling_cases()]
CASES = pytest.mark.parametrize("case", ALL, ids=str)
ALL_DTYPES = pytest.mark.parametrize("dtype", DTYPES, ids=str)


@CASES
@ALL_DTYPES
def test_dynamic_routing(case: Case, dtype: torch.dtype, kernel: str) -> None:
    assert_matches_reference(case.tensors(dtype), case.options(), case.output_gradient(dtype))


@CASES
@ALL_DTYPES
def test_route_votes(case: Case, dtype: torch.dtype, kernel: str) -> None:
    assert_matches_reference(votes_of(case.tensors(dtype)), case.options(), case.output_gradient(dtype))


@pytest.mark.parametrize("squash", ["clamped", "power"])
@ALL_DTYPES
def test_a_capsule_as_long_as_eps(squash: str, dtype: torch.dtype, kernel: str) -> None:
    """There max(|s|, eps) has no derivative, and the one of torch.clamp is meant, as in the reference."""
    tensors = {
        "x": torch.tensor([[[1.0]], [[-1.0]], [[2.0]]], dtype=dtype),
        "weight": torch.ones(1, 1, 1, 1, dtype=dtype),
    }
    options = {"squash": squash, "eps": 1.0, "iterations": 1}
    assert_matches_reference(tensors, options, torch.ones(3, 1, 1, dtype=dtype))


@pytest.mark.parametrize("case", [c for c in ALL if c.input_mask], ids=str)
@pytest.mark.parametrize("poison", [torch.nan, torch.inf], ids=str)
@pytest.mark.parametrize("entry", ["dynamic_routing", "route_votes"])
def test_absent_inputs_are_never_used(case: Case, poison: float, entry: str, kernel: str) -> None:
    """NaN and infinity in absent inputs, and in their logits, change no bit of anything, and their gradient is 0."""
    clean, grad = case.tensors(torch.float32), case.output_gradient(torch.float32)
    clean = votes_of(clean) if entry == "route_votes" else clean
    absent = ~clean["input_mask"]
    poisoned = {name: t.clone() for name, t in clean.items()}
    first = "votes" if entry == "route_votes" else "x"
    poisoned[first][absent] = poison
    for pairs in ("logits", "coupling"):
        if pairs in clean and case.logits == "sample":
            poisoned[pairs][absent] = poison
    if case.input_weight:
        poisoned["input_weight"][absent] = poison
    expected, actual = fused(clean, case.options(), grad), fused(poisoned, case.options(), grad)
    for name, tensor in expected.items():
        assert torch.equal(actual[name], tensor), name
    assert (actual[first][absent] == 0).all()
    if case.input_weight:
        assert (actual["input_weight"][absent] == 0).all()


@pytest.mark.parametrize("case", [c for c in ALL if c.output_mask], ids=str)
def test_absent_outputs_are_zero(case: Case, kernel: str) -> None:
    tensors, grad = case.tensors(torch.float32), case.output_gradient(torch.float32)
    result = fused(tensors, case.options(), grad)
    assert (result["output"][~tensors["output_mask"]] == 0).all()
    never = ~tensors["output_mask"].any(0)
    assert (result["weight"][:, never] == 0).all()


@pytest.mark.parametrize("gradient", ["all", "last", "detached_votes"])
@pytest.mark.parametrize("softmax", ["outputs", "inputs"])
@pytest.mark.parametrize("name", ["bias", "logits", "input_weight"])
def test_arguments_that_need_no_gradient_get_none(name: str, softmax: str, gradient: str, kernel: str) -> None:
    """Only what requires a gradient is asked for; the others' gradients do not change by that."""
    case = Case((9, 6, 4, 5, 7), bias=True, logits="shared", input_weight=True, softmax=softmax, gradient=gradient)
    tensors, grad = case.tensors(torch.float32), case.output_gradient(torch.float32)
    everything = fused(tensors, case.options(), grad)
    leaf = tensors[name].clone().requires_grad_()
    output = capsroute.dynamic_routing(**{**tensors, name: leaf}, **case.options())
    (alone,) = torch.autograd.grad(output, leaf, grad)
    torch.testing.assert_close(alone, everything[name], rtol=1e-6, atol=1e-7)
    assert not capsroute.dynamic_routing(**tensors, **case.options()).requires_grad
