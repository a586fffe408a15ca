"""What docs/migrate.md says of code with a fault: the options give the same without it, others with it, and the page's
functions find it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

import capsroute
from capsroute import nn, testing

from .check import DTYPES, assert_same
from .differences import DIFFERENCES, Dgl, deepcaps_conv, forensics, naturomics_early, shared_logits
from .page import PAGE, from_page
from .row import B, D, I, J, Row, d, evaluate
from .rows import ROWS
from .squashes import no_eps


def _stated(row: Row, **keywords: Any) -> Row:
    return replace(row, theirs=partial(row.theirs, **keywords))


@pytest.mark.parametrize("row", DIFFERENCES, ids=lambda row: row.name)
def test_same_without_the_fault(row: Row, backend: str) -> None:
    assert_same(_stated(row, fault=False), torch.float64)


@pytest.mark.parametrize("row", DIFFERENCES, ids=lambda row: row.name)
def test_other_results_with_the_fault(row: Row) -> None:
    tensors = row.tensors(torch.float64)
    with testing.backend("reference"):
        assert_same(_stated(row, fault=False), torch.float64)
        theirs, ours = (evaluate(_stated(row, fault=True), who, tensors)[0]["result 0"] for who in ("theirs", "ours"))
    assert (theirs - ours).abs().max() > 0.01 * ours.abs().max()


# ---- The functions of the page

BATCH, VECTOR, CALLS = (
    "a sample depends on its batch",
    "a capsule is not one vector",
    "a call depends on the calls before",
)


class _Dgl:
    """A layer for a batch, each sample with the one graph of its place."""

    def __init__(self) -> None:
        self.graphs = [Dgl(fault=True) for _ in range(B)]

    def __call__(self, x: Tensor, weight: Tensor) -> Tensor:
        votes = torch.einsum("ijkp,bip->bijk", weight, x).flatten(1, 2)
        return torch.cat([graph(sample, 1) for graph, sample in zip(self.graphs, votes, strict=False)])


@pytest.mark.parametrize(("layer", "expected"), [
    (capsroute.dynamic_routing, []),
    (lambda x, weight: shared_logits(x, weight[None], squash_dim=2, fault=True), [BATCH, VECTOR]),
    (lambda x, weight: shared_logits(x, weight[None], squash_dim=4, fault=True), [BATCH, VECTOR]),
    (lambda x, weight: shared_logits(x, weight[None], squash_dim=2, fault=True, mean=False), [VECTOR]),
    (lambda x, weight: naturomics_early(x, weight.mT[None], fault=True), [BATCH]),
    (lambda x, weight: forensics(x, weight.transpose(0, 1), fault=True), [VECTOR]),
    (_Dgl(), [CALLS]),
])  # fmt: skip
def test_faults_are_found(layer: Any, expected: list[str]) -> None:
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.randn(B, I, d, generator=generator), 0.5 * torch.randn(I, J, D, d, generator=generator)
    for dtype in DTYPES:
        found = from_page(PAGE, "faults")(layer, x.to(dtype), weight.to(dtype))
        # Where a call depends on those before, all else may differ too.
        assert (found[:1] if CALLS in found else found) == expected


@pytest.mark.parametrize("options", [
    {"softmax_over": "inputs"}, {"leaky": True}, {"squash": "exponential"}, {"logit_update": "replace"}, {"eps": 0},
    {"squash": "shifted", "iterations": 4},
])  # fmt: skip
def test_no_faults_are_found_in_ours(options: dict[str, Any]) -> None:
    x, weight = torch.randn(B, I, d), torch.randn(I, J, D, d) * 0.5
    assert from_page(PAGE, "faults")(partial(capsroute.dynamic_routing, **options), x, weight) == []


def test_squashes_that_are_no_squashes_are_found() -> None:
    """The squash of ``s [B, 1, J, D, 1]`` along D, along J, and of each component."""
    squashes_vectors = from_page(PAGE, "squashes_vectors")
    s = 5 * torch.randn(B, 1, J, D, 1)
    assert squashes_vectors(partial(no_eps, dim=3), s, axis=3)
    assert not squashes_vectors(partial(no_eps, dim=2), s, axis=3)
    assert not squashes_vectors(partial(no_eps, dim=4), s, axis=3)


def test_a_squash_over_positions_is_found() -> None:
    """With one iteration a position knows nothing of the others, unless they share a squash."""

    def layer(poses: Tensor, fault: bool) -> Tensor:
        votes = poses.repeat_interleave(J, 1).unflatten(1, (I, J))  # a 1 x 1 convolution with D = d
        s = votes.mean(1)
        n = (s**2).sum((2, 3, 4) if fault else 2, keepdim=True)
        return n / (1 + n) / n.sqrt() * s

    positions_apart, poses = from_page(PAGE, "positions_apart"), torch.randn(B, I, d, 3, 3)
    assert positions_apart(partial(layer, fault=False), poses)
    assert not positions_apart(partial(layer, fault=True), poses)
    ours = nn.ConvCapsules2d(I, d, J, D, 1, window="joined", share_types=True, jointly=True, iterations=1)
    assert positions_apart(ours, poses)


# ---- What the page says besides


@pytest.mark.parametrize("r", [1, 2, 3])
def test_shared_logits_do_not_matter_with_one_sample(r: int) -> None:
    x, weight = torch.randn(1, I, d, dtype=torch.float64), torch.randn(1, I, J, D, d, dtype=torch.float64)
    theirs = shared_logits(x, weight, 3, fault=False, mean=True, r=r)
    ours = capsroute.dynamic_routing(x, weight[0], iterations=r, softmax_over="inputs", eps=0)
    torch.testing.assert_close(ours, theirs)


def test_logits_of_components_do_not_matter_with_one_iteration() -> None:
    x, weight = torch.randn(B, I, d, dtype=torch.float64), torch.randn(J, I, D, d, dtype=torch.float64)
    ours = capsroute.dynamic_routing(x, weight.transpose(0, 1), iterations=1, softmax_over="inputs", eps=0)
    torch.testing.assert_close(ours, forensics(x, weight, fault=True, r=1))


@pytest.mark.parametrize("r", [1, 3])
def test_logits_can_stay(r: int) -> None:
    """``dgl_routing`` of the page, over calls with votes that change."""
    dgl_routing, layer = from_page(PAGE, "dgl_routing"), Dgl(fault=True)
    logits = torch.zeros(1, I, J, dtype=torch.float64)
    for _ in range(3):
        votes = torch.randn(I * J, D, dtype=torch.float64)
        v, logits = dgl_routing(votes, logits, r)
        torch.testing.assert_close(v, layer(votes, r))


def test_positions_share_a_length() -> None:
    """With votes that are long enough for both."""
    row = next(row for row in DIFFERENCES if row.theirs is deepcaps_conv)
    tensors = row.tensors(torch.float64)
    tensors["votes"] *= 10
    theirs, ours = (deepcaps_conv(**tensors, fault=fault) for fault in (True, False))
    assert theirs.flatten(2).norm(dim=2).max() < 1  # [B, J]: over h, w and D
    assert ours.flatten(2).norm(dim=2).max() > 1
    assert ours.norm(dim=-1).max() < 1


def test_no_nan_where_they_have_one() -> None:
    """Capsules of zeros, without a bias: statements without ε are NaN there, ours is 0 with the gradient 0."""
    for row in ROWS:
        # The squash of 2018 divides by nothing that can be 0.
        if row.options.get("eps") == 0 and "weight" in row.shapes and "2018" not in row.name:
            tensors = {key: torch.zeros_like(t) for key, t in row.tensors(torch.float64).items()}
            theirs, _ = evaluate(row, "theirs", tensors)
            results, grads = evaluate(row, "ours", tensors)
            assert theirs["result 0"].isnan().all(), row.name
            assert not results["result 0"].any(), row.name
            assert all(not gradient.any() for gradient in grads.values()), row.name
