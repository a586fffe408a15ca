"""Layers and losses under the transforms of torch: forward mode, the gradients of each sample, a vmap over nothing."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, func, nn

from capsroute import models
from capsroute import nn as caps

_MASK = torch.tensor([[True] * 7, [True] * 4 + [False] * 3, [False] * 7])


def _interests(kind: int, **options: Any) -> tuple[nn.Module, dict[str, Tensor]]:
    layer = caps.InterestCapsules(6, 4, bilinear_type=kind, max_items=7, initial_logits="fixed", **options)
    return layer, {"items": torch.randn(3, 7, 6), "logits": torch.randn(3, 7, 4), "input_weight": torch.rand(3, 7)}


LAYERS: dict[str, Callable[[], tuple[nn.Module, dict[str, Tensor]]]] = {
    "capsules": lambda: (caps.CapsuleLayer(6, 3, 4, 5, bias=True), {"capsules": torch.randn(2, 6, 3)}),
    "convolution": lambda: (caps.ConvCapsules2d(2, 3, 3, 4, 3, bias=True), {"poses": torch.randn(2, 2, 3, 5, 5)}),
    "transposed": lambda: (caps.ConvTransposeCapsules1d(2, 3, 3, 4, 3, stride=2), {"poses": torch.randn(2, 2, 3, 5)}),
    "interests of type 0": lambda: _interests(0),
    "interests of type 0, all": lambda: _interests(0, gradient="all"),
    "interests of type 2": lambda: _interests(2),
    "network": lambda: (
        models.ResNetCapsules(blocks=1, planes=4, types=2, size=4, image_size=16).eval(),
        {"images": torch.rand(2, 3, 16, 16)},
    ),
}


@pytest.fixture(autouse=True)
def _float64() -> Any:
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


def _output(layer: nn.Module, values: dict[str, Tensor]) -> Tensor:
    """Of the layer, with these parameters and arguments in the place of its own."""
    own = dict(layer.named_parameters())
    arguments = {n: t for n, t in values.items() if n not in own}
    masks = {"mask": _MASK} if "items" in values else {}
    found = func.functional_call(layer, {n: values[n] for n in own}, (), {**arguments, **masks})
    result: Tensor = found if isinstance(found, Tensor) else found[0]
    return result


@pytest.mark.parametrize("name", LAYERS)
def test_tangents_are_the_transpose_of_the_gradients(name: str) -> None:
    """For each parameter and argument alone, where nothing requires a gradient."""
    layer, arguments = LAYERS[name]()
    values = {**{n: p.detach() for n, p in layer.named_parameters()}, **arguments}
    leaves = {n: t.clone().requires_grad_() for n, t in values.items()}
    output = _output(layer, leaves)
    grad = torch.randn_like(output)
    gradients = torch.autograd.grad(output, list(leaves.values()), grad, materialize_grads=True)
    for (key, value), gradient in zip(values.items(), gradients, strict=True):
        along = torch.randn_like(value)
        _, tangent = func.jvp(lambda v, key=key: _output(layer, {**values, key: v}), (value,), (along,))
        torch.testing.assert_close((tangent * grad).sum(), (gradient * along).sum(), rtol=1e-10, atol=1e-10)


def test_vmap_over_nothing() -> None:
    for layer, arguments in (make() for name, make in LAYERS.items() if name != "network"):
        (name, value), *_ = arguments.items()
        found = torch.vmap(lambda v, layer=layer, name=name: layer(**{name: v}))(value[None][:0])
        assert found.shape == (0, *layer(value).shape)


def _decoder() -> nn.Module:
    return caps.ReconstructionDecoder(3, 4, (1, 2, 2), (5,))


CLASSES: dict[str, Callable[[], Callable[[Tensor], Tensor]]] = {
    "margin loss": lambda: lambda x: caps.margin_loss(caps.capsule_lengths(x), torch.tensor([2, 0])),
    "decoder": lambda: _decoder(),
    "decoder of labels": lambda: functools.partial(_decoder(), labels=torch.tensor([2, 0])),
    "hard attention": lambda: lambda x: caps.LabelAwareAttention(float("inf"))(x, torch.ones(2, 4)),
}


@pytest.mark.parametrize("name", CLASSES)
def test_gradients_of_each_sample_through_classes(name: str) -> None:
    """Also of none; numbers of classes, given or found, stand in the way of torch's own one_hot."""
    function = CLASSES[name]()
    x = torch.randn(3, 2, 3, 4)

    def gradient(one: Tensor) -> Tensor:
        result: Tensor = func.grad(lambda a: function(a).square().sum())(one)
        return result

    expected = torch.stack([gradient(one) for one in x])
    torch.testing.assert_close(torch.vmap(gradient)(x), expected)
    assert torch.vmap(gradient)(x[:0]).shape == (0, 2, 3, 4)
