"""ResNetCapsules: the sizes of the published code and its options."""

from __future__ import annotations

import pytest
import torch

from capsroute.models import ResNetCapsules

from . import count

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


@pytest.mark.parametrize(("size", "depth"), [(8, 1), (8, 3), ((7, 9), 2), ((7, 9), 3), ((16, 12), 1), ((16, 12), 2)])
def test_every_image_size(size, depth):
    sides = (size, size) if isinstance(size, int) else size
    model = ResNetCapsules(**{**SMALL, "image_size": size}, depth=depth, classes=3)
    assert model(torch.randn(2, 1, *sides)).lengths.shape == (2, 3)


def test_options_reach_every_routing():
    model = ResNetCapsules(**SMALL, depth=3, iterations=2, softmax_over="inputs")
    layers = [*model.capsules, model.classes]
    assert len(layers) == 3
    assert all((layer.options.iterations, layer.options.softmax_over) == (2, "inputs") for layer in layers)


def test_shortcuts_have_no_parameters_and_pad_new_channels_with_zeros():
    block = ResNetCapsules(**SMALL).stages[1].eval()
    torch.nn.init.zeros_(block.norm2.weight)  # what is left is the shortcut
    maps = torch.rand(1, 4, 6, 6)
    expected = torch.zeros(1, 8, 3, 3)
    expected[:, 2:6] = maps[:, :, ::2, ::2]
    torch.testing.assert_close(block(maps), expected)


@pytest.mark.parametrize("name", ["blocks", "depth", "types", "size"])
def test_bad_sizes(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        ResNetCapsules(**{**SMALL, name: 0})


def test_one_image_has_the_gradient_that_it_has_beside_others():
    """torch's BatchNorm2d gets it wrong from gradients with strides of their own: findings/batchnorm-one-image.sh."""
    torch.manual_seed(0)
    model, image = ResNetCapsules(**SMALL, dtype=torch.float64).eval(), torch.rand(1, 1, 8, 8, dtype=torch.float64)

    def gradient(images):
        images = images.requires_grad_()
        return torch.autograd.grad(model(images).lengths.square().sum(), images)[0]

    torch.testing.assert_close(gradient(image.clone()), gradient(image.repeat(2, 1, 1, 1))[:1], rtol=1e-10, atol=0)
