"""Drawn errors: as large as those of plain PyTorch, the same on every machine, none where nothing is rounded."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from .rounding import FEW, Draws

X = torch.randn(40, 30, generator=torch.Generator().manual_seed(0)).double()
FORMULAE = {
    "sum": lambda x: x.sum(1),
    "product of matrices": lambda x: x @ x.T,
    "einsum": lambda x: torch.einsum("ij,kj->ik", x, x),
    "softmax": lambda x: x.softmax(1),
    "root and quotient": lambda x: x / (x * x).sum(1, keepdim=True).sqrt(),
    "exponential": lambda x: x.exp(),
    "in place": lambda x: x.clone().mul_(1 / 3),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", FORMULAE)
def test_errors_are_those_of_rounding(name: str, dtype: torch.dtype) -> None:
    """Neither many times the unit of the dtype at its terms, nor nothing."""
    truth = FORMULAE[name](X)
    error = torch.stack([(drawn - truth).abs().amax() for drawn in Draws(lambda: FORMULAE[name](X), dtype)(FEW)])
    unit = torch.finfo(dtype).eps * FORMULAE[name](X.abs()).amax()
    assert unit / 20 < error.max() < 4 * unit


def test_as_large_as_what_plain_pytorch_makes() -> None:
    """Over many elements, where chance evens out: within a factor of two of the observed error, in the mean."""

    def formula(x: torch.Tensor) -> torch.Tensor:
        return torch.einsum("bi,ij->bj", x[:32], (x[:30] / 7).softmax(1)).tanh()

    observed = (formula(X.float()) - formula(X)).abs().mean()
    drawn = torch.stack([(one - formula(X)).abs().mean() for one in Draws(lambda: formula(X), torch.float32)(FEW)])
    assert 0.5 < float(drawn.mean() / observed) < 2


def test_what_is_held_exactly_is_not_rounded() -> None:
    def formula() -> torch.Tensor:
        return torch.cat([X.flip(0)[3:].clone(), 4 * X.abs().amax(1, keepdim=True).expand(-1, 30).neg()])

    for drawn in Draws(formula, torch.float32)(FEW):
        assert torch.equal(drawn, formula())


def test_gradients_are_rounded_too() -> None:
    def gradient() -> torch.Tensor:
        leaf = X.clone().requires_grad_()
        return torch.autograd.grad((leaf.softmax(1) ** 2).sum(), leaf)[0]

    drawn, truth = Draws(gradient, torch.float32)(FEW), gradient()
    assert all((one != truth).any() for one in drawn)
    assert not torch.equal(drawn[0], drawn[1])


def test_draws_are_the_same_on_every_machine() -> None:
    """As far as torch's kernels for other instruction sets stand for other machines."""
    code = (
        "import torch\n"
        "from python_tests.routing.rounding import Draws\n"
        "from python_tests.routing.test_rounding import X\n"
        "print(*(float(d.abs().sum()) for d in Draws(lambda: (X @ X.T).softmax(1) @ X, torch.float32)(8)))"
    )

    def printed(capability: str) -> list[float]:
        instructions = {"ATEN_CPU_CAPABILITY": capability, "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"} if capability else {}
        environment = {**os.environ, **instructions}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        return [float(word) for word in done.stdout.split()]

    here, there = printed(""), printed("default")
    # In float64 libraries still differ, and now and then a number is on the edge between two of float32.
    assert len(here) == len(there) > 1
    assert all(abs(a - b) < 1e-7 * abs(a) for a, b in zip(here, there, strict=True))
