"""The experiment on scrambled faces: its examples, and that its networks are trained alike."""

from __future__ import annotations

import pytest
import torch

from capsroute.experiments import scramble
from capsroute.experiments.context import WARMUP, Context
from capsroute.experiments.data.faces import FACE, faces_and_others, faces_and_scrambled
from capsroute.experiments.progress import Progress
from capsroute.models import PoolingCNN
from capsroute.training.loop.trainer import Trainer


def test_examples_stand_above_each_other():
    tests = scramble._tests(40)
    examples = scramble._examples(tests)
    pairs = faces_and_scrambled(40, scramble._TEST_SEED).batch(slice(None))[0]
    others = faces_and_others(40, scramble._TEST_SEED).batch(slice(None))[0]
    assert torch.equal(examples[0], pairs[FACE : 2 * scramble._SHOWN : 2])
    assert torch.equal(examples[1], pairs[0 : 2 * scramble._SHOWN : 2])
    assert torch.equal(examples[2], others[0 : 2 * scramble._SHOWN : 2])


@pytest.mark.parametrize("learned", scramble._TRAINED)
@pytest.mark.parametrize("seed", range(3))
def test_no_image_is_learned_and_tested(learned, seed):
    trained = {image.numpy().tobytes() for image in scramble._TRAINED[learned](256, seed).images}
    for tested in scramble._tests(256).values():
        assert not trained & {image.numpy().tobytes() for image in tested.images}


def test_both_networks_are_trained_alike(monkeypatch):
    """The same learning rate and warm-up, as many parameters within 10 %, and as many features as for ten classes."""
    trainers = []

    def train_nothing(self, callbacks, stop):
        trainers.append(self)

    monkeypatch.setattr(Trainer, "fit", train_nothing)
    scale = scramble.EXPERIMENT.quick.changed(images=4, test_images=4)
    context = Context(scale, torch.device("cpu"), None, Progress(0))
    scramble._run(context, seed=1)
    assert [trainer.config.network for trainer in trainers] == 2 * ["capsnet", "pooling-cnn"]
    assert {(trainer.config.lr, trainer.config.warmup) for trainer in trainers} == {(context.learning_rate, WARMUP)}
    for capsnet, pooling in (trainers[:2], trainers[2:]):
        assert capsnet.model.decoder is pooling.model.decoder is None
        counts = [sum(p.numel() for p in trainer.model.parameters()) for trainer in (capsnet, pooling)]
        assert counts[1] == pytest.approx(counts[0], rel=0.1)
        assert pooling.model.classes.in_features == PoolingCNN().classes.in_features == 160
        assert pooling.model.classes.out_features == 2


def test_parameters_follow_from_the_seed():
    context = Context(scramble.EXPERIMENT.quick, torch.device("cpu"), None, Progress(0))
    first, again, other = (
        scramble._pooling_cnn(context, context.config(seed, "pooling-cnn")).classes.weight for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
