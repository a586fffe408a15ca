"""What all experiments share: sizes, seeds, records, progress, the files that are written."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from capsroute.experiments.context import Context
from capsroute.experiments.experiment import Experiment, Outcome
from capsroute.experiments.progress import Progress
from capsroute.experiments.record import Record, spread
from capsroute.experiments.run import run_experiment
from capsroute.experiments.scale import Scale
from capsroute.training import TrainingError
from python_tests.training.doubles import few_digits

CPU = torch.device("cpu")
TINY = Scale(preset="digits", epochs=2, seeds=2, batch_size=16)


def train_digits(context, seed):
    data = few_digits()
    trainer = context.fit(data.train, data.test, context.config(seed, dataset="digits"))
    accuracy = context.accuracy(trainer, data.test)
    weight = next(trainer.model.parameters()).sum().item()
    numbers = {"seed": seed, "accuracy": accuracy, "steps": trainer.step, "weight": weight}
    return Outcome(numbers, {"images": torch.zeros(1)}, len(data.train), len(data.test))


class Drawn:
    """A figure that says what it was drawn of."""

    def __init__(self, record, pictures):
        self.text = f"{record.experiment} {list(pictures)}"

    def savefig(self, path, dpi):
        path.write_text(self.text)


DIGITS = Experiment(
    "digits",
    TINY,
    TINY,
    steps=lambda context: context.steps(70),
    run=train_digits,
    report=lambda record: [record.over_seeds("accuracy").percent()],
    draw=Drawn,
)


def run_digits(out, experiment=DIGITS, scale=TINY):
    return run_experiment(experiment, scale, False, device=CPU, data_dir=None, out=out)


def contents(folder):
    return {file: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture
def whole(tmp_path):
    """A run that was there before."""
    return run_digits(tmp_path)


def test_run_writes_record_and_figure(tmp_path, capsys):
    record = run_digits(tmp_path / "new")
    assert Record.read(tmp_path / "new" / "digits.json") == record
    assert (tmp_path / "new" / "digits.png").read_text() == "digits ['images']"
    assert [seed["seed"] for seed in record.seeds] == [0, 1]
    assert record.scale == {**TINY.as_dict(), "images": 70, "test_images": len(few_digits().test), "full": False}
    assert record.environment["torch"] == torch.__version__
    assert "; 70 training images, 2 epochs, 2 seeds" in record.headline
    assert record.seeds[0]["weight"] != record.seeds[1]["weight"]
    printed = capsys.readouterr().out.splitlines()
    assert printed[:2] == ["seed 1 of 2 (step 0 of 20)", "seed 2 of 2 (step 10 of 20)"]


def test_a_first_seed_that_fails_changes_nothing(tmp_path, whole):
    before = contents(tmp_path)

    def fail(context, seed):
        raise TrainingError("no data")

    with pytest.raises(TrainingError, match="no data"):
        run_digits(tmp_path, replace(DIGITS, run=fail))
    assert contents(tmp_path) == before


def interrupted(context, seed):
    if seed == 1:
        raise KeyboardInterrupt
    return train_digits(context, seed)


def not_finite(number):
    def run(context, seed):
        outcome = train_digits(context, seed)
        return outcome._replace(numbers={**outcome.numbers, "r2": [number]}) if seed == 1 else outcome

    return run


@pytest.mark.parametrize(
    ("run", "raised"),
    [
        (interrupted, pytest.raises(KeyboardInterrupt)),
        *(
            (
                not_finite(float(number)),
                pytest.raises(TrainingError, match=r"a number that is not finite: .*json is not written"),
            )
            for number in ("nan", "-inf")
        ),
    ],
)
def test_a_later_seed_that_fails_loses_none_before_it(run, raised, tmp_path, whole, capsys):
    before = contents(tmp_path)
    with raised:
        run_digits(tmp_path, replace(DIGITS, run=run))
    unfinished = tmp_path / "digits.unfinished.json"
    assert Record.read(unfinished).seeds == whole.seeds[:1]  # the same seed gives the same
    assert {file: text for file, text in contents(tmp_path).items() if file != unfinished} == before
    assert f"what 1 of 2 seeds gave is in {unfinished}" in capsys.readouterr().out
    run_digits(tmp_path)
    assert contents(tmp_path).keys() == before.keys()


def test_a_figure_that_fails_loses_no_numbers_and_no_figure(tmp_path, whole):
    class Fails(Drawn):
        def savefig(self, path, dpi):
            path.write_text("half a figure")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        run_digits(tmp_path, replace(DIGITS, draw=Fails))
    assert Record.read(tmp_path / "digits.unfinished.json").seeds == whole.seeds
    assert (tmp_path / "digits.png").read_text() == "digits ['images']"


def test_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="cannot write into the folder"):
        run_digits(tmp_path / "file")


@pytest.mark.parametrize("name", ["images", "test_images", "epochs", "seeds"])
def test_sizes_below_one(name):
    with pytest.raises(TrainingError, match=f"{name} must be at least 1, got 0"):
        TINY.changed(**{name: 0})


def test_sizes_that_are_given():
    assert TINY.changed(epochs=None, images=5) == replace(TINY, images=5)


def test_parts_of_images():
    data = few_digits()
    scale = Scale(images=7, test_images=3)
    assert torch.equal(scale.training_part(data.train).images, data.train.images[:7])
    assert torch.equal(scale.test_part(data.test).labels, data.test.labels[:3])
    assert len(Scale().training_part(data.train)) == len(data.train)


def test_spread():
    assert spread([1.0, 2.0, 4.0]).mean == pytest.approx(7 / 3)
    assert spread([1.0, 2.0, 4.0]).deviation == pytest.approx((7 / 3) ** 0.5)
    assert spread([0.5]).deviation == 0
    assert spread([0.981, 0.983]).percent(1) == "98.2 ± 0.1"


def test_record_of_another_kind(tmp_path):
    path = tmp_path / "x.json"
    for content in ("{", json.dumps({"rows": []}), "[]"):
        path.write_text(content)
        with pytest.raises(TrainingError, match=r"x\.json is not what capsroute experiment writes"):
            Record.read(path)
    with pytest.raises(TrainingError, match=r"cannot read .*absent\.json: No such file"):
        Record.read(tmp_path / "absent.json")


def test_network_that_is_given(tmp_path):
    data = few_digits()
    context = Context(TINY, CPU, None, Progress(0))
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))

    def objective(network, images, labels):
        scores = network(images)
        return torch.nn.functional.cross_entropy(scores, labels), scores.argmax(1) == labels

    before = [parameter.clone() for parameter in model.parameters()]
    trainer = context.fit(data.train, data.test, context.config(0), model=model, objective=objective)
    assert trainer.model is model
    assert not model.training
    assert not any(map(torch.equal, before, model.parameters()))
    assert context.progress.done == context.steps(70) == 10
