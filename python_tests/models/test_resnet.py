"""ResNetCapsules: the sizes of the published code, its options, and that it learns."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from capsroute import testing
from capsroute.models import ResNetCapsules
from capsroute.nn import margin_loss

from .learning import count, digits, losses

SMALL = {"in_channels": 1, "image_size": 8, "blocks": 1, "planes": 4, "types": 4, "size": 4}


def published_count(depth):
    """Parameters of the published ResNet-20 with 32 types of 16 components for images of 32x32x3 and 10 classes."""

    def convolution(a, b):
        return 9 * a * b + 2 * b  # no bias; scale and shift of the normalisation behind it

    total = convolution(3, 16) + 6 * convolution(16, 16)
    total += convolution(16, 32) + 5 * convolution(32, 32) + convolution(32, 64) + 5 * convolution(64, 64)
    assert total + 64 * 10 + 10 == 269_722  # with its own linear layer it is ResNet-20, "0.27M" in He et al. 2016
    total += convolution(64, 32 * 16)
    total += (depth - 1) * 9 * 32 * 16 * (32 * 16)
    side = 8 if depth == 1 else 4
    return total + side * side * 32 * 16 * (10 * 16)


@pytest.mark.parametrize(("depth", "parameters"), [(1, 5_807_888), (2, 4_235_024), (3, None)])
def test_parameters_of_the_published_networks(depth, parameters):
    model = ResNetCapsules(depth=depth)
    assert count(model) == published_count(depth)
    assert parameters in (None, count(model))


def test_shapes_of_the_published_network():
    model = ResNetCapsules(depth=2).eval()
    assert model.capsules[0].weight.shape == (288, 32, 16, 16)
    with torch.no_grad():
        output = model(torch.randn(2, 3, 32, 32))
    assert output.capsules.shape == (2, 10, 16)
    assert output.reconstruction is None
    torch.testing.assert_close(output.lengths, output.capsules.norm(dim=-1))


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("size", [8, (7, 9), (16, 12)])
def test_every_image_size(size, depth):
    sides = (size, size) if isinstance(size, int) else size
    model = ResNetCapsules(**{**SMALL, "image_size": size}, depth=depth, classes=3)
    assert model(torch.randn(2, 1, *sides)).lengths.shape == (2, 3)


def test_options_reach_every_routing():
    model = ResNetCapsules(**SMALL, depth=3, iterations=2, softmax_over="inputs")
    layers = [*model.capsules, model.classes]
    assert len(layers) == 3
    assert all((layer.options.iterations, layer.options.softmax_over) == (2, "inputs") for layer in layers)


def test_fused_and_reference_routing_agree():
    torch.manual_seed(0)
    model = ResNetCapsules(**SMALL, depth=2).double()
    images, labels = torch.rand(4, 1, 8, 8, dtype=torch.float64), torch.tensor([1, 2, 3, 4])
    results = []
    for backend in ("cpu", "reference"):
        with testing.backend(backend):
            output = model(images)
            loss = margin_loss(output.lengths, labels)
            results.append([output.capsules, *torch.autograd.grad(loss, list(model.parameters()))])
    for fused, reference in zip(*results, strict=True):
        torch.testing.assert_close(fused, reference, rtol=1e-9, atol=1e-11)


def test_shortcuts_have_no_parameters_and_pad_new_channels_with_zeros():
    block = ResNetCapsules(**SMALL).stages[1].eval()
    torch.nn.init.zeros_(block.norm2.weight)  # what is left is the shortcut
    maps = torch.rand(1, 4, 6, 6)
    expected = torch.zeros(1, 8, 3, 3)
    expected[:, 2:6] = maps[:, :, ::2, ::2]
    torch.testing.assert_close(block(maps), expected)


@pytest.mark.parametrize("kind", ["margin", "likelihood"])
def test_learns(kind):
    torch.manual_seed(0)
    images, labels = digits(64)
    model = ResNetCapsules(**SMALL, depth=2)

    def loss():
        lengths = model(images).lengths
        if kind == "margin":
            return margin_loss(lengths, labels)
        return F.nll_loss((lengths / lengths.sum(1, keepdim=True)).log(), labels)

    seen = losses(model, loss, steps=30, rate=3e-3)
    assert seen[-1] < 0.2 * seen[0]


def test_black_images_give_finite_gradients():
    model = ResNetCapsules(**SMALL, depth=2)
    model(torch.zeros(2, 1, 8, 8)).lengths.sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())


@pytest.mark.parametrize("name", ["blocks", "depth", "types", "size"])
def test_bad_sizes(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        ResNetCapsules(**{**SMALL, name: 0})
