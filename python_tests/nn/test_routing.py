"""CapsuleLayer: passes its options on, switches who routes, initialises at a scale that trains."""

from __future__ import annotations

import math

import pytest
import torch

from capsroute import reference
from capsroute.nn import CapsuleLayer, set_routing

OPTIONS = [
    {},
    {"iterations": 1},
    {"bias": True, "iterations": 2},
    {"learnable_logits": True},
    {"weight_sets": 3},
    {"weight_sets": 1, "softmax_over": "inputs"},
    {"leaky": True},
    {"gradient": "last"},
    {"eps": 0.25},
    {"routing": "reference", "bias": True, "learnable_logits": True, "iterations": 2, "eps": 0.25},
]


def make(**options):
    layer = CapsuleLayer(12, 4, 5, 6, **options).double()
    for parameter in layer.parameters():  # nothing may hide behind a zero
        torch.nn.init.normal_(parameter, std=0.5)
    return layer


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_option_reaches_the_routing(options):
    layer = make(**options)
    x = torch.randn(3, 12, 4, dtype=torch.float64, requires_grad=True)
    own = ("bias", "learnable_logits", "weight_sets", "routing")
    keywords = {name: value for name, value in options.items() if name not in own}
    expected = reference.dynamic_routing(x, layer.weight, layer.bias, logits=layer.logits, **keywords)
    actual = layer(x)
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-13)

    inputs = [x, *layer.parameters()]
    direction = torch.randn_like(expected)
    for ours, theirs in zip(
        torch.autograd.grad(actual, inputs, direction), torch.autograd.grad(expected, inputs, direction), strict=True
    ):
        assert theirs.abs().max() > 0
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize(("shape", "routing"), [((12, 5), "fused"), ((3, 12, 5), "fused"), ((3, 12, 5), "reference")])
def test_masks_and_logits_of_a_call(shape, routing):
    layer = make(routing=routing)
    x = torch.randn(3, 12, 4, dtype=torch.float64)
    call = {
        "logits": torch.randn(shape, dtype=torch.float64),
        "input_mask": torch.rand(3, 12) > 0.3,
        "output_mask": torch.rand(3, 5) > 0.3,
    }
    torch.testing.assert_close(layer(x, **call), reference.dynamic_routing(x, layer.weight, **call))


def test_defaults_are_those_of_the_function():
    layer = make()
    x = torch.randn(2, 12, 4, dtype=torch.float64)
    torch.testing.assert_close(layer(x), reference.dynamic_routing(x, layer.weight))
    assert layer.weight.shape == (12, 5, 6, 4)
    assert layer.bias is None
    assert layer.logits is None
    assert [name for name, _ in layer.named_parameters()] == ["weight"]


def test_the_routing_can_be_switched_at_any_time(monkeypatch):
    layer = make()
    x = torch.randn(2, 12, 4, dtype=torch.float64)
    assert layer.routing == "fused"
    fused = layer(x)
    calls = []
    monkeypatch.setitem(
        layer.forward.__func__.__globals__["_ROUTINGS"],
        "reference",
        lambda *args, **keywords: calls.append(1) or reference.dynamic_routing(*args, **keywords),
    )
    layer.routing = "reference"
    torch.testing.assert_close(layer(x), fused)
    assert calls == [1]
    layer.routing = "fused"
    layer(x)
    assert calls == [1]


def test_set_routing_reaches_nested_layers():
    model = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Sequential(make()), make())
    set_routing(model, "reference")
    assert [layer.routing for layer in model.modules() if isinstance(layer, CapsuleLayer)] == ["reference"] * 2


@pytest.mark.parametrize(
    ("options", "competitors"),
    [({}, 20), ({"leaky": True}, 21), ({"softmax_over": "inputs"}, 400), ({"weight_sets": 40}, 20)],
)
def test_initial_outputs_have_unit_length_before_the_squash(options, competitors):
    torch.manual_seed(0)
    layer = CapsuleLayer(400, 8, 20, 16, bias=True, learnable_logits=True, **options)
    assert layer.weight.std().item() == pytest.approx(competitors / math.sqrt(400 * 16), rel=0.02)
    assert torch.equal(layer.bias, torch.zeros(20, 16))
    assert torch.equal(layer.logits, torch.zeros(400, 20))
    x = torch.nn.functional.normalize(torch.randn(64, 400, 8), dim=-1)
    votes = reference.prediction_vectors(x, layer.weight)
    squared_length = (votes.sum(dim=1) / competitors).square().sum(-1).mean()
    assert squared_length.item() == pytest.approx(1.0, rel=0.15)


def test_initial_scale_can_be_given():
    torch.manual_seed(0)
    assert CapsuleLayer(100, 8, 10, 16, init_std=0.01).weight.std().item() == pytest.approx(0.01, rel=0.02)


def test_bad_arguments():
    for name in ("in_capsules", "in_size", "out_capsules", "out_size"):
        sizes = {"in_capsules": 2, "in_size": 2, "out_capsules": 2, "out_size": 2, name: 0}
        with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
            CapsuleLayer(**sizes)
    with pytest.raises(ValueError, match="weight_sets must be a divisor of in_capsules=12, got 5"):
        make(weight_sets=5)
    with pytest.raises(ValueError, match=r"routing must be one of 'fused', 'reference', got 'fast'"):
        make(routing="fast")
    with pytest.raises(ValueError, match="routing must be one of"):
        set_routing(make(), "fast")
    with pytest.raises(ValueError, match=r"capsules must have the shape \[B, 12, 4\], got \[2, 11, 4\]"):
        make()(torch.zeros(2, 11, 4, dtype=torch.float64))
    with pytest.raises(ValueError, match="this layer learns its own"):
        make(learnable_logits=True)(torch.zeros(2, 12, 4).double(), logits=torch.zeros(12, 5).double())


def test_repr_names_every_option():
    text = repr(make(bias=True, weight_sets=3, leaky=True, gradient="last", routing="reference"))
    for part in ("in_capsules=12", "out_size=6", "bias=True", "weight_sets=3", "leaky=True", "'last'", "'reference'"):
        assert part in text
