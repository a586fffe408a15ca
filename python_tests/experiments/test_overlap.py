"""The experiment on overlapping digits: what is learned, counted and drawn."""

from __future__ import annotations

import pytest
import torch

from capsroute.experiments import overlap
from capsroute.experiments.data.overlap import OverlappingPairs
from capsroute.experiments.record import Record
from capsroute.models import CapsNet, PoolingCNN
from capsroute.nn import margin_loss
from python_tests.experiments.data.doubles import marked_images

SMALL = {"image_size": 36, "conv_channels": 4, "conv_stride": 2, "primary_types": 2, "decoder_sizes": (8,)}


@pytest.fixture
def pairs():
    return OverlappingPairs(marked_images(40), 30, seed=0)


def test_digits_among_the_two_largest_scores():
    scores = torch.tensor([[0.1, 0.9, 0.8, 0.2], [0.1, 0.9, 0.8, 0.2], [0.4, 0.3, 0.2, 0.1]])
    found = overlap._found(scores, torch.tensor([[2, 1], [1, 0], [3, 2]]))
    assert found.tolist() == [[True, True], [True, False], [False, False]]


def test_capsules_are_trained_to_name_and_to_draw_both_digits(pairs):
    images, labels = pairs.batch(slice(0, 6))
    torch.manual_seed(0)
    model = CapsNet(**SMALL)
    loss, _ = overlap._capsule_objective(model, images, labels)
    output = model(images[:, :1], reconstruct=False)
    drawn = [model(images[:, :1], labels[:, place].contiguous()).reconstruction[:, 0] for place in (0, 1)]
    error = sum((picture - images[:, 1 + place]).square().sum() for place, picture in enumerate(drawn)) / 6
    expected = margin_loss(output.lengths, overlap._presence(labels)) + 0.0005 * error
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    swapped, _ = overlap._capsule_objective(model, images[:, [0, 2, 1]], labels.flip(1))
    assert swapped.item() == pytest.approx(loss.item(), rel=1e-5)


def test_the_network_with_pooling_names_each_digit_by_itself(pairs):
    images, labels = pairs.batch(slice(0, 6))
    torch.manual_seed(0)
    model = PoolingCNN.matching({**SMALL, "conv_channels": 32, "decoder_sizes": None}).eval()
    loss, correct = overlap._pooling_objective(model, images, labels)
    probability = model(images[:, :1]).scores.sigmoid()
    presence = overlap._presence(labels).bool()
    expected = -torch.where(presence, probability, 1 - probability).log().sum(dim=1).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
    assert torch.equal(correct, overlap._found(model(images[:, :1]).scores, labels).all(dim=1))


def test_what_was_said_stands_where_it_fits():
    images = torch.zeros(3, 3, 4, 4)
    labels = torch.tensor([[3, 5], [3, 5], [3, 5]])
    said = torch.tensor([[5, 3], [3, 8], [8, 3]])
    decoded = said[:, :, None, None].expand(3, 2, 4, 4).float()
    shown = overlap._shown(images, labels, said, decoded)
    assert shown["said"].tolist() == [[3, 5], [3, 8], [3, 8]]
    assert torch.equal(shown["decoded"][:, :, 0, 0].long(), shown["said"])


def test_two_colours_tell_the_digits_apart():
    picture = overlap._in_two_colours(torch.tensor([[1.0, 0.0, 1.0, 0.0]]), torch.tensor([[0.0, 1.0, 1.0, 0.0]]))[0]
    assert picture[0, 0] > 0.9 > 0.2 > picture[0, 2]
    assert picture[1, 2] > 0.9 > 0.2 > picture[1, 0]
    assert (picture[2].min(), picture[3].max()) == (1, 0)


def test_means_of_the_classes_are_of_digits_as_they_lie_in_the_pairs(pairs):
    images, labels = pairs.batch(slice(None))
    digits = [[images[n, 1 + k] for n in range(len(pairs)) for k in (0, 1) if labels[n, k] == c] for c in range(10)]
    means = overlap._class_means(pairs)
    torch.testing.assert_close(means, torch.stack([torch.stack(of_class).mean(0) for of_class in digits]))


def test_errors_are_to_the_digit_and_to_the_other():
    singles = torch.stack([torch.zeros(3, 4, 4), torch.ones(3, 4, 4)], dim=1)
    drawn = torch.stack([torch.full((3, 4, 4), 0.5), torch.full((3, 4, 4), 0.9)], dim=1)
    errors = overlap._errors(drawn, singles)
    torch.testing.assert_close(errors, torch.tensor([[0.25, 0.25], [0.01, 0.81]]).expand(3, 2, 2))
    assert overlap._mean_errors([errors[:1], errors[1:]]) == pytest.approx({"error": 0.13, "error_to_other": 0.53})


def test_what_the_class_alone_explains_stands_in_the_table():
    """Of one pair, the mean of a class is its digit: no error to that, and the same distance to the other both ways."""
    one = OverlappingPairs(marked_images(40), 1, seed=0)
    found = overlap._judge_class_means(overlap._class_means(one), one)
    first, second = one.batch(slice(None))[0][0, 1:]
    apart = float((first - second).square().mean())
    assert found == pytest.approx({"error": 0, "error_to_other": apart})
    networks = {"capsnet": {"both": 0.5, "each": 0.75, **found}, "pooling-cnn": {"both": 0.5, "each": 0.75}}
    table = overlap._report(Record("overlap", {}, {}, 1.0, [{**networks, "class-mean": found}]))
    assert table[-1] == f"| mean of the class, no network | - | - | 0.0000 ± 0.0000 | {apart:.4f} ± 0.0000 |"
