"""Every option on two and four ranks against the definition, forward and all gradients, in every dtype."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch

from ..kernels import cuda_backends
from ..routing.cases import DTYPES, Case, coupling_cases, option_cases
from ..routing.compare import assert_bitwise_equal, assert_matches_reference
from .pool import Ranks
from .tasks import bounds, learning, routed, tensors_of, together

ALL = [*option_cases(), *coupling_cases()]


def _assert_matches(
    ranks: Ranks,
    number: int,
    case: Case,
    entry: str = "dynamic_routing",
    dtype: torch.dtype = torch.float64,
    **how: Any,
) -> None:
    whole = tensors_of(case, entry, dtype)
    actual = together(ranks.run(routed, case, entry, dtype, ranks=number, **how), whole)
    assert_matches_reference(whole, case.options(), case.output_gradient(dtype), actual=actual)


@pytest.mark.parametrize(("case", "number"), [(c, 2 + 2 * (n % 2)) for n, c in enumerate(ALL)], ids=str)
def test_dynamic_routing_in_float64(case: Case, number: int, ranks: Ranks) -> None:
    _assert_matches(ranks, number, case, uneven=number == 2)


@pytest.mark.parametrize(("case", "dtype"), [(c, DTYPES[n % 4]) for n, c in enumerate(ALL)], ids=str)
def test_dynamic_routing_in_every_dtype(case: Case, dtype: torch.dtype, ranks: Ranks) -> None:
    if case.weights == "shared" and dtype in (torch.bfloat16, torch.float16):
        case = dataclasses.replace(case, weights="own")  # each rank rounds its part of the shared gradient
    _assert_matches(ranks, 4, case, dtype=dtype, uneven=True)


@pytest.mark.parametrize(("case", "dtype"), [(c, DTYPES[(n + 1) % 4]) for n, c in enumerate(ALL)], ids=str)
def test_route_votes(case: Case, dtype: torch.dtype, ranks: Ranks) -> None:
    _assert_matches(ranks, 2, case, "route_votes", dtype)


FUSED = {"backend": "cuda_emulated", "kernel": "fused"}
EMULATED = pytest.mark.skipif(
    "cuda_emulated" not in cuda_backends(), reason="needs the emulation (CAPSROUTE_EMULATION=1)"
)


@EMULATED
@pytest.mark.parametrize("case", [c for c in ALL if c.votes() < 1000][::3], ids=str)
def test_plain_cuda_kernels(case: Case, ranks: Ranks) -> None:
    _assert_matches(ranks, 2, case, uneven=True, backend="cuda_emulated", kernel="plain")


@EMULATED
@pytest.mark.parametrize("case", [c for c in ALL if c.votes() < 1000], ids=str)
def test_fused_cuda_kernels(case: Case, ranks: Ranks) -> None:
    _assert_matches(ranks, 2, case, dtype=torch.float32, uneven=True, **FUSED)


@EMULATED
@pytest.mark.parametrize("softmax", ["outputs", "inputs"])
@pytest.mark.parametrize("logits", ["none", "shared"])
def test_fused_cuda_kernels_with_outputs_of_several_blocks(softmax: str, logits: str, ranks: Ranks) -> None:
    """More outputs than a warp holds, two tiles of samples, and more components than one column tile."""
    case = Case((18, 5, 3, 11, 9), softmax=softmax, logits=logits, bias=True)
    for entry in ("route_votes", "dynamic_routing"):
        _assert_matches(ranks, 2, case, entry, torch.float32, **FUSED)


@pytest.mark.parametrize("case", [c for c in ALL if c.input_mask][::3], ids=str)
@pytest.mark.parametrize("entry", ["dynamic_routing", "route_votes"])
def test_absent_inputs_are_never_used(case: Case, entry: str, ranks: Ranks) -> None:
    clean, poisoned = (ranks.run(routed, case, entry, torch.float32, poison=p, ranks=2) for p in (None, math.nan))
    for one, other in zip(clean, poisoned, strict=True):
        assert_bitwise_equal(other, one)


@pytest.mark.parametrize("softmax", ["outputs", "leaky", "inputs"])
@pytest.mark.parametrize("logits", ["none", "sample"])
@pytest.mark.parametrize("without", [0, 1])
def test_a_rank_without_any_input_that_is_there(softmax: str, logits: str, without: int, ranks: Ranks) -> None:
    case = Case((5, 7, 3, 5, 2), softmax=softmax, logits=logits, input_mask=True, bias=True)
    whole = tensors_of(case, "dynamic_routing", torch.float64)
    ends = bounds(7, 2, uneven=False)
    whole["input_mask"][:, ends[without] : ends[without + 1]] = False
    assert whole["input_mask"].any(), "the other rank has no input either"
    parts = ranks.run(routed, case, poison=math.nan, without=without, ranks=2)
    assert_matches_reference(whole, case.options(), case.output_gradient(), actual=together(parts, whole))


@pytest.mark.parametrize("softmax", ["outputs", "inputs"])
@pytest.mark.parametrize("gradient", ["all", "detached_votes", "last"])
def test_ranks_may_need_gradients_of_different_arguments(softmax: str, gradient: str, ranks: Ranks) -> None:
    case = Case((3, 8, 4, 5, 7), softmax=softmax, gradient=gradient, bias=True, logits="shared", input_weight=True)
    learns = ["x", "bias", "logits", "weight"]
    alone = ranks.run(learning, case, learns)
    for one, expected, name in zip(alone, ranks.run(routed, case), learns, strict=True):
        torch.testing.assert_close(one, expected[name], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("softmax", ["outputs", "inputs"])
def test_an_empty_batch(softmax: str, ranks: Ranks) -> None:
    case = Case((0, 6, 4, 5, 3), softmax=softmax, bias=True, logits="shared")
    for part in ranks.run(routed, case):
        assert part["output"].shape == (0, 5, 3)
        assert part["weight"].shape[1:] == (5, 3, 4)
        assert not part["weight"].any()
        assert not part["bias"].any()


@pytest.mark.parametrize("softmax", ["outputs", "inputs"])
def test_the_same_bits_again(softmax: str, ranks: Ranks) -> None:
    case = Case((17, 40, 8, 10, 16), softmax=softmax, bias=True)
    first, again = (ranks.run(routed, case, dtype=torch.float32) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        assert_bitwise_equal(other, one)


def test_one_rank_alone(ranks: Ranks) -> None:
    _assert_matches(ranks, 1, Case((5, 7, 4, 5, 3), softmax="inputs", bias=True))
