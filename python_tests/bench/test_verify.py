"""The rule of the benchmark: it passes what is right and fails each kind of wrong result."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import capsroute
from capsroute.bench import peers, verify
from capsroute.bench.shapes import Shape
from capsroute.bench.verify import Problem, Results, Truth, plain_results, results_of

SHAPE = Shape("test", 6, 40, 8, 5, 16, 3, "")
CPU = torch.device("cpu")
PLENTY = 2**30
HALF = [torch.bfloat16, torch.float16]


def problem_of(dtype: torch.dtype = torch.float32, gradient: str = "all") -> Problem:
    return Problem.of(SHAPE, dtype, gradient, CPU)


def ours(problem: Problem) -> Results:
    def route(x: Tensor, weight: Tensor) -> Tensor:
        return capsroute.dynamic_routing(x, weight, iterations=3, gradient=problem.gradient, eps=peers.EPS)

    return results_of(route, problem)


def rounded(results: Results, dtype: torch.dtype) -> Results:
    return {name: tensor.to(dtype) for name, tensor in results.items()}


@pytest.mark.parametrize("gradient", ["all", "last"])
@pytest.mark.parametrize("dtype", [torch.float32, *HALF])
def test_the_package_is_within_the_rule(dtype: torch.dtype, gradient: str) -> None:
    problem = problem_of(dtype, gradient)
    excess = Truth(problem, tf32=False, free_bytes=PLENTY).excess(ours(problem))
    assert list(excess) == ["output", "x", "weight"]
    assert max(excess.values()) <= 1


@pytest.mark.parametrize("name", verify.NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, *HALF])
def test_one_wrong_element_is_seen(dtype: torch.dtype, name: str) -> None:
    problem = problem_of(dtype)
    truth, results = Truth(problem, False, PLENTY), ours(problem)
    largest = int(results[name].abs().argmax())
    results[name].view(-1)[largest] *= 1.05
    excess = truth.excess(results)
    assert [n for n, value in excess.items() if value > 1] == [name]


def test_a_gradient_of_zeros_below_the_element_bound_is_seen() -> None:
    """The bound of an element is relative to the largest; here all elements but one are far below it."""
    problem = problem_of()
    truth, results = Truth(problem, False, PLENTY), ours(problem)
    truth.largest_error["x"] = float(truth.true["x"].abs().max())  # any element may be lost by this alone
    assert truth.excess(results)["x"] <= 1
    results["x"].zero_()
    assert truth.excess(results)["x"] > 1


def test_the_gradient_of_the_other_kind_is_seen() -> None:
    excess = Truth(problem_of(), False, PLENTY).excess(ours(problem_of(gradient="last")))
    assert excess["output"] <= 1
    assert excess["x"] > 1
    assert excess["weight"] > 1


def test_what_is_no_result() -> None:
    problem = problem_of()
    truth, results = Truth(problem, False, PLENTY), ours(problem)
    with_nan = results["x"].clone()
    with_nan[0, 0, 0] = float("nan")
    assert truth.excess({**results, "x": with_nan})["x"] == float("inf")
    assert truth.excess({**results, "x": results["x"].double()})["x"] == float("inf")
    assert truth.excess({**results, "x": results["x"][:1]})["x"] == float("inf")


@pytest.mark.parametrize("dtype", HALF)
def test_half_types_have_two_units(dtype: torch.dtype) -> None:
    problem = problem_of(dtype)
    truth = Truth(problem, False, PLENTY)
    true = truth.true["output"]
    unit = verify._unit(true, dtype)
    above = (true.to(dtype).double() + 1.4 * unit).to(dtype)
    far_above = (true.to(dtype).double() + 4 * unit).to(dtype)
    results = rounded(truth.true, dtype)
    assert truth.excess({**results, "output": above})["output"] <= 1
    assert truth.excess({**results, "output": far_above})["output"] > 1


def test_unit_in_the_last_place() -> None:
    values = torch.tensor([1.0, 1.999, 2.0, 0.3, 6e4, 3e-7], dtype=torch.float64)
    expected = torch.tensor([2.0**-10, 2.0**-10, 2.0**-9, 2.0**-12, 32.0, 2.0**-24], dtype=torch.float64)
    assert torch.equal(verify._unit(values, torch.float16), expected)
    assert torch.equal(verify._unit(-values, torch.float16), expected)
    assert not verify._unit(values, torch.float32).any()


def test_rounding_to_tf32() -> None:
    values = torch.tensor([1.0, 1 + 2**-11, 1 + 2**-11 - 2**-20, -1 - 2**-11, 1 + 2**-10])
    expected = torch.tensor([1.0, 1 + 2**-10, 1.0, -1 - 2**-10, 1 + 2**-10])
    assert torch.equal(verify._tf32(values), expected)


def test_tf32_is_right_where_it_is_allowed_and_wrong_elsewhere() -> None:
    problem = problem_of()
    in_tf32 = ours(problem.rounded_to_tf32())
    assert max(Truth(problem, True, PLENTY).excess(in_tf32).values()) <= 1
    assert min(Truth(problem, False, PLENTY).excess(in_tf32).values()) > 1
    half = rounded(ours(problem_of(torch.bfloat16)), torch.float32)
    assert min(Truth(problem, True, PLENTY).excess(half).values()) > 1


def test_the_reference_in_chunks() -> None:
    """Little memory makes chunks of one sample; nothing else changes."""
    problem = problem_of(torch.float64)
    whole, chunked = plain_results(problem, PLENTY), plain_results(problem, 1)
    for name in verify.NAMES:
        torch.testing.assert_close(chunked[name], whole[name], rtol=1e-12, atol=1e-14)
