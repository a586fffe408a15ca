"""From images to batches: shifted, shuffled, divided among ranks and into accumulated parts, loaded ahead."""

from __future__ import annotations

import threading
from itertools import product

import pytest
import torch

from capsroute.training.datasets import ImageSet
from capsroute.training.feeding.augmentation import draw_shifts, shifted
from capsroute.training.feeding.batches import Batch, ShuffledBatches
from capsroute.training.feeding.division import divided
from capsroute.training.feeding.loading import DeviceImageSet, loaded_ahead, resident
from python_tests.training.doubles import few_digits, straight_run


def numbered(count):
    """Images of which each has a label and pixels that tell its number."""
    labels = torch.arange(count)
    return ImageSet(labels.to(torch.uint8)[:, None, None, None].expand(count, 1, 2, 2), labels)


def assert_same(left, right):
    assert torch.equal(left.images, right.images)
    assert torch.equal(left.labels, right.labels)


def test_shift_moves_each_image_by_its_own_whole_pixels():
    images = torch.rand(200, 2, 4, 5) + 1  # no zeros inside
    shifts = draw_shifts(200, 2, torch.Generator().manual_seed(0))
    moves = (2 - shifts).T.tolist()
    for before, after, (down, right) in zip(images, shifted(images, shifts, 2), moves, strict=True):
        assert torch.equal(after, moved(before, down, right))
    assert {tuple(move) for move in moves} == set(product(range(-2, 3), repeat=2))


def moved(image, down, right):
    """``image`` shifted the plain way."""
    height, width = image.shape[1:]
    padded = torch.nn.functional.pad(image, (2, 2, 2, 2))
    return padded[:, 2 - down : 2 - down + height, 2 - right : 2 - right + width]


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


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("taken", [0, 2, 5])
def test_restored_batches_go_on_where_they_were(taken, ahead):
    straight, stopped = (ShuffledBatches(numbered(23), 5, 1, seed=1, ahead=ahead and part) for part in (False, True))
    sources = [batches.rest_of_epoch() for batches in (straight, stopped)]
    for source in sources:
        for _ in range(taken):
            next(source)
    resumed = ShuffledBatches(numbered(23), 5, 1, seed=99, ahead=ahead)
    resumed.load_state_dict(stopped.state_dict())
    assert resumed.position == taken
    sources[1].close()
    for _ in range(2):  # the rest of this epoch, and the next; whoever goes on, in this process or in another
        for batch, *others in zip(*(batches.rest_of_epoch() for batches in (straight, stopped, resumed)), strict=True):
            for other in others:
                assert_same(batch, other)
        for batches in (straight, stopped, resumed):
            batches.end_epoch()


@pytest.mark.parametrize(("count", "parts"), [(10, 1), (10, 3), (9, 3), (2, 4), (0, 2)])
def test_slices_cover_everything_and_are_alike(count, parts):
    slices = divided(count, parts)
    assert [i for s in slices for i in range(count)[s]] == list(range(count))
    lengths = [s.stop - s.start for s in slices]
    assert len(lengths) == parts
    assert max(lengths) - min(lengths) <= 1
    assert lengths == sorted(lengths, reverse=True)


@pytest.mark.parametrize("parts", [2, 3])
def test_the_parts_of_all_ranks_are_the_joint_batches(parts):
    train = few_digits(train=70).train  # the last batch of 23 has one image
    joint, *shares = (
        ShuffledBatches(train, 23, 2, seed=3, part=part, parts=count)
        for count, part in [(1, 0), *((parts, part) for part in range(parts))]
    )
    for _ in range(2):
        for whole, *pieces in zip(*(batches.rest_of_epoch() for batches in (joint, *shares)), strict=True):
            assert all(piece.joint == whole.counted == len(whole.labels) for piece in pieces)
            assert all(len(piece.labels) == max(1, piece.counted) for piece in pieces)
            for index in (0, 1):
                counted = torch.cat([piece[index][: piece.counted] for piece in pieces])
                assert torch.equal(counted, whole[index])
        for batches in (joint, *shares):
            batches.end_epoch()
    for batches in shares:  # so that any number of ranks can go on from the state of one
        state, other = joint.state_dict(), batches.state_dict()
        assert torch.equal(state["generator"], other["generator"])
        assert state["position"] == other["position"]


def test_split_has_no_empty_part():
    batch = Batch(torch.arange(5.0), torch.arange(5), 5, 9)
    assert batch.split(1) == [batch]
    assert [part.labels.tolist() for part in batch.split(3)] == [[0, 1], [2, 3], [4]]
    assert [part.counted for part in batch.split(7)] == [1] * 5
    assert all(part.joint == 9 for part in batch.split(2))
    stand_in = Batch(torch.zeros(1), torch.zeros(1), 0, 9)
    assert stand_in.split(4) == [stand_in]


@pytest.mark.parametrize("parts", [2, 40])
def test_accumulated_steps_are_those_of_the_joint_batch(parts):
    joint, expected = straight_run(dtype=torch.float64, batch_size=23)
    accumulated, found = straight_run(dtype=torch.float64, batch_size=23, accumulate=parts)
    for left, right in zip((*found.steps, *found.epochs), (*expected.steps, *expected.epochs), strict=True):
        assert left.loss == pytest.approx(right.loss, rel=1e-10)
        assert left.accuracy == right.accuracy
    for name, value in joint.model.state_dict().items():
        torch.testing.assert_close(accumulated.model.state_dict()[name], value, rtol=1e-7, atol=1e-10)


def test_an_accumulated_step_sees_its_parts_alone():
    trainer, _ = straight_run(epochs=1, batch_size=16, accumulate=4)
    sizes = []
    trainer.model.register_forward_pre_hook(lambda module, arguments: sizes.append(len(arguments[0])))
    trainer.config = trainer.config.resumed_with({"epochs": 2})
    assert trainer.fit([], lambda: None)
    assert max(sizes) == 4
    assert sum(sizes) == 70 + 30


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
