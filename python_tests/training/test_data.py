"""Digits, augmentation and batches."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from capsroute.training import TrainingError
from capsroute.training.datasets import ImageSet, load_dataset, load_digits
from capsroute.training.feeding.augmentation import draw_shifts, shifted
from capsroute.training.feeding.batches import ShuffledBatches


def numbered(count):
    """Images of which each has a label and pixels that tell its number."""
    labels = torch.arange(count)
    return ImageSet(labels.to(torch.uint8)[:, None, None, None].expand(count, 1, 2, 2), labels)


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
    with pytest.raises(TrainingError, match="dataset must be digits or mnist, got cifar"):
        load_dataset("cifar")


def test_shift_moves_each_image_by_its_own_whole_pixels():
    images = torch.rand(200, 2, 4, 5) + 1  # no zeros inside
    shifts = draw_shifts(200, 2, torch.Generator().manual_seed(0))
    moves = (2 - shifts).T.tolist()
    for before, after, (down, right) in zip(images, shifted(images, shifts, 2), moves, strict=True):
        assert torch.equal(after, moved(before, down, right))
    assert {tuple(move) for move in moves} == set(product(range(-2, 3), repeat=2))


def moved(image, down, right):
    """``image`` shifted the plain way."""
    result = torch.zeros_like(image)
    for row in range(image.shape[1]):
        for column in range(image.shape[2]):
            if 0 <= row - down < image.shape[1] and 0 <= column - right < image.shape[2]:
                result[:, row, column] = image[:, row - down, column - right]
    return result


def test_an_epoch_holds_every_image_once_in_a_new_order():
    batches = ShuffledBatches(numbered(23), 5, 0, seed=1)
    assert len(batches) == 5
    orders = []
    for _ in range(2):
        drawn = list(batches.rest_of_epoch())
        assert [len(batch.labels) for batch in drawn] == [5, 5, 5, 5, 3]
        for batch in drawn:
            assert torch.equal((batch.images[:, 0, 0, 0] * 255).round().long(), batch.labels)
        orders.append(torch.cat([batch.labels for batch in drawn]).tolist())
        batches.end_epoch()
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(23))
    assert orders[0] != orders[1]


def test_the_seed_decides_the_order():
    def first_epoch(seed):
        batches = ShuffledBatches(numbered(40), 7, 0, seed)
        return torch.cat([batch.labels for batch in batches.rest_of_epoch()]).tolist()

    assert first_epoch(3) == first_epoch(3)
    assert first_epoch(3) != first_epoch(4)


@pytest.mark.parametrize("taken", [0, 2, 5])
def test_restored_batches_go_on_where_they_were(taken):
    straight, stopped = (ShuffledBatches(numbered(23), 5, 1, seed=1) for _ in range(2))
    for batches in (straight, stopped):
        source = batches.rest_of_epoch()
        for _ in range(taken):
            next(source)
    resumed = ShuffledBatches(numbered(23), 5, 1, seed=99)
    resumed.load_state_dict(stopped.state_dict())
    assert resumed.position == taken
    for _ in range(2):  # the rest of this epoch, and the next
        rests = [list(batches.rest_of_epoch()) for batches in (straight, resumed)]
        assert len(rests[0]) == len(rests[1])
        for batch, other in zip(*rests, strict=True):
            assert torch.equal(batch.images, other.images)
            assert torch.equal(batch.labels, other.labels)
        straight.end_epoch()
        resumed.end_epoch()
