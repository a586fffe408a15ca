"""Scikit-learn's digits."""

from __future__ import annotations

import pytest
import torch

from capsroute.training import TrainingError
from capsroute.training.datasets import load_dataset, load_digits


def test_digits_are_all_there_and_split_once():
    digits = load_digits()
    assert (len(digits.train), len(digits.test)) == (1437, 360)
    assert digits.train.images.shape == (1437, 1, 8, 8)
    assert torch.equal(digits.test.images, load_dataset("digits").test.images)
    from sklearn.datasets import load_digits as original

    def sums(images):
        return sorted(map(bytes, images.to(torch.uint8).numpy()))

    together = torch.cat([digits.train.images, digits.test.images]).flatten(1)
    assert sums(together) == sums(torch.from_numpy(original().data))
    held_out, learned = digits.test.labels.bincount(), digits.train.labels.bincount()
    assert (held_out / (held_out + learned)).tolist() == pytest.approx([0.2] * 10, abs=0.005)  # class by class


def test_batches_are_between_zero_and_one():
    images, labels = load_digits().train.batch(torch.tensor([5, 7, 5]))
    assert images.dtype == torch.float32
    assert images.min() == 0
    assert images.max() == 1
    assert labels[0] == labels[2]
    assert torch.equal(images[0], images[2])


def test_unknown_dataset():
    with pytest.raises(TrainingError, match=r"dataset must be one of digits, mnist, .*; got cifar"):
        load_dataset("cifar")
