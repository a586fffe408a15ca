"""The loop: what it minimises, what it tells, and that it goes on bit for bit."""

from __future__ import annotations

import math

import pytest
import torch

from capsroute.models import CapsNetOutput
from capsroute.nn import margin_loss
from capsroute.training import TrainingError
from capsroute.training.datasets import Dataset, ImageSet
from capsroute.training.loop.objective import Classification, training_loss
from capsroute.training.parallel.ranks import Ranks
from python_tests.training.doubles import (
    Recorder,
    StopAt,
    assert_bitwise_equal,
    few_digits,
    make_trainer,
    nothing,
    parameters,
    straight_run,
    told,
)


def test_objective_is_the_sum_of_both_losses():
    lengths, labels = torch.rand(3, 4), torch.tensor([0, 1, 2])
    images, reconstruction = torch.rand(3, 1, 2, 2), torch.rand(3, 1, 2, 2)
    margin = margin_loss(lengths, labels)
    output = CapsNetOutput(torch.rand(3, 4, 5), lengths, reconstruction)
    expected = margin + 0.25 * (reconstruction - images).square().flatten(1).sum(1).mean()
    torch.testing.assert_close(training_loss(output, images, labels, 0.25), expected)
    assert torch.equal(training_loss(output._replace(reconstruction=None), images, labels, 0.25), margin)


def test_records():
    trainer, recorder = make_trainer(log_every=2), Recorder()
    saved = []
    assert trainer.fit([recorder], lambda: saved.append((trainer.epoch, trainer.step)))
    assert [record.step for record in recorder.steps] == [2, 4, 5, 6, 8, 10]
    assert [(record.epoch, record.step) for record in recorder.epochs] == [(1, 5), (2, 10)]
    assert saved == [(1, 5), (2, 10)]
    # 70 images in batches of 16: the records of an epoch weigh 32, 32 and 6 images.
    weighed = list(zip(recorder.steps, (32, 32, 6), strict=False))
    assert recorder.epochs[0].loss == pytest.approx(sum(record.loss * n for record, n in weighed) / 70)
    assert recorder.epochs[0].accuracy == pytest.approx(sum(record.accuracy * n for record, n in weighed) / 70)
    assert recorder.steps[2].learning_rate == pytest.approx(3e-3 * 0.9)  # which the next step is going to take
    assert all(record.images_per_second > 0 and record.seconds > 0 for record in recorder.epochs)
    assert recorder.epochs[-1].test_accuracy == trainer.test_accuracy
    assert trainer.evaluate() == (recorder.epochs[-1].test_loss, trainer.test_accuracy)


def test_evaluate_against_plain_counting():
    trainer = make_trainer()
    for images, result in ((trainer.data.test, trainer.evaluate()), (trainer.data.train, None)):
        loss, accuracy = result or trainer.evaluate(images)
        pixels, labels = images.batch(slice(None))
        with torch.no_grad():
            output = trainer.model(pixels)
        assert accuracy == pytest.approx((output.scores.argmax(1) == labels).double().mean().item())
        assert loss == pytest.approx(training_loss(output, pixels, labels, 0.0005).item(), rel=1e-5)


