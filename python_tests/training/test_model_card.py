"""The model card says what is so, and what it shows runs."""

from __future__ import annotations

import re
import shlex
from argparse import Namespace
from dataclasses import replace
from datetime import datetime, timezone

import pytest
import torch

from capsroute.cli import _build_parser, main, train
from capsroute.training import DATASETS, TrainConfig, preset, save_weights
from capsroute.training.datasets.facts import FACTS
from capsroute.training.loop.records import EpochRecord
from capsroute.training.storage.command import train_command
from capsroute.training.storage.model_card import CardFacts, model_card
from python_tests.training.trained import preset_network

RECORD = EpochRecord(3, 135, 0.25, 0.5, 0.125, 0.9375, 100.0, 1.0)
FACTS_OF_A_RUN = CardFacts(
    config=TrainConfig(**preset("digits")),
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


def test_it_says_what_the_run_was():
    card = words()
    assert "after step 135 (epoch 3 of 20), saved 2026-02-03 04:05 UTC" in card
    assert "271,488 parameters" in card
    assert "grey images of 8x8 pixels" in card
    assert "Test accuracy 93.75 % on 360 images" in card
    assert "test loss 0.1250. Training loss 0.2500, training accuracy 50.00 %" in card
    assert "The test set was looked at after each epoch and chose nothing in this run" in card
    assert "capsroute 1.2.3, torch 9.8" in card
    assert "Licence: CC BY 4.0" in card
    assert "learned for some steps more" not in card


def test_it_is_a_function_of_the_facts():
    assert model_card(FACTS_OF_A_RUN) == model_card(FACTS_OF_A_RUN)
    assert all(len(line) <= 120 for line in model_card(FACTS_OF_A_RUN).splitlines())


def test_a_run_that_was_interrupted():
    assert "These are of the end of epoch 3, step 135: the weights here have learned for some steps more." in words(
        step=140
    )
    assert "Not known: no epoch has ended yet" in words(last_epoch=None, step=7, epoch=0)


def test_other_networks():
    config = replace(FACTS_OF_A_RUN.config, network="pooling-cnn", reconstruction=False)
    card = words(config=config)
    assert card.startswith("# PoolingCNN for digits")
    assert "the cross-entropy, Adam" in card
    assert "a score for each class" in card
    assert "--reconstruction " not in card
    assert "averaged" not in card
    assert "the weights, averaged over the steps, after" in words(config=replace(config, ema=0.99))


def test_what_the_same_weights_take():
    assert "Saved on the CPU, by 1 process(es) of 3 thread(s) each. Where all of a run is done like that" in words()
    assert "weights that are the same bit for bit, whether" in words()
    assert "on a GPU, by 4 process(es) of 1 thread(s) each" in words(device="cuda", processes=4, threads=1)
    compiled = words(config=replace(FACTS_OF_A_RUN.config, compile=True))
    assert "weights that are alike up to rounding, whether" in compiled
    assert "bit for bit" not in compiled


def test_a_run_that_was_resumed_in_another_way():
    sentence = "The run was resumed with another {}; the command has what it was last."
    card = words(changed={"routing", "accumulate"})
    assert sentence.format("--accumulate and --routing") in card
    assert "weights that are alike up to rounding, whether" in card
    assert sentence.format("--compile") in words(changed={"compile"})
    assert "The run was resumed" not in words()


def test_every_data_set_has_facts():
    assert FACTS.keys() >= set(DATASETS)
    assert "MNIST" in words(config=TrainConfig(**preset("mnist")))


@pytest.mark.parametrize(
    "changes",
    [{}, {"network": "pooling-cnn", "reconstruction": False, "amp": True, "seed": 7, "lr": 1e-4, "ema": 0.999}],
    ids=["preset", "changed"],
)
@pytest.mark.parametrize("dataset", DATASETS)
def test_the_command_gives_the_configuration(dataset, changes):
    config = TrainConfig(**{**preset(dataset), **changes})
    command = command_of(model_card(replace(FACTS_OF_A_RUN, config=config)))
    assert command == ["capsroute", *train_command(config)]
    parsed = _build_parser().parse_args(command[1:])
    assert isinstance(parsed, Namespace)
    assert train._configuration(parsed, None) == config


def test_the_command_for_several_processes():
    command = command_of(model_card(replace(FACTS_OF_A_RUN, processes=4)))
    assert command[:6] == ["torchrun", "--nproc-per-node", "4", "-m", "capsroute", "train"]


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
