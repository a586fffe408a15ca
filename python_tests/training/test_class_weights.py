"""Balanced class weights: every class weighs the same, however many images it has."""

from __future__ import annotations

import pytest
import torch

from capsroute.training import TrainConfig, Trainer, TrainingError
from capsroute.training.datasets import Dataset, ImageSet
from capsroute.training.networks import build_network, network_options
from python_tests.training.doubles import Recorder, nothing

COUNTS = (3, 9, 24)


def unequal():
    labels = torch.repeat_interleave(torch.tensor(COUNTS))
    images = torch.randint(256, (len(labels), 3, 9, 13), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return ImageSet(images, labels)


@pytest.mark.parametrize("network", ["capsnet", "pooling-cnn"])
def test_the_loss_is_the_mean_over_the_classes_of_their_means(network):
    """Of images without a name, whose network follows from their shape and classes."""
    images = unequal()
    data = Dataset(images, images)
    config = TrainConfig(dataset=None, network=network, reconstruction=False, class_weights="balanced", batch_size=7)
    model = build_network(config, torch.device("cpu"), **network_options(config, data)).double()
    trainer = Trainer(model, config, data, torch.device("cpu"))
    loss, _ = trainer.evaluate()
    plain = Trainer(model, TrainConfig(dataset=None, network=network, reconstruction=False), data, torch.device("cpu"))
    means = [plain.evaluate(images[images.labels == label])[0] for label in range(len(COUNTS))]
    assert loss == pytest.approx(sum(means) / len(means), rel=1e-12)
    assert abs(loss - plain.evaluate()[0]) > 1e-4


def test_a_trainer_takes_images_of_ones_own_and_says_what_it_cannot_weigh():
    images = unequal()
    config = TrainConfig(dataset="my kind of images", epochs=1, batch_size=16)
    data = Dataset(images, images)
    model = build_network(config, torch.device("cpu"), **network_options(config, data))
    trainer, recorder = Trainer(model, config, data, torch.device("cpu")), Recorder()
    assert trainer.fit([recorder], nothing)
    assert len(recorder.epochs) == 1
    with pytest.raises(
        TypeError, match=r"data must be a Dataset of training and test images, got ImageSet: make one by"
    ):
        Trainer(model, config, images, torch.device("cpu"))
    presence = torch.nn.functional.one_hot(images.labels).bool()
    several = Dataset(ImageSet(images.images, presence), ImageSet(images.images, presence))
    assert several.classes == ("0", "1", "2")
    with pytest.raises(
        TrainingError, match="class_weights balanced needs training images in memory, each with one class"
    ):
        Trainer(model, TrainConfig(class_weights="balanced"), several, torch.device("cpu"))
