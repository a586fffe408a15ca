"""Properties of shapes, tiles of images, and what each experiment finds before it is drawn."""

from __future__ import annotations

import pytest
import torch

from capsroute.experiments.plotting import show_tiles
from capsroute.experiments.shape import PROPERTIES, properties
from capsroute.training.reporting.figures import new_figure


def named(image):
    return dict(zip(PROPERTIES, properties(image).tolist(), strict=True))


def test_properties_of_a_bar():
    image = torch.zeros(9, 9)
    image[2:7, 4] = 1
    bar = named(image)
    assert bar["ink"] == 5
    assert (bar["down"], bar["right"]) == pytest.approx((4, 4))
    assert (bar["height"], bar["width"]) == pytest.approx((2**0.5, 0))
    assert bar["slant"] == pytest.approx(0, abs=1e-6)
    moved = named(torch.roll(image, (1, -2), (0, 1)))
    assert (moved["down"], moved["right"], moved["height"]) == pytest.approx((5, 2, bar["height"]))


def test_slant_is_to_the_left_per_pixel_downwards():
    falling = torch.eye(7)
    assert named(falling)["slant"] == pytest.approx(-1)
    assert named(falling.flip(1))["slant"] == pytest.approx(1)  # as a 1 or a 7 leans


def test_properties_of_many_images_and_of_none():
    images = torch.rand(3, 2, 8, 6)
    assert properties(images).shape == (3, 2, len(PROPERTIES))
    torch.testing.assert_close(properties(images)[1, 0], properties(images[1, 0]))
    assert torch.equal(properties(torch.zeros(4, 4)), torch.zeros(len(PROPERTIES)))


@pytest.mark.parametrize("channels", [1, 3])
def test_tiles(channels):
    axes = new_figure(2, 2).subplots()
    images = torch.rand(2, 3, channels, 4, 5)
    show_tiles(axes, images, ["a", "b"], ["x", "", "z"])
    picture = axes.images[0].get_array()
    assert picture.shape == (2 * 6, 3 * 7, 3)
    expected = images[1, 2].expand(3, -1, -1).permute(1, 2, 0)
    torch.testing.assert_close(torch.tensor(picture[7:11, 15:20]), expected)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]
