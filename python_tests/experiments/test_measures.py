"""What experiments share to measure and to show: confusion matrices, the linear probe, shapes, tiles of images."""

from __future__ import annotations

from collections import namedtuple

import pytest
import torch

from capsroute.experiments.plotting import show_tiles
from capsroute.experiments.probe import r2, read
from capsroute.experiments.shape import PROPERTIES, properties
from capsroute.training.datasets import ImageSet
from capsroute.training.reporting.confusion import confusion, scores
from capsroute.training.reporting.figures import new_figure

Output = namedtuple("Output", "scores")


def first_pixel_says(images, reconstruct):
    """A network that takes the value of the first pixel for the class."""
    assert not reconstruct
    return Output(torch.nn.functional.one_hot((images[:, 0, 0, 0] * 255).round().long(), 3).float())


def test_confusion_counts_every_image_once():
    labels = torch.randint(3, (600,), generator=torch.Generator().manual_seed(0))
    said = torch.randint(3, (600,), generator=torch.Generator().manual_seed(1))
    data = ImageSet(said.to(torch.uint8)[:, None, None, None].expand(600, 1, 2, 2), labels)
    counted = confusion(first_pixel_says, data, 3, torch.device("cpu"))
    expected = [[int(((labels == true) & (said == told)).sum()) for told in range(3)] for true in range(3)]
    assert counted == expected


def test_scores_agree_with_scikit_learn():
    from sklearn.metrics import precision_recall_fscore_support

    matrix = [[30, 5, 2], [1, 40, 9], [0, 3, 10]]
    pairs = [(true, said) for true in range(3) for said in range(3) for _ in range(matrix[true][said])]
    expected = precision_recall_fscore_support(*zip(*pairs, strict=True))
    for found, *known in zip(scores(matrix), *expected[:3], strict=True):
        assert [found["precision"], found["recall"], found["f1"]] == pytest.approx(known)


def test_a_class_that_is_never_said_or_never_there():
    assert scores([[4, 0], [2, 0]])[1] == {"precision": 0, "recall": 0, "f1": 0}
    assert scores([[4, 2], [0, 0]])[1] == {"precision": 0, "recall": 0, "f1": 0}


@pytest.fixture
def parts():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(400, 5, generator=generator)
    linear = features @ torch.randn(5, 2, generator=generator) + 3
    noise = torch.randn(400, 2, generator=generator)
    return features, linear, noise


def judged(features, targets):
    return r2(read(features[200:], (features[:200], targets[:200])), targets[200:])


def test_reads_what_is_linear_and_nothing_else(parts):
    features, linear, noise = parts
    assert judged(features, linear) > 0.999
    assert abs(judged(features, noise)) < 0.1
    assert 0.2 < judged(features, linear + linear.std() * noise) < 0.8


def test_columns_that_say_the_same_do_no_harm(parts):
    features, linear, _ = parts
    assert judged(torch.cat([features, features, torch.zeros(400, 3)], dim=1), linear) > 0.999


def test_r2():
    targets = torch.tensor([[0, 1], [2, 5]])
    assert r2(targets, targets) == 1
    assert r2(torch.tensor([[1.0, 3.0]]), targets) == 0
    assert r2(-targets.double(), targets) < 0


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
