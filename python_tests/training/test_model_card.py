"""The model card says what is so, and what it shows runs."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pytest
import torch

from capsroute.cli import _build_parser, main, train
from capsroute.training import DATASETS, TrainConfig, preset, save_weights
from capsroute.training.datasets import READERS
from capsroute.training.datasets.facts import DIGITS as DIGITS_FACTS
from capsroute.training.datasets.facts import MNIST as MNIST_FACTS
from capsroute.training.loop.records import EpochRecord
from capsroute.training.storage.model_card import CardFacts, model_card
from python_tests.training.trained import preset_network

RECORD = EpochRecord(3, 135, 0.25, 0.5, 0.125, 0.9375, 100.0, 1.0)
FACTS_OF_A_RUN = CardFacts(
    config=TrainConfig(**preset("digits")),
    data=DIGITS_FACTS,
    classes=DIGITS_FACTS.classes,
    image_shape=(1, 8, 8),
    checksum="c0ffee",
    parameters=271_488,
    step=135,
    epoch=3,
    last_epoch=RECORD,
    training_images=1437,
    test_images=360,
    versions={"capsroute": "1.2.3", "torch": "9.8"},
    written=datetime(2026, 2, 3, 4, 5, tzinfo=timezone.utc),
    device="cpu",
    threads=3,
)


def words(**changes):
    return " ".join(model_card(replace(FACTS_OF_A_RUN, **changes)).split())


def command_of(card):
    """Arguments of the command line that the card shows."""
    shown = re.search(r"```\n((?:capsroute|torchrun).*?)\n```", card.split("## How it was trained")[1], re.DOTALL)[1]
    return shlex.split(shown.replace("\\\n", " "))


DIGITS = FACTS_OF_A_RUN.config
POOLING = replace(DIGITS, network="pooling-cnn", reconstruction=False)
RESUMED = "The run was resumed with another {}; the command has what it was last."


@pytest.mark.parametrize(
    ("changes", "sentences"),
    [
        (
            {},
            [
                "after step 135 (epoch 3 of 20), saved 2026-02-03 04:05 UTC",
                "271,488 parameters",
                "grey images of 8x8 pixels",
                "Test accuracy 93.75 % on 360 images",
                "test loss 0.1250. Training loss 0.2500, training accuracy 50.00 %",
                "The test set was looked at after each epoch and chose nothing in this run",
                "capsroute 1.2.3, torch 9.8",
                "Licence: CC BY 4.0",
                "Saved on the CPU, by 1 process(es) of 3 thread(s) each. Where all of a run is done like that",
                "weights that are the same bit for bit, whether",
            ],
        ),
        (
            {"step": 140},
            ["These are of the end of epoch 3, step 135: the weights here have learned for some steps more."],
        ),
        ({"last_epoch": None, "step": 7, "epoch": 0}, ["Not known: no epoch has ended yet"]),
        ({"config": POOLING}, ["# PoolingCNN for digits", "the cross-entropy, Adam", "a score for each class"]),
        ({"config": replace(POOLING, ema=0.99)}, ["the weights, averaged over the steps, after"]),
        (
            {"device": "cuda", "processes": 4, "threads": 1},
            ["on a GPU, by 4 process(es) of 1 thread(s) each", "torchrun --nproc-per-node 4 -m capsroute train "],
        ),
        ({"config": replace(DIGITS, compile=True)}, ["weights that are alike up to rounding, whether"]),
        (
            {"changed": {"routing", "accumulate"}},
            [RESUMED.format("--accumulate and --routing"), "weights that are alike up to rounding, whether"],
        ),
        ({"changed": {"compile"}}, [RESUMED.format("--compile")]),
        (
            {"data": MNIST_FACTS, "image_shape": (3, 28, 32), "training_images": 60_000},
            [
                "# CapsNet for mnist",
                "RGB images of 32x28 pixels",
                "What was read: 60,000 images to train on and 360 to test on, of 32x28 pixels in RGB, with the "
                "checksum c0ffee.",
            ],
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_it_says_what_is_so(changes, sentences):
    card = words(**changes)
    for sentence in sentences:
        assert sentence in card
    # Nor what is not so: what another run has to say stands in that card alone.
    if not changes:
        assert not re.search("learned for some steps more|averaged|alike up to rounding|The run was resumed", card)
        assert all(len(line) <= 120 for line in model_card(FACTS_OF_A_RUN).splitlines())
    assert ("--reconstruction " in card) == replace(FACTS_OF_A_RUN, **changes).config.reconstruction


def test_every_data_set_has_a_reader_and_a_preset():
    assert READERS.keys() == set(DATASETS)


@pytest.mark.parametrize(
    "changes",
    [{}, {"network": "pooling-cnn", "reconstruction": False, "amp": True, "seed": 7, "lr": 1e-4, "ema": 0.999}],
    ids=["preset", "changed"],
)
@pytest.mark.parametrize("dataset", DATASETS)
def test_the_command_gives_the_configuration(dataset, changes):
    config = TrainConfig(**{**preset(dataset), **changes})
    place = Path("my pictures") / ("x" * 80) / "it's here"
    command = command_of(model_card(replace(FACTS_OF_A_RUN, config=config, data_dir=place)))
    assert command == ["capsroute", "train", "--data-dir", str(place), *config.options()]
    arguments = _build_parser().parse_args(command[1:])
    assert (train._configuration(arguments, None), arguments.data_dir) == (config, place)


def test_what_it_shows_runs(tmp_path, monkeypatch, capsys):
    from PIL import Image

    config, model = preset_network(**preset("digits"))
    save_weights(tmp_path / "model.safetensors", model, config)
    Image.new("L", (8, 8)).save(tmp_path / "IMAGE.png")
    monkeypatch.chdir(tmp_path)
    shown = model_card(FACTS_OF_A_RUN)
    command = re.search(r"^capsroute (predict .*)$", shown, re.MULTILINE)[1]
    assert main(shlex.split(command)) == 0
    assert capsys.readouterr().out.startswith("IMAGE.png: ")
    assert (tmp_path / "reconstruction.png").exists()
    defined = {}
    exec(re.search(r"```python\n(.*?)```", shown, re.DOTALL)[1], defined)
    with torch.no_grad():
        expected = model(torch.zeros(1, 1, 8, 8)).lengths
    assert torch.equal(defined["scores"], expected)
    assert capsys.readouterr().out == f"tensor([{int(expected.argmax())}])\n"
