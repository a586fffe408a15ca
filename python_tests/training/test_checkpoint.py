"""Checkpoints: safe to read, refused where they do not fit. How they are written: test_saving."""

from __future__ import annotations

import pickle

import pytest
import torch

from capsroute.training import TrainingError
from capsroute.training.storage.checkpoint import load_checkpoint, trained_weights, write_checkpoint
from python_tests.training.doubles import StopAt, assert_bitwise_equal, few_digits, make_trainer, nothing, parameters


def save(path, trainer):
    with open(path, "wb") as file:
        write_checkpoint(file, trainer)


@pytest.fixture
def trained():
    trainer = make_trainer(epochs=1)
    trainer.fit([], nothing)
    return trainer


@pytest.fixture
def path(tmp_path, trained):
    """Its checkpoint."""
    save(tmp_path / "c.pt", trained)
    return tmp_path / "c.pt"


def edit(path, change):
    """Changes the contents of a checkpoint."""
    contents = torch.load(path, weights_only=True)  # plain data, and no code
    change(contents)
    torch.save(contents, path)


def test_everything_comes_back(tmp_path, trained):
    torch.manual_seed(11)
    save(tmp_path / "c.pt", trained)
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


class _Attack:
    def __reduce__(self):
        return (exec, ("raise SystemExit('code from a checkpoint was run')",))


@pytest.mark.parametrize(
    "damage",
    [lambda raw: b"hello\n", lambda raw: b"", lambda raw: raw[:-2000], lambda raw: pickle.dumps(_Attack())],
    ids=["text", "empty", "cut", "pickle"],
)
def test_foreign_files(path, damage):
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(TrainingError, match="is not a checkpoint of"):
        load_checkpoint(path)


def test_an_absent_file(tmp_path):
    with pytest.raises(TrainingError, match=r"cannot read the checkpoint .*: No such file"):
        load_checkpoint(tmp_path / "c.pt")


def refused(path, trainer, message):
    """A checkpoint that is of another configuration than a trainer, which stays as it is."""
    before = parameters(trainer)
    with pytest.raises(TrainingError, match=f"c.pt is a checkpoint of another configuration: {message}") as caught:
        load_checkpoint(path).restore(trainer)
    assert "\n" not in str(caught.value)
    assert_bitwise_equal(parameters(trainer), before)


def other_classes(contents):
    state = contents["trainer"]["model"]
    inputs, _, size, d = state["classes.weight"].shape
    state["classes.weight"] = torch.zeros(inputs, 12, size, d)


def test_a_checkpoint_of_another_network(path, trained):
    refused(path, make_trainer(reconstruction=False), ".*decoder")
    edit(path, other_classes)
    refused(path, trained, "it has 12 classes, not 10$")


@pytest.mark.parametrize(("stop", "images"), [(2, 54), (3, 64), (3, 71), (5, 90)])
def test_a_checkpoint_of_other_training_images(tmp_path, stop, images):
    trainer = make_trainer(log_every=1)
    trainer.fit([StopAt(trainer, stop)], lambda: save(tmp_path / "c.pt", trainer))
    other = make_trainer(data=few_digits(train=images))
    with pytest.raises(TrainingError, match=f"c.pt is .*: it was trained on 70 images, not on {images}$"):
        load_checkpoint(tmp_path / "c.pt").restore(other)


@pytest.mark.parametrize("images", [64, 90])
def test_a_first_checkpoint_of_other_training_images_after_an_epoch(path, images):
    """Which tells by its steps alone how many they were."""
    edit(path, lambda contents: contents.pop("data"))
    other = make_trainer(data=few_digits(train=images))
    message = f"another configuration: it is of step 5, which would be step {-(-images // 16)} with these training im"
    with pytest.raises(TrainingError, match=message):
        load_checkpoint(path).restore(other)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["config"].update(network="resnet"), "c.pt: network must be one of .*; got resnet"),
        (lambda c: c["config"].update(colour=1), r"c.pt: the configuration has other entries .*\['colour'\]"),
        (lambda c: c["config"].update(epochs=[]), "c.pt: epochs must be a whole number, got list"),
        (lambda c: c.update(last_epoch={"epoch": 1}), "c.pt is not a checkpoint of this version"),
        (lambda c: c.update(data=[1]), "c.pt is not a checkpoint of this version"),
        (lambda c: c.update(changed=1), "c.pt is not a checkpoint of this version"),
        (lambda c: c.update(format="capsroute-train-9"), "c.pt is not a checkpoint of this version"),
        (lambda c: c.pop("rng"), "c.pt is not a checkpoint of this version"),
        (dict.clear, "c.pt is not a checkpoint of this version"),
    ],
)
def test_contents_that_do_not_fit(path, change, message):
    edit(path, change)
    with pytest.raises(TrainingError, match=message):
        load_checkpoint(path)


@pytest.mark.parametrize("change", [dict.clear, lambda t: t.update(model=[]), lambda t: t.update(model={"a": 1})])
def test_a_checkpoint_without_weights(path, trained, change):
    edit(path, lambda contents: change(contents["trainer"]))
    with pytest.raises(TrainingError, match=r"c\.pt is a checkpoint without the weights of a network"):
        _ = load_checkpoint(path).network
    refused(path, trained, "")


def test_a_checkpoint_of_the_first_format(path, trained):
    def shorten(contents):
        for name in ("step", "last_epoch", "changed", "classes", "options", "data"):
            del contents[name]

    edit(path, shorten)
    loaded = load_checkpoint(path)
    assert (loaded.step, loaded.last_epoch, loaded.changed) == (None, None, frozenset())
    loaded.restore(trained)


def test_the_averaged_weights_are_those_to_use():
    assert trained_weights({"model": {"w": 1}, "ema": {"w": 2}}) == {"w": 2}
    assert trained_weights({"model": {"w": 1}, "ema": None}) == trained_weights({"model": {"w": 1}}) == {"w": 1}
