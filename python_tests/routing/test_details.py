"""What a call returns beside its output: coupling coefficients, s and the agreement."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import capsroute
from capsroute import reference, testing
from capsroute.routing.options import DETAILS

from ..kernels import each_kernel
from ..lanes import EVERYTHING
from . import oracle
from .cases import ENTRIES, Case, Tensors, coupling_cases, evaluate, option_cases, other, to, votes_of
from .compare import assert_matches_reference
from .test_reference import oracle_options

OPTIONS = [*option_cases(), *coupling_cases()]
CASES = pytest.mark.parametrize("case", [*OPTIONS, *(map(other, OPTIONS) if EVERYTHING else ())], ids=str)


def expected(case: Case, given: Tensors) -> dict[str, torch.Tensor]:
    """The details by the oracle, sample by sample; 0 for what is absent."""
    batch, inputs, _, outputs, size = case.sizes
    given = to(given, torch.float64)
    tensors = {name: t.cpu().numpy() for name, t in (given if "votes" in given else votes_of(given)).items()}
    found = {
        "coupling": np.zeros((batch, inputs, outputs)),
        "pre_squash": np.zeros((batch, outputs, size)),
        "agreement": np.zeros((batch, inputs, outputs)),
    }
    zeros = np.zeros((batch, inputs, outputs))
    for b in range(batch):
        here = np.flatnonzero(tensors["input_mask"][b]) if case.input_mask else np.arange(inputs)
        there = np.flatnonzero(tensors["output_mask"][b]) if case.output_mask else np.arange(outputs)
        cell = np.ix_(here, there)
        votes = tensors["votes"][b][cell]
        bias = tensors["bias"][there] if case.bias else np.zeros((len(there), size))
        weights = tensors["input_weight"][b, here] if case.input_weight else np.ones(len(here))
        logits = (zeros + tensors.get("logits", 0.0))[b][cell]
        coupling = (zeros + tensors["coupling"])[b][cell] if case.given else None
        v, trace = oracle.route_sample(votes, bias, logits, weights, oracle_options(case), coupling)
        found["coupling"][b][cell] = trace.couplings[-1]
        found["pre_squash"][b, there] = trace.totals[-1]
        found["agreement"][b][cell] = np.einsum("ijd,jd->ij", votes, v)
    return {name: torch.from_numpy(array) for name, array in found.items()}


@CASES
@each_kernel
def test_values(case: Case, kernel: str) -> None:
    tensors = case.arguments()
    truth = expected(case, tensors)
    result = getattr(capsroute, case.entry)(**tensors, **case.options(), details=DETAILS)
    tolerance = {torch.float64: 1e-11, torch.float32: 2e-4, torch.bfloat16: 0.03, torch.float16: 0.006}[case.dtype]
    for name in DETAILS:
        found = getattr(result, name)
        assert found.dtype == case.dtype
        torch.testing.assert_close(found.double().cpu(), truth[name], rtol=tolerance, atol=tolerance)


@CASES
@each_kernel
def test_s_is_differentiable_and_so_is_the_output(case: Case, kernel: str) -> None:
    """The gradient of s, of the output that comes with it, and of the output alone, as the reference has them."""
    tensors, grad = case.arguments(torch.float64), case.output_gradient()

    def ask(function: Any, details: tuple[str, ...] | None, field: str) -> Any:
        def call(**given: Any) -> torch.Tensor:
            result = function(**given, details=details)
            return result if details is None else getattr(result, field)

        return evaluate(call, tensors, case.options(), grad)

    fused, plain = getattr(capsroute, case.entry), getattr(reference, case.entry)
    for details, field in ((("pre_squash",), "pre_squash"), (("pre_squash",), "output"), (("coupling",), "output")):
        actual, wanted = ask(fused, details, field), ask(plain, details, field)
        for name, tensor in wanted.items():
            scale = float(tensor.abs().max()) if tensor.numel() else 0.0
            torch.testing.assert_close(actual[name], tensor, rtol=0, atol=1e-11 * scale + 1e-12, msg=f"{field} {name}")


@pytest.mark.parametrize("entry", ENTRIES)
def test_only_what_was_asked_for(entry: str, backend: str) -> None:
    case = Case((5, 6, 4, 3, 7), bias=True, entry=entry)
    tensors = case.arguments(torch.float64)
    output = getattr(capsroute, entry)(**tensors, **case.options())
    for name in (None, *DETAILS):
        result = getattr(capsroute, entry)(**tensors, **case.options(), details=[name] if name else [])
        assert isinstance(result, capsroute.RoutingResult)
        torch.testing.assert_close(result.output, output)
        assert [field for field in DETAILS if getattr(result, field) is not None] == ([name] if name else [])


def test_coupling_and_agreement_are_detached(backend: str) -> None:
    case = Case((5, 6, 4, 3, 7), logits="shared")
    tensors = {name: t.requires_grad_() for name, t in case.tensors().items()}
    result = capsroute.dynamic_routing(**tensors, details=DETAILS)
    assert result.output.requires_grad
    assert result.pre_squash is not None
    assert result.pre_squash.requires_grad
    for field in (result.coupling, result.agreement):
        assert field is not None
        assert not field.requires_grad


@each_kernel
def test_absent_inputs_do_no_harm(kernel: str) -> None:
    case = Case((5, 6, 4, 3, 7), input_mask=True, output_mask=True, input_weight=True)
    clean = case.tensors()
    poisoned = {**clean, "x": clean["x"].clone(), "input_weight": clean["input_weight"].clone()}
    absent = ~clean["input_mask"]
    poisoned["x"][absent] = torch.nan
    poisoned["input_weight"][absent] = torch.nan
    found, wanted = (capsroute.dynamic_routing(**t, details=DETAILS) for t in (poisoned, clean))
    for name in ("output", *DETAILS):
        assert torch.equal(getattr(found, name), getattr(wanted, name)), name


@pytest.mark.parametrize("case", [case for case in OPTIONS if case.dtype in (torch.bfloat16, torch.float16)], ids=str)
def test_s_costs_a_half_type_no_digits(case: Case, backend: str) -> None:
    """Output and gradients are as exact as without it: s and its gradient are not rounded on the way."""
    tensors, grad = case.arguments(), case.output_gradient(case.dtype)

    def call(**given: Any) -> torch.Tensor:
        return getattr(capsroute, case.entry)(**given, details=["pre_squash"]).output

    actual = evaluate(call, tensors, case.options(), grad)
    assert_matches_reference(tensors, case.options(), grad, actual=actual)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("logits", ["shared", "sample"])
def test_given_coupling_comes_back_contiguous(masked: bool, logits: str, backend: str) -> None:
    tensors = Case((5, 6, 4, 3, 7), logits=logits, given=True, output_mask=masked).tensors()
    tensors["coupling"] = tensors["coupling"].mT.contiguous().mT
    result = capsroute.dynamic_routing(**tensors, details=["coupling"])
    assert result.coupling is not None
    assert result.coupling.is_contiguous()


def test_empty_batch(backend: str) -> None:
    result = capsroute.dynamic_routing(**Case((0, 6, 4, 3, 7)).tensors(), details=DETAILS)
    assert [tuple(t.shape) for t in result if t is not None] == [(0, 3, 7), (0, 6, 3), (0, 3, 7), (0, 6, 3)]


@pytest.mark.parametrize("mode", ["eager", "compiled", "vmap"])
def test_in_transforms(mode: str) -> None:
    case = Case((5, 6, 4, 3, 7), bias=True)
    tensors = case.tensors()

    def call(x: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return tuple(capsroute.dynamic_routing(**{**tensors, "x": x}, details=DETAILS))

    wanted = call(tensors["x"])
    if mode == "compiled":
        torch._dynamo.reset()
        call = torch.compile(call, backend="aot_eager", fullgraph=True)
    found = call(tensors["x"]) if mode != "vmap" else torch.vmap(call)(torch.stack([tensors["x"]] * 2))
    for a, b in zip(found, wanted, strict=True):
        assert a is not None
        torch.testing.assert_close(a[0] if mode == "vmap" else a, b)


def test_reference_and_kernels_agree_in_float32() -> None:
    case = Case((17, 33, 8, 10, 16), bias=True, logits="sample", temperature="falling")
    tensors = to(case.tensors(), torch.float32)
    found = capsroute.dynamic_routing(**tensors, **case.options(), details=DETAILS)
    with testing.backend("reference"):
        wanted = capsroute.dynamic_routing(**tensors, **case.options(), details=DETAILS)
    for a, b in zip(found, wanted, strict=True):
        assert a is not None
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
