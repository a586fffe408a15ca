"""Votes that all outputs share are routed as any others, with every option and to every gradient."""

from __future__ import annotations

import pytest
import torch

from capsroute import reference
from capsroute.nn.shared_votes import route_shared_votes
from capsroute.routing.options import RoutingOptions

B, INPUTS, OUTPUTS, SIZE = 3, 6, 4, 5
OPTIONS = [
    {},
    {"iterations": 1},
    {"softmax_over": "inputs"},
    {"leaky": True, "temperature": (2.0, 1.0, 0.5)},
    {"logit_update": "replace", "agreement_factor": 2.0},
    {"squash": "shifted", "squash_constant": 0.7},
    {"squash": "exponential", "eps": 1e-3},
    {"squash": "power", "squash_constant": 2.0},
    {"squash": "none"},
    {"gradient": "all"},
    {"gradient": "detached_votes"},
]


def tensors():
    torch.manual_seed(0)
    votes = torch.randn(B, INPUTS, SIZE, dtype=torch.float64, requires_grad=True)
    weight = torch.rand(B, INPUTS, dtype=torch.float64, requires_grad=True)
    logits = torch.randn(B, INPUTS, OUTPUTS, dtype=torch.float64)
    masks = {"input_mask": torch.rand(B, INPUTS) > 0.3, "output_mask": torch.rand(B, OUTPUTS) > 0.3}
    return votes, weight, logits, masks


@pytest.mark.parametrize("learned", [False, True], ids=["logits", "learned logits"])
@pytest.mark.parametrize("masked", [False, True], ids=["", "masks"])
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weights"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_as_with_votes_of_their_own(options, weighted, masked, learned):
    votes, weight, logits, masks = tensors()
    call = {"logits": logits.requires_grad_(learned), **(masks if masked else {})}
    if weighted:
        call["input_weight"] = weight
    chosen = RoutingOptions(**{"gradient": "last", **options})
    actual = route_shared_votes(votes, OUTPUTS, chosen, **call)
    each = votes[:, :, None].expand(-1, -1, OUTPUTS, -1)
    expected = reference.route_votes(each, **call, **chosen.keywords())
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-14)

    inputs = [votes, *([weight] if weighted else []), *([logits] if learned else [])]
    direction = torch.randn_like(expected)
    gradients = [
        torch.autograd.grad(result, inputs, direction, materialize_grads=True) for result in (actual, expected)
    ]
    for tensor, ours, theirs in zip(inputs, *gradients, strict=True):
        dropped = tensor is logits and chosen.logit_update == "replace"
        assert bool(theirs.abs().max() > 0) is not dropped
        torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-13)


def test_no_logits_and_no_gradient():
    votes = tensors()[0]
    with torch.no_grad():
        actual = route_shared_votes(votes, OUTPUTS, RoutingOptions(gradient="last"))
    expected = reference.route_votes(votes[:, :, None].expand(-1, -1, OUTPUTS, -1))
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_types_are_as_exact_as_the_kernels(dtype):
    votes = torch.randn(B, 200, SIZE).to(dtype).requires_grad_()
    logits = torch.randn(B, 200, OUTPUTS).to(dtype)
    options = RoutingOptions(gradient="last")
    actual = route_shared_votes(votes, OUTPUTS, options, logits=logits)
    exact = route_shared_votes(votes.float(), OUTPUTS, options, logits=logits.float())
    torch.testing.assert_close(actual.float(), exact, rtol=2 * torch.finfo(dtype).eps, atol=0)
    assert torch.autograd.grad(actual.float().sum(), votes)[0].abs().max() > 0
