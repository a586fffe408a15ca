"""Generated faces: nothing but the arrangement of the parts tells the classes apart."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch

from capsroute.experiments.data import faces
from capsroute.experiments.data.faces import FACE, OTHER, faces_and_others, faces_and_scrambled
from capsroute.experiments.data.shapes import arc, ellipse, frame, segment, triangle


def summary(images):
    """What an image holds whatever its arrangement: mean, spread, and a histogram of 16 tones; ``[N, 19]``."""
    pixels = images.flatten(1).float() / 255
    histogram = torch.stack([((pixels * 15.999).int() == tone).float().mean(dim=1) for tone in range(16)], dim=1)
    return torch.cat([histogram, pixels.mean(dim=1, keepdim=True), pixels.std(dim=1, keepdim=True)], dim=1)


def linear_accuracy(train, test, features):
    """Accuracy on ``test`` of the ridge regression of the labels from features, fitted on ``train``."""
    fitted, tested = features(train.images), features(test.images)
    mean, spread = fitted.mean(dim=0), fitted.std(dim=0) + 1e-6
    fitted, tested = (fitted - mean) / spread, (tested - mean) / spread
    target = 2.0 * train.labels - 1
    weight = torch.linalg.solve(fitted.T @ fitted + 1e-2 * torch.eye(fitted.shape[1]), fitted.T @ target)
    return ((tested @ weight > 0).long() == test.labels).float().mean().item()


def pixels(images):
    return images.flatten(1).float() / 255


def test_no_linear_classifier_separates_faces_from_scrambled_ones():
    train, test = faces_and_scrambled(4000, 0), faces_and_scrambled(2000, 1)
    assert abs(linear_accuracy(train, test, summary) - 0.5) < 0.03
    assert abs(linear_accuracy(train, test, pixels) - 0.5) < 0.06
    # The same probe sees differences where there are some.
    assert linear_accuracy(faces_and_others(4000, 0), faces_and_others(2000, 1), summary) > 0.6


def test_a_face_and_its_scrambled_twin_have_the_same_ink():
    pairs = faces_and_scrambled(400, 0).images.float().flatten(1)
    means = pairs.mean(dim=1)
    assert (means[0::2] - means[1::2]).abs().max() < 3  # of 255; noise and the edges of parts differ
    assert means.std() > 20


def test_wrong_arrangements_do_more_than_swap_the_eyes():
    assert {tuple(order) for order in faces._WRONG.tolist()} == set(permutations(range(4))) - {
        (0, 1, 2, 3),
        (1, 0, 2, 3),
    }


@pytest.mark.parametrize("order", [list(range(4)), *faces._WRONG.tolist()], ids=str)
def test_in_every_arrangement_each_part_is_whole_inside_the_head_and_free(order):
    scenes = faces._sample(60, torch.Generator().manual_seed(0))
    head = ellipse(frame(scenes.centre, scenes.turn, faces.SIDE), scenes.axes[:, 0], scenes.axes[:, 1])
    coverages = []
    for part in range(4):
        whole, _ = faces._part(scenes, part, torch.full((60,), order[part]))[0]
        right, _ = faces._part(scenes, part, torch.full((60,), part))[0]
        assert torch.allclose(whole.sum(dim=(1, 2)), right.sum(dim=(1, 2)), rtol=0.2)
        assert (whole * (1 - head)).sum(dim=(1, 2)).max() < 1.0  # pixels
        coverages.append(whole)
    together = torch.stack(coverages).sum(dim=0)
    assert (together - 1).clamp_min(0).sum(dim=(1, 2)).max() < 1.0


def test_heads_stay_inside_the_image():
    scenes = faces._sample(500, torch.Generator().manual_seed(0))
    head = ellipse(frame(scenes.centre, scenes.turn, 64), scenes.axes[:, 0], scenes.axes[:, 1])
    assert head.sum() - head[:, 16:48, 16:48].sum() < 1e-3 * head.sum()


def test_tones_contrast():
    scenes = faces._sample(500, torch.Generator().manual_seed(0))
    assert (scenes.head_tone[:, None] - scenes.part_tone).min() > 0.249
    assert (scenes.pupil_tone - scenes.part_tone[:, 0]).abs().min() > 0.249
    for tones in (scenes.head_tone, scenes.part_tone, scenes.pupil_tone):
        assert tones.min() >= 0
        assert tones.max() <= 1


def test_scenes_without_a_face():
    """Four kinds in turn: with noise and light off, they differ from the face by what they lack."""
    scenes = faces._sample(64, torch.Generator().manual_seed(0))
    scenes = type(scenes)(**{**vars(scenes), "noise": torch.zeros(64), "light": torch.zeros(64, 32, 32)})
    others = faces._render_other(scenes, torch.Generator().manual_seed(1)).float()
    backdrop = (scenes.backdrop * 255).round()
    head = ellipse(frame(scenes.centre, scenes.turn, 32), scenes.axes[:, 0], scenes.axes[:, 1]) == 1
    shown = torch.stack([((others != backdrop) & head)[n].sum() / head[n].sum() for n in range(64)])
    assert shown[0::4].max() == 0  # clutter alone
    assert shown[1::4].min() > 0.8  # an empty head, up to clutter of its own tone
    assert all(others[n][head[n]].unique().numel() == 1 for n in range(1, 64, 4))
    assert all(others[n][head[n]].unique().numel() > 1 for n in range(2, 64, 4))  # a head with a part
    assert (shown[3::4] > 0).all()  # a part without a head
    assert (shown[3::4] < 0.25).all()


def test_labels_and_shapes():
    for made in (faces_and_scrambled(300, 0), faces_and_others(300, 0)):
        assert made.images.dtype == torch.uint8
        assert made.image_shape == (1, 32, 32)
        assert made.labels.tolist() == [OTHER, FACE] * 150


def test_both_protocols_show_the_same_faces():
    """The same seed gives the same scenes, up to the noise."""
    first, second = faces_and_scrambled(20, 3).images[1::2], faces_and_others(20, 3).images[1::2]
    assert (first.float() - second.float()).abs().mean() < 12


@pytest.mark.parametrize("make", [faces_and_scrambled, faces_and_others])
def test_the_seed_decides(make):
    assert torch.equal(make(20, 1).images, make(20, 1).images)
    assert not torch.equal(make(20, 1).images, make(20, 2).images)
    assert len(make(0, 1)) == 0


@pytest.mark.parametrize("count", [3, -2])
def test_bad_counts(count):
    with pytest.raises(ValueError, match=f"count must be even and not negative, got {count}"):
        faces_and_scrambled(count, 0)


def one(*values):
    return [torch.tensor([value], dtype=torch.float32) for value in values]


@pytest.mark.parametrize("angle", [0.0, 0.4, 1.5708, 2.5])
@pytest.mark.parametrize(
    ("draw", "sizes", "area"),
    [
        (ellipse, (9.3, 4.2), torch.pi * 9.3 * 4.2),
        (ellipse, (2.1, 1.5), torch.pi * 2.1 * 1.5),
        (triangle, (5.0, 7.5), 2 * 5.0 * 7.5),
        (segment, (8.0, 1.3), 4 * 8.0 * 1.3),
        (arc, (8.0, 1.3, 0.0), 4 * 8.0 * 1.3),
    ],
)
def test_the_coverage_of_a_shape_adds_up_to_its_area(draw, sizes, area, angle):
    at = frame(torch.tensor([[1.3, -2.7]]), torch.tensor([angle]), 40)
    assert draw(at, *one(*sizes)).sum().item() == pytest.approx(area, rel=0.03 if area > 20 else 0.08)


def test_shapes_lie_where_and_as_they_are_said_to():
    centre = torch.tensor([[6.0, -4.0]])
    turned = segment(frame(centre, torch.tensor([torch.pi / 2]), 33), *one(5.0, 0.5))[0]
    assert (turned[12 - 4 : 12 + 5, 22] > 0.999).all()  # upright, x = 6 and y = -4 from the middle (16, 16)
    assert turned.sum() == pytest.approx(10, rel=0.01)
    standing = triangle(frame(torch.zeros(1, 2), torch.zeros(1), 33), *one(6.0, 6.0))[0]
    assert standing[20].sum() > standing[12].sum() > 0  # the base is below
    smile = arc(frame(torch.zeros(1, 2), torch.zeros(1), 33), *one(8.0, 1.0, -0.5))[0]
    rows = torch.arange(33)[:, None]
    middle, end = ((smile * rows)[:, column].sum() / smile[:, column].sum() for column in (16, 23))
    assert middle > end + 2  # a negative bend lifts the ends
