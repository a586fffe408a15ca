"""``capsroute.reference`` is the definition: it is checked against loops in NumPy and against difference quotients."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from capsroute import reference

from . import oracle
from .cases import Case, Tensors, coupling_cases, evaluate, option_cases, votes_of

TOLERANCE = 1e-12


def oracle_options(case: Case) -> oracle.Options:
    given = case.options()
    return oracle.Options(**{**given, "squash_constant": given["squash_constant"] or 1.0})


def oracle_result(case: Case, tensors: Tensors, grad: torch.Tensor) -> dict[str, np.ndarray]:
    """Output and gradients of the oracle for the arguments of ``dynamic_routing`` or ``route_votes``."""
    function = oracle.route_votes if "votes" in tensors else oracle.dynamic_routing
    arrays = {name: t.numpy() for name, t in tensors.items()}
    return function(**arrays, grad=grad.numpy(), options=oracle_options(case))


def assert_equal_to_oracle(case: Case, tensors: Tensors) -> None:
    function = reference.route_votes if "votes" in tensors else reference.dynamic_routing
    grad = case.output_gradient()
    actual = evaluate(function, tensors, case.options(), grad)
    expected = oracle_result(case, tensors, grad)
    assert actual.keys() == expected.keys()
    for name, array in expected.items():
        truth = torch.from_numpy(array)
        assert actual[name].shape == truth.shape, name
        error = float((actual[name] - truth).abs().max())
        assert error <= TOLERANCE * max(1.0, float(truth.abs().max())), f"{name}: {error:.2e}"


ALL_CASES = pytest.mark.parametrize("case", [*option_cases(), *coupling_cases()], ids=str)


@ALL_CASES
def test_dynamic_routing(case: Case) -> None:
    assert_equal_to_oracle(case, case.tensors())


@ALL_CASES
def test_route_votes(case: Case) -> None:
    assert_equal_to_oracle(case, votes_of(case.tensors()))


@pytest.mark.parametrize("case", [c for c in option_cases() if c.input_mask], ids=str)
def test_absent_inputs_may_be_nan(case: Case) -> None:
    tensors = case.tensors()
    tensors["x"][~tensors["input_mask"]] = torch.nan
    assert_equal_to_oracle(case, tensors)


SMALL = [dataclasses.replace(c, sizes=(3, 4, 2, 3, 2)) for c in (*option_cases(), *coupling_cases())]


@pytest.mark.parametrize("case", [c for c in SMALL if c.gradient == "all"], ids=str)
def test_gradcheck(case: Case) -> None:
    """The gradient through all iterations is the derivative of the output."""
    tensors = case.tensors()
    names = [n for n, t in tensors.items() if t.is_floating_point()]
    leaves = [tensors[n].requires_grad_() for n in names]

    def function(*values: torch.Tensor) -> torch.Tensor:
        return reference.dynamic_routing(**{**tensors, **dict(zip(names, values, strict=True))}, **case.options())

    assert torch.autograd.gradcheck(function, leaves, atol=1e-7, rtol=1e-5, fast_mode=True)


@pytest.mark.parametrize("case", [c for c in SMALL if c.gradient == "all"], ids=str)
def test_oracle_backward_is_the_derivative(case: Case) -> None:
    """Central differences of the oracle's own forward in a random direction, so that the oracle stands by itself."""
    tensors, grad = case.tensors(), case.output_gradient()
    result = oracle_result(case, tensors, grad)
    for name in result.keys() - {"output"}:
        direction = torch.randn(tensors[name].shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
        step = 1e-6
        ahead = oracle_result(case, {**tensors, name: tensors[name] + step * direction}, grad)["output"]
        behind = oracle_result(case, {**tensors, name: tensors[name] - step * direction}, grad)["output"]
        slope = float(((ahead - behind) / (2 * step) * grad.numpy()).sum())
        assert slope == pytest.approx(float((result[name] * direction.numpy()).sum()), rel=1e-6, abs=1e-7), name


def test_last_iteration_gradient_treats_the_query_as_constant() -> None:
    """gradient="last" is the derivative of one weighted sum and squash whose couplings do not move."""
    case = Case((2, 4, 3, 3, 2), bias=True, gradient="last")
    tensors, grad = case.tensors(), case.output_gradient()
    actual = evaluate(reference.dynamic_routing, tensors, case.options(), grad)
    votes = votes_of(tensors)["votes"]
    options, bias = oracle_options(case), tensors["bias"].numpy()
    zeros, ones = np.zeros(votes.shape[1:3]), np.ones(votes.shape[1])
    trace = [oracle.route_sample(v.numpy(), bias, zeros, ones, options, None)[1] for v in votes]
    couplings = torch.from_numpy(np.stack([t.couplings[-1] for t in trace]))

    def one_step(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return reference.squash(torch.einsum("bij,ijpq,biq->bjp", couplings, weight, x) + bias)

    for name, expected in evaluate(one_step, tensors, {}, grad).items():
        torch.testing.assert_close(actual[name], expected, rtol=1e-12, atol=1e-13)


def test_one_iteration_is_a_uniform_average() -> None:
    case = Case((3, 5, 4, 6, 2), iterations=1)
    tensors = case.tensors()
    expected = reference.squash(torch.einsum("ijpq,biq->bjp", tensors["weight"], tensors["x"]) / 6)
    torch.testing.assert_close(reference.dynamic_routing(**tensors, iterations=1), expected, rtol=1e-13, atol=1e-15)


def test_published_example_of_squash() -> None:
    """A vector of length 3 keeps its direction and gets length 9/10; the zero vector stays zero (Sabour eq. 1)."""
    squashed = reference.squash(torch.tensor([[0.0, 3.0], [0.0, 0.0]], dtype=torch.float64), eps=0.0)
    torch.testing.assert_close(squashed, torch.tensor([[0.0, 0.9], [0.0, 0.0]], dtype=torch.float64))
