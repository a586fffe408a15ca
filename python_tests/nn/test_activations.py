"""squash and capsule_lengths: values, gradients, zero, half types."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from capsroute.nn import CapsuleLengths, Squash, capsule_lengths, squash
from capsroute.routing.options import SQUASHES


def test_squash_of_a_known_vector():
    # |s| = 5: the length becomes 25/26, the direction stays.
    squashed = squash(torch.tensor([[3.0, 4.0]], dtype=torch.float64), eps=0.0)
    expected = torch.tensor([[0.6, 0.8]], dtype=torch.float64) * 25 / 26
    torch.testing.assert_close(squashed, expected, rtol=1e-15, atol=0)


@pytest.mark.parametrize("kind", SQUASHES)
def test_squash_gradient(kind):
    capsules = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    for eps in (0.0, 1e-8, 0.1):
        assert torch.autograd.gradcheck(lambda c: squash(c, eps, kind), capsules)  # noqa: B023


R = 1.7  # a length; what each formula makes of it
KINDS = {
    "standard": (None, R * R / (1 + R * R) * R / math.sqrt(R * R + 0.01)),
    "norm_eps": (None, R * R / (1 + R * R) * R / (R + 0.01)),
    "clamped": (None, R * R / (1 + R * R)),
    "shifted": (0.5, math.sqrt(R * R + 0.01) / (0.5 + R * R + 0.01) * R),
    "exponential": (None, (1 - math.exp(-R)) * R / (R + 0.01)),
    "power": (0.7, (R * R / (1 + R * R)) ** 0.7),
    "none": (None, R),
}


@pytest.mark.parametrize("kind", SQUASHES)
def test_squash_by_name(kind):
    constant, expected = KINDS[kind]
    capsules = R * torch.tensor([0.6, 0.0, -0.8], dtype=torch.float64)
    squashed = squash(capsules, 0.01, kind, constant)
    torch.testing.assert_close(squashed, capsules / R * expected, rtol=1e-14, atol=0)
    assert torch.equal(Squash(0.01, kind, constant)(capsules), squashed)


@pytest.mark.parametrize("kind", SQUASHES)
def test_every_squash_is_finite_at_zero_and_next_to_it(kind):
    for eps, dtype in itertools.product((0.0, 1e-8), (torch.float32, torch.float64, torch.bfloat16, torch.float16)):
        capsules = torch.tensor([[0.0, 0.0], [1e-30, 0.0], [1e-5, 0.0]], dtype=dtype, requires_grad=True)
        squashed = squash(capsules, eps, kind)
        squashed.sum().backward()
        assert squashed.dtype == dtype
        assert torch.isfinite(capsules.grad).all()
        assert torch.equal(squashed[0], torch.zeros(2, dtype=dtype))
        if kind == "standard":
            assert torch.equal(capsules.grad[0], torch.zeros(2, dtype=dtype))


def test_exponential_squash_of_short_capsules_is_exact():
    """1 - exp(-r) is not found by a subtraction, which would cancel."""
    capsules = torch.tensor([[1e-6, 0.0]])
    assert squash(capsules, 0.0, "exponential")[0, 0].item() == pytest.approx(1e-6, rel=1e-6)


def test_unknown_squash():
    with pytest.raises(ValueError, match=r"kind must be one of .* got 'square'"):
        squash(torch.zeros(2), kind="square")
    with pytest.raises(ValueError, match="squash_constant"):
        Squash(constant=2.0)


def test_squash_computes_half_types_in_float32():
    for dtype in (torch.bfloat16, torch.float16):
        capsules = (torch.randn(50, 8) * 100).to(dtype)  # squares beyond float16's 65504
        assert torch.equal(squash(capsules), squash(capsules.float()).to(dtype))


def test_lengths_of_known_vectors():
    capsules = torch.tensor([[3.0, 4.0], [0.0, 0.0], [-1.0, 0.0]])
    assert capsule_lengths(capsules).tolist() == [5.0, 0.0, 1.0]


def test_length_gradient_is_the_direction_and_zero_at_zero():
    capsules = torch.tensor([[3.0, 4.0], [0.0, 0.0]], requires_grad=True)
    capsule_lengths(capsules).sum().backward()
    torch.testing.assert_close(capsules.grad, torch.tensor([[0.6, 0.8], [0.0, 0.0]]))


def test_lengths_of_half_types_are_float32():
    assert capsule_lengths(torch.full((2, 4), 200.0, dtype=torch.float16)).tolist() == [400.0, 400.0]
    assert capsule_lengths(torch.ones(1, 4, dtype=torch.bfloat16)).dtype == torch.float32


def test_modules_are_the_functions():
    capsules = torch.randn(2, 3, 4)
    assert torch.equal(Squash(eps=0.3)(capsules), squash(capsules, 0.3))
    assert torch.equal(CapsuleLengths()(capsules), capsule_lengths(capsules))
    assert repr(Squash(eps=0.3)) == "Squash(eps=0.3, kind='standard')"


@pytest.mark.parametrize("function", [squash, capsule_lengths])
def test_bad_capsules(function):
    with pytest.raises(TypeError, match=r"capsules must be float32, .* got torch\.int64: give capsules\.float\(\)"):
        function(torch.ones(2, 3, dtype=torch.int64))
    with pytest.raises(ValueError, match="capsules must have at least one dimension"):
        function(torch.tensor(1.0))


def test_bad_eps():
    for function in (lambda eps: squash(torch.ones(2), eps), Squash):
        for eps in (-1e-9, math.nan):
            with pytest.raises(ValueError, match="eps must be a finite number of at least 0"):
                function(eps)
