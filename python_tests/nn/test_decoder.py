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
    torch.manual_seed(0)  # with few hidden units, some draws leave a capsule without a gradient
    capsules = torch.randn(4, 3, 4, requires_grad=True)
    labels = torch.tensor([2, 0, 1, 2])
    make()(capsules, labels).sum().backward()
    used = capsules.grad.abs().sum(-1) > 0
    assert torch.equal(used, torch.nn.functional.one_hot(labels, 3).bool())


def test_the_capsules_of_all_present_classes_are_decoded():
    torch.manual_seed(0)  # with few hidden units, some draws leave a capsule without a gradient
    capsules = torch.randn(3, 3, 4, requires_grad=True)
    present = torch.tensor([[1, 0, 1], [0, 0, 0], [0, 1, 0]])
    decoder = make()
    images = decoder(capsules, present)
    images.sum().backward()
    assert torch.equal(capsules.grad.abs().sum(-1) > 0, present.bool())
    flat = torch.stack([capsules[i] * present[i, :, None] for i in range(3)]).flatten(1)  # the layers alone
    torch.testing.assert_close(images, decoder.layers(flat).unflatten(1, (2, 3, 5)))
    assert torch.equal(decoder(capsules, torch.tensor([2, 1, 1]))[2], images[2])


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


@pytest.mark.parametrize("shape", [(2, 12), (2, 3, 5), (2, 2, 4)])
def test_capsules_of_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"capsules must have the shape \[B, 3, 4\], got"):
        ReconstructionDecoder(3, 4, (1, 4, 4))(torch.zeros(shape))
