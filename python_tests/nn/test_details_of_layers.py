"""Details of a layer are those of the op for what the layer routes, and its output stays the same, bit for bit."""

from __future__ import annotations

import itertools

import pytest
import torch

from capsroute import reference
from capsroute.nn import CapsuleLayer, ConvCapsules2d, InterestCapsules
from capsroute.routing.options import DETAILS


def assert_details(actual, expected):
    for name in ("output", *DETAILS):
        torch.testing.assert_close(getattr(actual, name), getattr(expected, name), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("routing", ["fused", "reference"])
def test_of_a_capsule_layer(routing):
    layer = CapsuleLayer(6, 4, 3, 5, bias=True, learnable_logits=True, routing=routing, iterations=2).double()
    x, mask = torch.randn(2, 6, 4).double(), torch.rand(2, 6) > 0.3
    actual = layer(x, input_mask=mask, details=DETAILS)
    call = {"logits": layer.logits, "input_mask": mask, "iterations": 2, "details": DETAILS}
    assert_details(actual, reference.dynamic_routing(x, layer.weight, layer.bias, **call))
    assert torch.equal(layer(x, input_mask=mask, details=["coupling"]).output, layer(x, input_mask=mask))


@pytest.mark.parametrize("kind", [{"bilinear_type": 0}, {"bilinear_type": 1, "vote_bias": True}, {"bilinear_type": 2}])
def test_of_interests(kind):
    layer = InterestCapsules(4, 3, 5, max_items=6, **kind).double()
    items, mask, logits = torch.randn(2, 6, 4).double(), torch.rand(2, 6) > 0.3, torch.randn(6, 3).double()
    bias = 0 if layer.bias is None else layer.bias
    votes = torch.einsum("bid,ijkd->bijk", items, layer.weight.expand(6, 3, 5, 4)) + bias
    options = layer.options.keywords()
    actual = layer(items, mask, logits=logits, details=DETAILS)
    assert_details(actual, reference.route_votes(votes, logits=logits, input_mask=mask, details=DETAILS, **options))
    torch.testing.assert_close(layer(items, mask, logits=logits), actual.output, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    "kind", [{}, {"window": "joined"}, {"positions": (2, 3)}, {"window": "joined", "jointly": True}]
)
def test_of_a_convolution(kind):
    """At each position by itself, its window read by hand; jointly, all positions in one call."""
    layer = ConvCapsules2d(2, 4, 3, 5, 3, bias=True, **kind).double()
    torch.nn.init.normal_(layer.bias)
    poses = torch.randn(2, 2, 4, 4, 5).double()
    actual = layer(poses, details=DETAILS)
    places = list(itertools.product(range(2), range(3)))
    windows = [poses[..., row : row + 3, column : column + 3] for row, column in places]
    joined = "window" in kind  # [B, C, kh, kw, d] of [B, C, d, kh, kw], else [B, kh, kw, C, d]
    inputs = [
        window.permute(0, 1, 3, 4, 2).flatten(2) if joined else window.permute(0, 3, 4, 1, 2).flatten(1, 3)
        for window in windows
    ]
    if "jointly" in kind:
        votes = torch.stack([reference.prediction_vectors(x, layer.weight) for x in inputs], dim=2)
        whole = reference.route_votes(votes, layer.bias.expand(6, -1, -1), details=DETAILS)
    for number, (row, column) in enumerate(places):
        if "jointly" in kind:
            at = (slice(None), number)
            between = (slice(None), slice(None), number)
            expected = type(whole)(
                whole.output[at], whole.coupling[between], whole.pre_squash[at], whole.agreement[between]
            )
        else:
            weight = layer.weight[number] if "positions" in kind else layer.weight
            expected = reference.dynamic_routing(inputs[number], weight, layer.bias, details=DETAILS)
        here = type(actual)(
            actual.output[..., row, column],
            actual.coupling[:, row, column],
            actual.pre_squash[..., row, column],
            actual.agreement[:, row, column],
        )
        assert_details(here, expected)
    assert torch.equal(layer(poses), layer(poses, details=[]).output)


@pytest.mark.parametrize("sets", [1, 3])
def test_shared_weights_take_other_numbers_of_inputs(sets):
    layer = CapsuleLayer(6, 4, 3, 5, weight_sets=sets).double()
    for inputs in (3, 12, 9):
        x = torch.randn(2, inputs, 4).double()
        expected = reference.dynamic_routing(x, layer.weight.repeat(inputs // sets, 1, 1, 1))
        torch.testing.assert_close(layer(x), expected, rtol=1e-10, atol=1e-12)


def test_numbers_of_inputs_that_do_not_fit():
    for options, inputs, way_out in (
        ({}, 7, "input_mask, or share weights by weight_sets"),
        ({"weight_sets": 3}, 7, "any other multiple of weight_sets=3 would do"),
        ({"weight_sets": 1}, 0, "any other multiple of weight_sets=1 would do"),
        ({"weight_sets": 1, "learnable_logits": True}, 7, "learnable_logits belong to this number of inputs"),
    ):
        with pytest.raises(ValueError, match=rf"capsules must have the shape \[B, 6, 4\], got .*{way_out}"):
            CapsuleLayer(6, 4, 3, 5, **options)(torch.zeros(2, inputs, 4))
