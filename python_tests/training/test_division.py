"""How joint batches are divided: among ranks, and into the parts that are accumulated."""

from __future__ import annotations

import pytest
import torch

from capsroute.training.feeding.batches import Batch, ShuffledBatches
from capsroute.training.feeding.division import divided
from python_tests.training.doubles import few_digits, straight_run


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
