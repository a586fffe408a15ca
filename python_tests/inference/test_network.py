"""A network comes from either file of a run."""

from __future__ import annotations

import pytest

from capsroute.inference import read_network
from capsroute.training import TrainingError
from python_tests.training.doubles import assert_bitwise_equal


def test_both_files_hold_the_same_network(run_folder):
    checkpoint, weights = read_network(run_folder.checkpoint), read_network(run_folder.weights)
    assert_bitwise_equal(checkpoint.build().state_dict(), weights.build().state_dict())
    for stored in (checkpoint, weights):
        assert (stored.epoch, stored.step, stored.image_shape) == (1, 5, (1, 8, 8))
        assert stored.classes == tuple("0123456789")


def test_a_folder_means_its_weights(run_folder, tmp_path):
    stored = read_network(run_folder.path)
    assert stored.path == run_folder.weights
    assert_bitwise_equal(stored.build().state_dict(), read_network(run_folder.weights).build().state_dict())
    with pytest.raises(TrainingError, match=r"cannot read the checkpoint .*/model\.safetensors: No such file"):
        read_network(tmp_path)


def test_the_name_does_not_matter(run_folder, tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(run_folder.weights.read_bytes())
    (tmp_path / "model.safetensors").write_bytes(run_folder.checkpoint.read_bytes())
    for path in tmp_path.iterdir():
        assert read_network(path).step == 5


@pytest.mark.parametrize("contents", [b"", b"hello", b"\x80\x04K\x01.", b"PK\x03\x04 and no more"])
def test_other_files(tmp_path, contents):
    (tmp_path / "x.pt").write_bytes(contents)
    with pytest.raises(TrainingError, match=r"x.pt is (neither )?(not )?a checkpoint .*damaged$"):
        read_network(tmp_path / "x.pt")
