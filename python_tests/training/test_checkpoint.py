"""Checkpoints: whole or not at all, safe to read, refused where they do not fit."""

from __future__ import annotations

import pickle

import pytest
import torch

from capsroute.training import TrainingError
from capsroute.training.storage import checkpoint
from capsroute.training.storage.checkpoint import load_checkpoint, save_checkpoint, trained_weights
from python_tests.training.doubles import (
    StopAt,
    assert_bitwise_equal,
    few_digits,
    make_trainer,
    nothing,
    parameters,
)
from python_tests.training.trained import no_room_for


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


def edited(path, trainer, edit):
    """A checkpoint whose contents were changed."""
    save_checkpoint(path, trainer)
    contents = torch.load(path, weights_only=True)
    edit(contents)
    torch.save(contents, path)
    return path


def other_classes(contents):
    state = contents["trainer"]["model"]
    inputs, _, size, d = state["classes.weight"].shape
    state["classes.weight"] = torch.zeros(inputs, 12, size, d)


def test_a_checkpoint_of_another_class_count(tmp_path, trained):
    path = edited(tmp_path / "c.pt", trained, other_classes)
    before = parameters(trained)
    with pytest.raises(TrainingError, match=r"is a checkpoint of another configuration: it has 12 classes, not 10$"):
        load_checkpoint(path).restore(trained)
    assert_bitwise_equal(parameters(trained), before)


@pytest.mark.parametrize("images", [54, 64, 71, 90])
@pytest.mark.parametrize("stop", [2, 3, 5])
def test_a_checkpoint_of_other_training_images(tmp_path, stop, images):
    trainer = make_trainer(log_every=1)
    trainer.fit([StopAt(trainer, stop)], lambda: save_checkpoint(tmp_path / "c.pt", trainer))
    other = make_trainer(data=few_digits(train=images))
    message = f"c.pt is a checkpoint of another configuration: it was trained on 70 images, not on {images}$"
    with pytest.raises(TrainingError, match=message):
        load_checkpoint(tmp_path / "c.pt").restore(other)


@pytest.mark.parametrize("images", [64, 90])
def test_a_checkpoint_of_other_training_images_after_an_epoch(tmp_path, trained, images):
    save_checkpoint(tmp_path / "c.pt", trained)
    other = make_trainer(data=few_digits(train=images))
    message = f"another configuration: it is of step 5, which would be step {-(-images // 16)} with these training im"
    with pytest.raises(TrainingError, match=message):
        load_checkpoint(tmp_path / "c.pt").restore(other)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda c: c["config"].update(epochs=0), "c.pt: epochs must be at least 1, got 0"),
        (
            lambda c: c["config"].update(network="resnet"),
            "c.pt: network must be one of .*; got resnet",
        ),
        (lambda c: c["config"].update(colour=1), r"c.pt: the configuration has other entries .*\['colour'\]"),
        (lambda c: c["config"].update(epochs=[]), "c.pt: epochs must be a whole number, got list"),
        (lambda c: c.update(last_epoch={"epoch": 1}), "c.pt is not a checkpoint of this version"),
        (lambda c: c.update(changed=1), "c.pt is not a checkpoint of this version"),
        (lambda c: c.update(format="capsroute-train-9"), "c.pt is not a checkpoint of this version"),
        (lambda c: c.pop("rng"), "c.pt is not a checkpoint of this version"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_contents_that_do_not_fit(tmp_path, trained, edit, message):
    with pytest.raises(TrainingError, match=message):
        load_checkpoint(edited(tmp_path / "c.pt", trained, edit))


@pytest.mark.parametrize("edit", [dict.clear, lambda t: t.update(model=[]), lambda t: t.update(model={"a": 1})])
def test_a_checkpoint_without_weights(tmp_path, trained, edit):
    path = edited(tmp_path / "c.pt", trained, lambda contents: edit(contents["trainer"]))
    with pytest.raises(TrainingError, match=r"c\.pt is a checkpoint without the weights of a network"):
        _ = load_checkpoint(path).network
    with pytest.raises(TrainingError, match=r"c\.pt is a checkpoint of another configuration"):
        load_checkpoint(path).restore(trained)


def test_a_checkpoint_of_the_first_format(tmp_path, trained):
    def shorten(contents):
        del contents["step"], contents["last_epoch"], contents["changed"]

    loaded = load_checkpoint(edited(tmp_path / "c.pt", trained, shorten))
    assert (loaded.step, loaded.last_epoch, loaded.changed) == (None, None, frozenset())
    loaded.restore(trained)


def test_the_averaged_weights_are_those_to_use():
    assert trained_weights({"model": {"w": 1}, "ema": {"w": 2}}) == {"w": 2}
    assert trained_weights({"model": {"w": 1}, "ema": None}) == {"w": 1}
    assert trained_weights({"model": {"w": 1}}) == {"w": 1}


def test_without_room_the_old_checkpoint_stays(tmp_path, trained):
    path = tmp_path / "c.pt"
    save_checkpoint(path, trained)
    before = path.read_bytes()
    with (
        no_room_for(len(before) // 2),
        pytest.raises(TrainingError, match=r"cannot write the checkpoint .*c\.pt: File too large$"),
    ):
        save_checkpoint(path, trained)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["c.pt"]
