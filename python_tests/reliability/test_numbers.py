"""What is cheap of the numbers under stress: every stress in float32, some kernels; all kinds of NaN and infinity."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

import capsroute

from ..kernels import cuda_backends, usable_cpu_isas
from ..routing.compare import fused
from . import errors, numbers, poison
from .differences import differences
from .stress import STRESSES, Stress

STRESS = pytest.mark.parametrize("stress", [s for s in STRESSES if not s.large], ids=lambda s: s.name)
_WIDEST, _PLAINEST = usable_cpu_isas()[-1], usable_cpu_isas()[0]
_EMULATED = [name for name in cuda_backends() if name == "cuda_emulated"]


@pytest.fixture(autouse=True)
def _one_thread(_torch_settings: None) -> None:
    torch.set_num_threads(1)


@STRESS
@pytest.mark.parametrize("dtype", [torch.float32, pytest.param(torch.float64, marks=pytest.mark.nightly)], ids=str)
def test_the_rule_holds_under_stress(stress: Stress, dtype: torch.dtype) -> None:
    names = [f"{_WIDEST}-made", f"{_WIDEST}-wave", f"{_PLAINEST}-made"]
    if dtype == torch.float32 and stress.case("inputs").iterations <= 3:
        names += _EMULATED
    for softmax in stress.softmaxes:
        for line in errors.measure(stress, softmax, dtype, names):
            assert not line.problem or numbers.known(line), f"{softmax}, {line.kernel}: {line.problem}"


@pytest.mark.nightly
def test_the_rule_holds_for_a_million_inputs() -> None:
    """With a softmax over inputs it did not where a chunk had more than some thousands of them."""
    (stress,) = (s for s in STRESSES if s.name == "I = 1,000,000")
    (line,) = errors.measure(stress, "inputs", torch.float32, [f"{_WIDEST}-made"])
    assert not line.problem


@pytest.mark.parametrize("name", ["ordinary numbers", "large x", "logits of ±1e4", "T = 100", "D = 1"])
def test_gradients_are_those_of_differences(name: str) -> None:
    for row in numbers.difference_rows(name):
        for argument, found in row["arguments"].items():
            assert found["agrees"], f"{row['softmax']}, {argument}: {found}"


def test_differences_see_a_wrong_gradient() -> None:
    tensors, options, grad = STRESSES[0].arguments("outputs", torch.float64)
    gradients = fused(tensors, options, grad)
    gradients["x"] *= 1 + 1e-5
    route: Any = capsroute.dynamic_routing
    found = differences(lambda t: route(**t, **options), tensors, gradients, grad)
    assert not found["x"].agrees
    assert found["weight"].agrees


@pytest.mark.parametrize("spoiled", poison.POISONS, ids=lambda p: p.name)
@pytest.mark.parametrize("dtype", [torch.float32, pytest.param(torch.bfloat16, marks=pytest.mark.nightly)], ids=str)
@pytest.mark.parametrize("name", [f"{_WIDEST}-made", f"{_WIDEST}-wave", *_EMULATED])
def test_nothing_leaks_and_no_number_is_wrong_unseen(spoiled: poison.Poison, dtype: torch.dtype, name: str) -> None:
    for softmax in ("outputs", "inputs"):
        for bad in (math.nan, math.inf):
            (outcome,) = poison.measure(spoiled, softmax, dtype, bad, [name])
            assert outcome["leaked"] == outcome["silent"] == 0, f"{softmax}, {bad}: {outcome}"


@pytest.mark.parametrize("name", [f"{_WIDEST}-made", f"{_WIDEST}-wave", *_EMULATED])
@pytest.mark.parametrize("softmax", ["outputs", "inputs"])
def test_an_overflow_is_seen(softmax: str, name: str) -> None:
    (outcome,) = poison.overflow(softmax, torch.float32, [name])
    assert outcome["silent"] == 0, outcome
