"""Pairs of overlapping digits."""

from __future__ import annotations

import pytest
import torch

from capsroute.experiments.data.overlap import OverlappingPairs
from capsroute.training.datasets import ImageSet
from python_tests.experiments.data.doubles import marked_images, window


def test_a_pair_is_the_sum_of_its_singles_cut_off_at_white():
    pairs = OverlappingPairs(marked_images(30), 50, seed=0)
    images, classes = pairs.batch(torch.arange(50))
    assert images.shape == (50, 3, 36, 36) == (50, *pairs.image_shape)
    assert torch.equal(images[:, 0], (images[:, 1] + images[:, 2]).clamp(max=1))
    assert images.max() == 1
    assert images[:, 1:].sum(dim=1).max() > 1  # the cut is there
    assert classes.shape == (50, 2)
    assert (classes[:, 0] != classes[:, 1]).all()


def test_singles_are_images_of_the_source_shifted_by_up_to_four_pixels():
    source = marked_images(12)
    images, classes = OverlappingPairs(source, 600, seed=0).batch(slice(None))
    known = {source.images[n].numpy().tobytes(): n for n in range(12)}
    places = set()
    singles = (images[:, 1:].reshape(-1, 1, 36, 36) * 255).round().byte()
    for image, label in zip(singles, classes.flatten(), strict=True):
        top, left = image[0].nonzero().min(dim=0).values.tolist()
        number = known[window(image, top, left, 28).contiguous().numpy().tobytes()]
        assert label == source.labels[number]
        places.add((top, left))
    assert places == {(top, left) for top in range(9) for left in range(9)}


def test_all_images_of_other_classes_are_equally_likely():
    """Also where classes have different sizes, and images of a class do not stand together."""
    labels = torch.tensor([2, 0, 1, 2, 2, 0, 2])
    images = marked_images(7).images
    pairs = OverlappingPairs(ImageSet(images, labels), 21_000, seed=0)
    members = pairs._members
    assert (labels[members[:, 0]] != labels[members[:, 1]]).all()
    for number in range(7):
        partners = members[members[:, 0] == number, 1]
        expected = 3000 / int((labels != labels[number]).sum())
        counts = partners.bincount(minlength=7)[labels != labels[number]]
        assert len(partners) == pytest.approx(3000, abs=250)
        assert counts.tolist() == pytest.approx([expected] * len(counts), rel=0.2)


def test_seed_and_number_decide_a_pair():
    source = marked_images(30)
    pairs = OverlappingPairs(source, 40, seed=5)
    whole = pairs.batch(slice(None))
    some = OverlappingPairs(source, 40, seed=5).batch(torch.tensor([7, 3, 7]))
    assert torch.equal(some[0], whole[0][[7, 3, 7]])
    assert torch.equal(some[1], whole[1][[7, 3, 7]])
    assert not torch.equal(OverlappingPairs(source, 40, seed=6).batch(slice(None))[0], whole[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((marked_images(4, classes=1), 3, 0), "source must hold images of at least two classes"),
        ((marked_images(4), -1, 0), "count must not be negative, got -1"),
        ((marked_images(4, side=40), 3, 0), "got 36 for images of 40x40"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        OverlappingPairs(*arguments)
