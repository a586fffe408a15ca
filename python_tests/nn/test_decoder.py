"""ReconstructionDecoder: masking, shapes, range."""

from __future__ import annotations

import pytest
import torch

from capsroute.nn import ReconstructionDecoder


def make(capsules=3, size=4, image_shape=(2, 3, 5), hidden=(6, 7)):
    return ReconstructionDecoder(capsules, size, image_shape, hidden)


def test_shape_and_range():
    images = make()(torch.randn(8, 3, 4) * 50, torch.arange(8) % 3)
    assert images.shape == (8, 2, 3, 5)
    assert images.min() >= 0
    assert images.max() <= 1


def test_only_the_labelled_capsule_is_decoded():
    capsules = torch.randn(4, 3, 4, requires_grad=True)
    labels = torch.tensor([2, 0, 1, 2])
    make()(capsules, labels).sum().backward()
    used = capsules.grad.abs().sum(-1) > 0
    assert torch.equal(used, torch.nn.functional.one_hot(labels, 3).bool())


def test_without_labels_the_longest_is_decoded():
    decoder = make()
    capsules = torch.randn(5, 3, 4)
    longest = capsules.norm(dim=-1).argmax(dim=1)
    assert torch.equal(decoder(capsules), decoder(capsules, longest))


def test_a_nan_in_another_capsule_does_no_harm():
    decoder = make()
    capsules = torch.randn(1, 3, 4)
    expected = decoder(capsules, torch.tensor([1]))
    capsules[0, 2] = torch.nan
    assert torch.equal(decoder(capsules, torch.tensor([1])), expected)


def test_layers_of_the_paper():
    decoder = ReconstructionDecoder(10, 16, (1, 28, 28))
    linear = [layer for layer in decoder.layers if isinstance(layer, torch.nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in linear] == [(160, 512), (512, 1024), (1024, 784)]
    assert sum(parameter.numel() for parameter in decoder.parameters()) == 1_411_344


def test_no_hidden_layer():
    assert make(hidden=())(torch.randn(2, 3, 4)).shape == (2, 2, 3, 5)


def test_empty_batch():
    assert make()(torch.empty(0, 3, 4)).shape == (0, 2, 3, 5)


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"image_shape must be \(channels, height, width\)"):
        make(image_shape=(28, 28))
    with pytest.raises(TypeError, match=r"labels must be of dtype torch\.int64, got torch\.float32"):
        make()(torch.randn(2, 3, 4), torch.tensor([0.0, 1.0]))
    with pytest.raises(ValueError, match=r"labels must have the shape \[2\], got \[3\]"):
        make()(torch.randn(2, 3, 4), torch.tensor([0, 1, 2]))
