"""Loading ahead and on a device: the same batches bit for bit."""

from __future__ import annotations

import threading

import pytest
import torch

from capsroute.training.feeding.batches import ShuffledBatches
from capsroute.training.feeding.loading import DeviceImageSet, loaded_ahead, resident
from python_tests.training.doubles import few_digits


def assert_same(left, right):
    assert torch.equal(left.images, right.images)
    assert torch.equal(left.labels, right.labels)


def test_batches_made_ahead_are_the_same():
    train = few_digits().train
    plain, ahead = (ShuffledBatches(train, 16, 1, seed=5, ahead=ahead) for ahead in (False, True))
    for _ in range(2):
        for left, right in zip(plain.rest_of_epoch(), ahead.rest_of_epoch(), strict=True):
            assert_same(left, right)
            assert torch.equal(plain.state_dict()["generator"], ahead.state_dict()["generator"])
            assert plain.position == ahead.position
        plain.end_epoch()
        ahead.end_epoch()


@pytest.mark.parametrize("taken", [1, 3, 5])
def test_the_state_is_that_of_the_batches_given(taken):
    train = few_digits().train
    straight = ShuffledBatches(train, 16, 1, seed=5)
    expected = list(straight.rest_of_epoch())
    ahead = ShuffledBatches(train, 16, 1, seed=5, ahead=True)
    source = ahead.rest_of_epoch()
    for _ in range(taken):
        next(source)
    resumed = ShuffledBatches(train, 16, 1, seed=9, ahead=True)
    resumed.load_state_dict(ahead.state_dict())
    for batches in (resumed, ahead):  # whoever goes on, in this process or in another
        source.close()
        for left, right in zip(batches.rest_of_epoch(), expected[taken:], strict=True):
            assert_same(left, right)


def test_the_next_is_loaded_while_one_is_used():
    second_began = threading.Event()

    def load(number):
        if number == 1:
            second_began.set()
        return 10 * number

    results = loaded_ahead(range(3), load)
    assert next(results) == (0, 0)
    assert second_began.wait(timeout=20)
    assert list(results) == [(1, 10), (2, 20)]


def test_an_error_while_loading_ahead_is_raised():
    def load(number):
        raise ValueError(f"no image {number}")

    with pytest.raises(ValueError, match="no image 0"):
        list(loaded_ahead(range(3), load))


def test_images_on_a_device_have_the_same_bits():
    train = few_digits().train
    there = DeviceImageSet(train, torch.device("cpu"))
    assert len(there) == len(train)
    assert there.image_shape == train.image_shape
    for places in (torch.tensor([5, 3, 5]), slice(2, 9)):
        for left, right in zip(there.batch(places), train.batch(places), strict=True):
            assert torch.equal(left, right)
    assert resident(train, torch.device("cpu")) is train
