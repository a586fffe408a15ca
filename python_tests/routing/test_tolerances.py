"""The rule of the tests must let through what rounding does and nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from .tolerances import assert_faithful, ulp

TRUTH = torch.randn(5, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
STEP = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 0.05, torch.float16: 0.01}  # just too much


def plain(*results: torch.Tensor) -> Callable[[int], list[torch.Tensor]]:
    return lambda count: list(results)


exact = plain(TRUTH)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_correct_rounding_passes(dtype: torch.dtype) -> None:
    assert_faithful(TRUTH.to(dtype), TRUTH, exact, name="rounded")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_one_wrong_element_fails(dtype: torch.dtype) -> None:
    wrong = TRUTH.to(dtype, copy=True)
    wrong[3, 2] += STEP[dtype]
    with pytest.raises(AssertionError, match=r"at \(3, 2\)"):
        assert_faithful(wrong, TRUTH, exact, name="wrong")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_nan_and_shape_fail(dtype: torch.dtype) -> None:
    wrong = TRUTH.to(dtype, copy=True)
    wrong[0, 0] = torch.nan
    with pytest.raises(AssertionError, match="not finite"):
        assert_faithful(wrong, TRUTH, exact, name="nan")
    with pytest.raises(AssertionError, match="shape"):
        assert_faithful(TRUTH.to(dtype)[:4], TRUTH, exact, name="cut")


def test_zeros_below_the_element_bound_are_seen() -> None:
    truth = TRUTH.clone()
    truth[2] *= 1e-9
    lost = truth.float()
    lost[2] = 0
    with pytest.raises(AssertionError, match=r"indices \[2\] of axis 0"):
        assert_faithful(lost, truth, plain(truth.float()), name="lost row")


def test_many_small_errors_are_seen() -> None:
    """Less than 1e-6 of the largest element each, but all of what the other elements are."""
    truth = torch.full((400,), 1e-6, dtype=torch.float64)
    truth[0] = 1.0
    wrong = truth.float()
    wrong[1:] = 1.9e-6
    with pytest.raises(AssertionError, match="L2 error"):
        assert_faithful(wrong, truth, plain(truth.float()), name="drift")


def test_a_quantity_that_cancels_needs_its_terms() -> None:
    noise, zero = torch.full((3,), 1e-7), torch.zeros(3, dtype=torch.float64)
    with pytest.raises(AssertionError, match="above"):
        assert_faithful(noise, zero, plain(zero.float()), name="cancelled")
    assert_faithful(noise, zero, plain(zero.float()), name="cancelled", terms=1.0)


def test_the_largest_error_of_plain_pytorch_counts() -> None:
    off = (TRUTH + 2e-5).float()
    with pytest.raises(AssertionError, match="above"):
        assert_faithful(off, TRUTH, plain(TRUTH.float()), name="off")
    assert_faithful(off, TRUTH, plain(TRUTH.float(), (TRUTH - 1.5e-5).float()), name="off")


@pytest.mark.parametrize(("dtype", "value", "expected"), [
    (torch.bfloat16, 1.0, 2**-7),
    (torch.bfloat16, -3.9, 2**-6),
    (torch.float16, 0.0, 2**-24),
    (torch.float16, 2048.0, 2.0),
])  # fmt: skip
def test_ulp(dtype: torch.dtype, value: float, expected: float) -> None:
    assert float(ulp(torch.tensor(value), dtype)) == expected