class OneLinearLayer(torch.nn.Module):
    """A network of another kind, which says what it was asked to reconstruct."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(64, 10)
        self.asked = []

    def forward(self, images, labels=None):
        self.asked.append(labels)
        return CapsNetOutput(images, self.linear(images.flatten(1)), None)


def test_cross_entropy_for_the_network_with_pooling():
    trainer = make_trainer(network="pooling-cnn")
    model, (images, labels) = OneLinearLayer(), trainer.data.train.batch(slice(0, 20))
    loss, correct = trainer.objective(model, images, labels)
    scores = model.linear(images.flatten(1))
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(scores, labels))
    assert torch.equal(correct, scores.argmax(1) == labels)
    trainer.objective(model.eval(), images, labels)
    assert model.asked[0] is labels  # true classes are reconstructed in training alone
    assert model.asked[1] is None


def two_labels(part):
    """Each digit is also said to be 9 minus it."""
    return ImageSet(
        part.images, torch.eye(10, dtype=torch.bool)[torch.stack([part.labels, 9 - part.labels])].any(0), 16
    )


def test_several_labels_per_image():
    """Presence trains, is reconstructed from, and is counted by images and by labels."""
    digits = few_digits(320, 60)
    data = Dataset(two_labels(digits.train), two_labels(digits.test))
    trainer = make_trainer(data, epochs=6, lr=1e-2, shift=0)
    before, _ = trainer.evaluate()
    trainer.fit([], nothing)
    loss, accuracy = trainer.evaluate()
    assert loss < 0.5 * before
    images, labels = data.test.batch(slice(None))
    with torch.no_grad():
        output = trainer.model(images, labels)
    said = output.lengths > 0.5
    assert 0.1 < accuracy == pytest.approx((said == labels).all(1).double().mean().item())
    assert loss == pytest.approx(training_loss(output, images, labels, 0.0005).item(), rel=1e-5)
    trainer.objective = Classification(margin_loss, 0.0005, per_label=True)
    assert trainer.evaluate()[1] == pytest.approx((said == labels).double().mean().item(), rel=1e-6)


def test_several_labels_for_the_network_with_pooling():
    model, (images, labels) = OneLinearLayer().eval(), two_labels(few_digits().train).batch(slice(0, 20))
    loss, correct = make_trainer(network="pooling-cnn").objective(model, images, labels)
    scores = model.linear(images.flatten(1))
    by_hand = -torch.where(labels, scores.sigmoid(), 1 - scores.sigmoid()).log().sum(dim=1).mean()
    torch.testing.assert_close(loss, by_hand)
    assert torch.equal(correct, ((scores > 0) == labels).all(dim=1))
    assert model.asked == [labels]  # which of the classes are there is given in tests too


def test_labels_that_do_not_fit_stop_the_first_step():
    digits = few_digits(20, 10)
    for labels, error, message in (
        (digits.train.labels + 9, ValueError, r"labels must hold class numbers from 0 to 9, got 1\d"),
        (digits.train.labels.float(), TypeError, "labels of shape .* must hold class numbers of dtype torch.int64"),
        (torch.full((20, 10), 0.5), ValueError, "labels must hold 0 .* or 1 .* for each class, got 0.5"),
        (torch.zeros(20, 9), ValueError, r"labels must have the shape .* got \[16, 9\]"),
    ):
        data = Dataset(ImageSet(digits.train.images, labels, 16), digits.test)
        with pytest.raises(error, match=message):
            make_trainer(data).fit([], nothing)
    with pytest.raises(ValueError, match="labels must be one per image, 20, got 19"):
        ImageSet(digits.train.images, digits.train.labels[:19])


def test_same_seed_same_parameters():
    first, second, other = (straight_run(epochs=1, seed=seed)[0] for seed in (5, 5, 6))
    assert_bitwise_equal(parameters(first), parameters(second))
    assert not torch.equal(first.model.classes.weight, other.model.classes.weight)


def assert_as_straight(expected, before, after):
    """Observers of a run that stopped and of its resumption were told what that of a straight one was."""
    assert told(before.steps) + told(after.steps) == told(expected.steps)
    assert [(e.loss, e.test_loss, e.test_accuracy) for e in (*before.epochs, *after.epochs)] == [
        (e.loss, e.test_loss, e.test_accuracy) for e in expected.epochs
    ]


@pytest.mark.parametrize(
    ("stop", "changes"),
    [
        *((stop, {}) for stop in (1, 3, 5, 7)),
        (3, {"routing": "reference"}),
        (3, {"amp": True, "reconstruction": False}),
        (7, {"accumulate": 3, "schedule": "cosine", "warmup": 2}),
        (7, {"ema": 0.9}),
    ],
    ids=str,
)
def test_stopped_and_resumed_is_the_same_bit_for_bit(stop, changes):
    straight, expected = straight_run(**changes)

    stopped = make_trainer(log_every=1, **changes)
    before = StopAt(stopped, stop)
    states = []
    assert not stopped.fit([before], lambda: states.append(stopped.state_dict()))
    assert stopped.step == stop
    resumed, after = make_trainer(log_every=1, **changes), Recorder()
    torch.nn.init.zeros_(resumed.model.classes.weight)
    resumed.load_state_dict(states[-1])
    assert resumed.step == stop
    assert resumed.fit([after], nothing)

    assert_bitwise_equal(parameters(straight), parameters(resumed))

    assert_as_straight(expected, before, after)


@pytest.mark.parametrize("changes", [{}, {"ema": 0.9, "amp": True, "accumulate": 3, "warmup": 2}], ids=str)
def test_stopped_in_a_test_and_resumed_is_the_same_bit_for_bit(changes):
    straight, expected = straight_run(**changes)
    stopped, before = make_trainer(log_every=1, **changes), Recorder()
    judge = stopped.objective

    def stop_in_the_second_batch_of_a_test(model, images, labels):
        if not model.training:
            tested.append(len(labels))
            stopped.stop_requested = len(tested) == 2
        return judge(model, images, labels)

    tested, states = [], []
    stopped.objective = stop_in_the_second_batch_of_a_test
    assert not stopped.fit([before], lambda: states.append(stopped.state_dict()))
    assert (stopped.step, stopped.epoch, before.epochs, len(states)) == (5, 0, [], 1)
    resumed, after = make_trainer(log_every=1, **changes), Recorder()
    resumed.load_state_dict(states[-1])
    assert resumed.fit([after], nothing)

    assert_bitwise_equal(parameters(straight), parameters(resumed))
    assert_as_straight(expected, before, after)


def test_a_stop_that_is_asked_for_while_the_ranks_agree_is_not_lost(monkeypatch):
    trainer = make_trainer()

    def asked_meanwhile(ranks, value):
        trainer.stop_requested = True
        return value

    monkeypatch.setattr(Ranks, "largest", asked_meanwhile)
    assert not trainer.fit([], nothing)
    assert trainer.step == 2  # they had agreed to go on after the first


@pytest.mark.parametrize("ema", [0.0, 0.99])
def test_two_epochs_are_one_and_one_more(ema):
    straight, _ = straight_run(ema=ema)
    first, _ = straight_run(ema=ema, epochs=1)
    second = make_trainer(ema=ema, epochs=2)
    second.load_state_dict(first.state_dict())
    assert second.epoch == 1
    assert second.fit([], nothing)
    assert_bitwise_equal(parameters(straight), parameters(second))
    if ema:
        assert_bitwise_equal(straight.state_dict()["ema"], second.state_dict()["ema"])


def test_a_finished_run_has_nothing_to_do():
    trainer, _ = straight_run(epochs=1)
    before, recorder = parameters(trainer), Recorder()
    assert trainer.fit([recorder], nothing)
    assert recorder.epochs == []
    assert_bitwise_equal(before, parameters(trainer))


def test_a_loss_that_is_not_finite_ends_the_run():
    trainer = make_trainer()
    with torch.no_grad():
        trainer.model.classes.weight[0, 0, 0, 0] = math.nan
    with pytest.raises(TrainingError, match="the loss is nan in step 2: try a smaller --lr"):
        trainer.fit([], nothing)


def test_a_stop_does_not_save_weights_that_are_no_numbers():
    trainer, saved = make_trainer(log_every=10), []
    with torch.no_grad():
        trainer.model.classes.weight[0, 0, 0, 0] = math.nan
    trainer.stop_requested = True
    with pytest.raises(TrainingError, match="the loss is nan by step 1: try a smaller --lr"):
        trainer.fit([], lambda: saved.append(trainer.step))
    assert saved == []


@pytest.mark.parametrize("broken", [3, 10])  # within an epoch, and in its last step
def test_an_update_that_breaks_the_weights_is_not_saved(broken):
    trainer, saved = make_trainer(log_every=1), []

    @trainer.optimizer.register_step_post_hook
    def break_the_weights(*arguments):
        if trainer.step == broken:
            trainer.stop_requested = broken == 3
            trainer.model.classes.weight.detach()[0, 0, 0, 0] = math.nan

    with pytest.raises(TrainingError, match=f"weights are not finite after step {broken}: try a smaller --lr"):
        trainer.fit([], lambda: saved.append(trainer.step))
    assert saved == ([] if broken == 3 else [5])
