"""DeepCaps: the sizes of the published code and its options."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.nn import functional as F

from capsroute.models import DeepCaps

from . import count

SMALL = {"image_size": 8, "types": 4, "class_size": 8}


def published_count(channels, image_sides, decoder_widths):
    """Learnable parameters of the published code: height · width · in · out of each of its layers, and its biases."""
    total = 9 * channels * 128 + 128 + 2 * 128  # first convolution, scale and shift of its normalisation
    side, width = image_sides, 128
    for cell, size in enumerate((4, 8, 8, 8)):
        side = -(-side // 2)
        total += 9 * width * 32 * size  # the layer with stride 2
        width = 32 * size
        total += (3 if cell < 3 else 2) * 9 * width * width
    total += 9 * 8 * 32 * 8 + 32 * 8  # the routed layer: one kernel for all input types
    inputs = 32 * (side**2 + (2 * side) ** 2)
    total += 10 * inputs * 32 * 8 + 10 * 32
    first = 7 if image_sides == 28 else 8
    total += 32 * 16 * first**2 + 16 * first**2 + 2 * 16
    widths = (16, *decoder_widths, channels)
    return total + sum(9 * a * b + b for a, b in itertools.pairwise(widths))


def test_parameters_of_the_published_networks():
    assert count(DeepCaps()) == published_count(1, 28, (64, 32, 16)) == 8_500_337
    large = DeepCaps(in_channels=3, image_size=64)
    assert large.classes.in_capsules == 2560
    assert count(large) == published_count(3, 64, (64, 32, 16, 8)) == 13_426_995
    assert count(DeepCaps(decoder=False)) == 8_500_337 - 58_417


@pytest.mark.parametrize("size", [8, 12, (9, 16), 28])
def test_shapes(size):
    sides = (size, size) if isinstance(size, int) else size
    model = DeepCaps(**{**SMALL, "image_size": size}, in_channels=2, classes=5).eval()
    with torch.no_grad():
        output = model(torch.rand(2, 2, *sides))
    assert output.capsules.shape == (2, 5, 8)
    assert output.reconstruction.shape == (2, 2, *sides)
    torch.testing.assert_close(output.lengths, output.capsules.norm(dim=-1))


def test_half_the_resolution_is_taken_from_the_first_position():
    """The published code pads an even side at its end only."""
    cell = DeepCaps(**SMALL).cells[0].down
    maps = torch.randn(1, 16, 8, 8)
    expected = cell.conv(F.pad(maps, (0, 1, 0, 1)))
    squared = expected.unflatten(1, (4, 4)).square().sum(2, keepdim=True)
    expected = expected.unflatten(1, (4, 4)) * squared / (1 + squared) / (squared + 1e-7).sqrt()
    torch.testing.assert_close(cell(maps.unsqueeze(2)), expected)


def test_options_reach_both_routings():
    model = DeepCaps(**SMALL, iterations=2, gradient="last")
    for layer in (model.last_cell.skip, model.classes):
        assert (layer.options.iterations, layer.options.gradient) == (2, "last")
    assert model.last_cell.skip.jointly
    assert torch.equal(model.last_cell.skip.bias, torch.full((4, 8), 0.1))


def test_only_the_chosen_capsule_is_decoded_and_not_its_class():
    model = DeepCaps(**SMALL).eval()
    images = torch.rand(3, 1, 8, 8)
    output = model(images)
    longest = model(images, output.lengths.argmax(dim=1))
    assert torch.equal(output.reconstruction, longest.reconstruction)
    assert torch.equal(model.decoder(output.capsules[:, 2]), model(images, torch.tensor([2, 2, 2])).reconstruction)
    assert model(images, reconstruct=False).reconstruction is None
    assert DeepCaps(**SMALL, decoder=False)(images).reconstruction is None


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"sizes must be four, one for each cell, got \(4, 8\)"):
        DeepCaps(sizes=(4, 8))
    with pytest.raises(ValueError, match=r"sizes of the last two cells must be equal.*got \(4, 8, 8, 6\)"):
        DeepCaps(sizes=(4, 8, 8, 6))
    with pytest.raises(ValueError, match="types must be at least 1, got 0"):
        DeepCaps(types=0)
    with pytest.raises(ValueError, match="class_size must be at least 1, got 0"):
        DeepCaps(**{**SMALL, "class_size": 0})
