"""Checkpoints: whole or not at all, safe to read, refused where they do not fit."""

from __future__ import annotations

import pickle

import pytest
import torch

from capsroute.training import TrainingError, checkpoint
from capsroute.training.checkpoint import load_checkpoint, save_checkpoint
from python_tests.training.doubles import assert_bitwise_equal, make_trainer, nothing, parameters


@pytest.fixture
def trained():
    trainer = make_trainer(epochs=1)
    trainer.fit([], nothing)
    return trainer


def test_everything_comes_back(tmp_path, trained):
    torch.manual_seed(11)
    save_checkpoint(tmp_path / "c.pt", trained)
    expected_noise = torch.rand(3)
    loaded = load_checkpoint(tmp_path / "c.pt")
    assert loaded.config == trained.config
    other = make_trainer(epochs=1, seed=5)
    loaded.restore(other)
    assert torch.equal(torch.rand(3), expected_noise)
    assert (other.epoch, other.step, other.test_accuracy) == (1, trained.step, trained.test_accuracy)
    assert_bitwise_equal(parameters(trained), parameters(other))
    assert other.scheduler.get_last_lr() == trained.scheduler.get_last_lr()
    for left, right in zip(
        trained.optimizer.state_dict()["state"].values(), other.optimizer.state_dict()["state"].values(), strict=True
    ):
        assert_bitwise_equal(left, right)


def test_it_is_plain_data(tmp_path, trained):
    save_checkpoint(tmp_path / "c.pt", trained)
    contents = torch.load(tmp_path / "c.pt", weights_only=True)
    assert contents["config"]["batch_size"] == 16
    assert contents["trainer"]["model"]["classes.weight"].shape == trained.model.classes.weight.shape


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path, trained, monkeypatch):
    path = tmp_path / "c.pt"
    save_checkpoint(path, trained)
    before = path.read_bytes()

    def disk_full(contents, file):
        file.write(b"the beginning of a checkpoint")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.torch, "save", disk_full)
    with pytest.raises(TrainingError, match=r"cannot write the checkpoint .*No space left"):
        save_checkpoint(path, trained)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["c.pt"]


class _Attack:
    def __reduce__(self):
        return (exec, ("raise SystemExit('code from a checkpoint was run')",))


@pytest.mark.parametrize("kind", ["text", "empty", "cut", "pickle", "other"])
def test_foreign_files(tmp_path, trained, kind):
    path = tmp_path / "c.pt"
    save_checkpoint(path, trained)
    contents = {
        "text": b"hello\n",
        "empty": b"",
        "cut": path.read_bytes()[:-2000],
        "pickle": pickle.dumps(_Attack()),
        "other": None,
    }[kind]
    if contents is None:
        torch.save({"model": {}}, path)
    else:
        path.write_bytes(contents)
    with pytest.raises(TrainingError, match="is not a checkpoint of"):
        load_checkpoint(path)


def test_an_absent_file(tmp_path):
    with pytest.raises(TrainingError, match=r"cannot read the checkpoint .*: No such file"):
        load_checkpoint(tmp_path / "c.pt")


def test_a_checkpoint_of_another_network(tmp_path, trained):
    save_checkpoint(tmp_path / "c.pt", trained)
    other = make_trainer(reconstruction=False)
    with pytest.raises(TrainingError, match=r"is a checkpoint of another configuration: .*decoder") as caught:
        load_checkpoint(tmp_path / "c.pt").restore(other)
    assert "\n" not in str(caught.value)
