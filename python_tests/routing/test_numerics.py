"""Zero capsules, large values, uninitialised memory, and samples that must not reach one another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch

import capsroute

from ..covering import covering
from ..kernels import each_kernel
from .cases import DTYPES, ENTRIES, Case, Tensors
from .compare import assert_bitwise_equal, assert_matches_reference, fused

SOFTMAXES = ["outputs", "leaky", "inputs"]
SOFTMAX = pytest.mark.parametrize("softmax", SOFTMAXES)
GRADIENTS = ["all", "last"]


def arguments(case: Case, entry: str, dtype: torch.dtype = torch.float32) -> Tensors:
    return replace(case, entry=entry).arguments(dtype)


@covering(
    softmax=SOFTMAXES, gradient=GRADIENTS, entry=ENTRIES, eps=[0.0, 1e-8],
    dtype=[torch.float32, torch.float64, torch.float16],
)  # fmt: skip
@each_kernel
def test_zero_capsules(softmax: str, gradient: str, entry: str, eps: float, dtype: torch.dtype, kernel: str) -> None:
    """All capsules zero in one sample, some in another: value and gradient are finite and those of the limit."""
    case = Case((5, 6, 4, 3, 5), softmax=softmax, gradient=gradient, eps=eps)
    tensors = arguments(case, entry, dtype)
    first = next(iter(tensors.values()))
    first[1] = 0
    first[2, ::2] = 0
    grad = case.output_gradient(dtype)
    result = fused(tensors, case.options(), grad)
    assert_matches_reference(tensors, case.options(), grad, actual=result)
    assert (result["output"][1] == 0).all()


@covering(softmax=SOFTMAXES, entry=ENTRIES, eps=[0.0, 1e-8])
@each_kernel
def test_everything_zero(softmax: str, entry: str, eps: float, kernel: str) -> None:
    case = Case((3, 4, 2, 3, 5), softmax=softmax, eps=eps, bias=True, logits="shared")
    tensors = {name: torch.zeros_like(t) for name, t in arguments(case, entry).items()}
    for name, t in fused(tensors, case.options(), case.output_gradient(torch.float32)).items():
        assert (t == 0).all(), name


@covering(softmax=SOFTMAXES, entry=ENTRIES)
@each_kernel
def test_all_absent_leaves_the_bias(softmax: str, entry: str, kernel: str) -> None:
    """A softmax over nothing is 0, so s is the bias."""
    case = Case((4, 6, 3, 5, 7), softmax=softmax, bias=True, input_mask=True)
    tensors = arguments(case, entry)
    tensors["input_mask"][:] = False
    result = fused(tensors, case.options(), case.output_gradient(torch.float32))
    expected = capsroute.reference.squash(tensors["bias"].double()).expand(4, 5, 7)
    torch.testing.assert_close(result["output"].double(), expected, rtol=1e-6, atol=1e-7)
    assert (result[next(iter(tensors))] == 0).all()


@SOFTMAX
@pytest.mark.parametrize("logit", [60.0, 1e4, 1e30])
@each_kernel
def test_large_logits(softmax: str, logit: float, kernel: str) -> None:
    """A softmax that would overflow without its maximum subtracted."""
    case = Case((9, 6, 4, 5, 3), softmax=softmax, logits="sample")
    tensors = case.tensors(torch.float32)
    tensors["logits"] = torch.sign(tensors["logits"]) * logit
    tensors["logits"][1] = -logit  # all of them: without its maximum this softmax would be 0 / 0
    assert_matches_reference(tensors, case.options(), case.output_gradient(torch.float32))


@covering(softmax=SOFTMAXES, entry=ENTRIES, logits=["shared", "sample"])
@each_kernel
def test_logits_of_minus_infinity_cut_a_connection(softmax: str, entry: str, logits: str, kernel: str) -> None:
    """As attention masks do: the coupling is 0, and everything stays finite, even where nothing is left."""
    case = Case((5, 6, 4, 5, 3), softmax=softmax, logits=logits, bias=True)
    tensors = arguments(case, entry)
    tensors["logits"][..., ::2, 1] = -torch.inf
    tensors["logits"][..., 3, :] = -torch.inf  # an input without outputs
    tensors["logits"][..., :, 2] = -torch.inf  # an output without inputs
    assert_matches_reference(tensors, case.options(), case.output_gradient(torch.float32))


@SOFTMAX
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
@each_kernel
def test_sums_beyond_the_range_of_half(softmax: str, dtype: torch.dtype, kernel: str) -> None:
    """Votes near 3e4 whose sum passes 65504: the outputs have length one all the same."""
    case = Case((3, 64, 4, 5, 3), softmax=softmax)
    tensors = case.tensors(dtype)
    tensors["x"].fill_(100.0)
    tensors["weight"].fill_(75.0)
    output = capsroute.dynamic_routing(**tensors, **case.options())
    torch.testing.assert_close(output.double().norm(dim=-1), torch.ones(3, 5, dtype=torch.float64), rtol=4e-3, atol=0)


@covering(
    bad=[torch.nan, torch.inf, -torch.inf], sizes=[(37, 9, 5, 7, 6), (3, 33, 8, 10, 16), (17, 5, 3, 2, 33)],
    softmax=SOFTMAXES, gradient=GRADIENTS, entry=ENTRIES,
)  # fmt: skip
@each_kernel
def test_nan_and_infinity_stay_in_their_sample(
    bad: float, sizes: tuple[int, int, int, int, int], softmax: str, gradient: str, entry: str, kernel: str
) -> None:
    """Output and gradient of the other samples are the same to the last bit; the sample itself shows it."""
    case = Case(sizes, softmax=softmax, gradient=gradient, logits="sample", bias=True)
    tensors, grad = arguments(case, entry), case.output_gradient(torch.float32)
    clean = fused(tensors, case.options(), grad)
    first, victim = next(iter(tensors)), sizes[0] // 2
    spoiled = {**tensors, first: tensors[first].clone()}
    spoiled[first][victim, 1] = bad
    result = fused(spoiled, case.options(), grad)
    others = torch.arange(sizes[0]) != victim
    for name in ("output", first, "logits"):
        assert torch.equal(result[name][others], clean[name][others]), name
    assert not torch.isfinite(result["output"][victim]).any()
    assert not torch.isfinite(result[first][victim]).all()


@pytest.mark.parametrize("argument", ["logits", "grad"])
@each_kernel
def test_nan_elsewhere_stays_in_its_sample(argument: str, kernel: str) -> None:
    case = Case((37, 9, 5, 7, 6), logits="sample")
    tensors = {**case.tensors(torch.float32), "grad": case.output_gradient(torch.float32)}
    spoiled = {**tensors, argument: tensors[argument].clone()}
    spoiled[argument][11] = torch.nan
    clean = fused(tensors, case.options(), tensors.pop("grad"))
    result = fused(spoiled, case.options(), spoiled.pop("grad"))
    others = torch.arange(37) != 11
    for name in ("output", "x", "logits"):
        assert torch.equal(result[name][others], clean[name][others]), name
    assert torch.isnan(result["x"][11]).all()


@covering(softmax=SOFTMAXES, entry=ENTRIES, batch=[1, 2, 5, 16, 33])
@each_kernel
def test_a_sample_is_the_same_in_any_batch(softmax: str, entry: str, batch: int, kernel: str) -> None:
    """The first samples of a larger batch, alone."""
    case = Case((37, 19, 5, 7, 6), softmax=softmax, logits="shared")
    tensors, grad = arguments(case, entry), case.output_gradient(torch.float32)
    first = next(iter(tensors))
    whole = fused(tensors, case.options(), grad)
    part = {**tensors, first: tensors[first][:batch]}
    alone = fused(part, case.options(), grad[:batch])
    assert_matches_reference(part, case.options(), grad[:batch], actual=alone)
    for name in ("output", first):
        torch.testing.assert_close(alone[name], whole[name][:batch], rtol=1e-5, atol=1e-6)


@contextmanager
def poisoned_memory() -> Iterator[None]:
    """``torch.empty`` gives NaN (the largest number for integers), for outputs and workspace alike."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        assert torch.utils.deterministic.fill_uninitialized_memory
        assert torch.isnan(torch.empty(3)).all()
        yield
    finally:
        torch.use_deterministic_algorithms(before)


POISON_CASES = [
    Case((37, 33, 5, 7, 12)),
    Case((1, 130, 8, 10, 16), softmax="inputs", bias=True, logits="shared"),
    Case((17, 20, 16, 3, 9), softmax="leaky", gradient="last", logits="sample", input_mask=True, output_mask=True),
    Case((5, 12, 3, 4, 4), weights="shared", softmax="inputs", gradient="last", input_mask=True, iterations=1),
    # Several waves and chunks where votes are kept.
    Case((45, 70, 8, 7, 13), input_weight=True, logits="shared", logit_update="replace", squash="clamped"),
    Case((45, 70, 8, 7, 13), softmax="inputs", bias=True, logits="shared", input_mask=True),
]


@covering(case=POISON_CASES, entry=ENTRIES, dtype=DTYPES)
@each_kernel
def test_uninitialised_memory_is_never_read(case: Case, entry: str, dtype: torch.dtype, kernel: str) -> None:
    tensors, grad = arguments(case, entry, dtype), case.output_gradient(dtype)
    expected = fused(tensors, case.options(), grad)
    with poisoned_memory():
        actual = fused(tensors, case.options(), grad)
    assert_bitwise_equal(actual, expected)
