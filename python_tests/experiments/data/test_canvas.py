"""Images on a larger canvas: in the middle, moved by a given step, and anywhere."""

from __future__ import annotations

import pytest
import torch

from capsroute.experiments.data.canvas import DIRECTIONS, centred, centred_shifted, shifted, translated
from python_tests.experiments.data.doubles import marked_images, window


def assert_there(image, source, top, left):
    """``source`` lies at that place of ``image``, and all else is black."""
    assert torch.equal(window(image, top, left, source.shape[-1]), source)
    assert int(image.long().sum()) == int(source.long().sum())


def test_the_middle_of_the_canvas():
    data = marked_images(3)
    on_canvas = centred(data, 40)
    assert on_canvas.image_shape == (1, 40, 40)
    assert torch.equal(on_canvas.labels, data.labels)
    for image, source in zip(on_canvas.images, data.images, strict=True):
        assert_there(image, source, 6, 6)


def test_colours_move_together():
    data = marked_images(4)
    data = type(data)(
        data.images.repeat(1, 3, 1, 1) // torch.tensor([1, 2, 3], dtype=torch.uint8)[:, None, None], data.labels
    )
    moved = centred_shifted(data, torch.tensor([[1, -2]] * 4), 32)
    assert_there(moved.images[2], data.images[2], 3, 0)


@pytest.mark.parametrize(
    ("side", "step", "message"),
    [
        (40, 7, "shifts must be at most 6 pixels on a canvas of 40, got 7"),
        (27, 0, "side must exceed .* got 27 for images of 28x28"),
        (39, 0, "by an even number of pixels; got 39"),
    ],
)
def test_what_does_not_fit(side, step, message):
    with pytest.raises(ValueError, match=message):
        centred_shifted(marked_images(2), torch.full((2, 2), step), side)


def test_translated_images_are_anywhere_and_whole():
    data = marked_images(600, side=6)
    moved = translated(data, 8, seed=1)
    places = []
    for image, source in zip(moved.images, data.images, strict=True):
        top, left = image[0].nonzero().min(dim=0).values.tolist()
        assert_there(image, source, top, left)
        places.append((top, left))
    counts = [places.count(place) for place in sorted(set(places))]
    assert len(counts) == 9
    assert min(counts) > 40  # 67 on average, with a standard deviation of 8


def test_the_seed_decides_the_places():
    data = marked_images(20)
    assert torch.equal(translated(data, 40, 3).images, translated(data, 40, 3).images)
    assert not torch.equal(translated(data, 40, 3).images, translated(data, 40, 4).images)


@pytest.mark.parametrize("pixels", [0, 1, 6])
def test_shifts_go_in_eight_directions(pixels):
    data = marked_images(16)
    moved = shifted(data, pixels)
    places = set()
    for number, (image, source) in enumerate(zip(moved.images, data.images, strict=True)):
        down, right = (pixels * DIRECTIONS[number % 8]).tolist()
        assert_there(image, source, 6 + down, 6 + right)
        places.add((down, right))
    assert len(places) == (8 if pixels else 1)
    assert all(max(abs(down), abs(right)) == pixels for down, right in places)
