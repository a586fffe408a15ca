"""What a save leaves: all files of one step, or those of the save before."""

from __future__ import annotations

import pytest
import torch

from capsroute.training import TrainingError, load_network
from capsroute.training.storage.checkpoint import load_checkpoint
from capsroute.training.storage.runfolder import RunFolder
from capsroute.training.storage.saving import Saver
from capsroute.training.storage.weights import read_weights
from python_tests.training.doubles import assert_bitwise_equal, nothing, parameters
from python_tests.training.trained import no_room_for, preset_trainer


@pytest.fixture(scope="module")
def trainer():
    """After one epoch of two."""
    trainer = preset_trainer(epochs=1)
    trainer.fit([], nothing)
    return trainer


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_all_files_are_of_one_step(tmp_path):
    trainer, folder = preset_trainer(), RunFolder(tmp_path)
    saver = Saver(folder, trainer)
    trainer.fit([saver], saver.save)
    stored, checkpoint = read_weights(folder.weights), load_checkpoint(folder.checkpoint)
    assert (stored.epoch, stored.step) == (2, 10)
    assert (checkpoint.network.epoch, checkpoint.step, checkpoint.last_epoch.epoch) == (2, 10, 2)
    assert "after step 10 (epoch 2 of 2)" in folder.model_card.read_text()
    assert f"Test accuracy {100 * trainer.test_accuracy:.2f} %" in folder.model_card.read_text()
    place = f"the CPU, by 1 process(es) of {torch.get_num_threads()} thread(s) each"
    assert place in " ".join(folder.model_card.read_text().split())
    assert_bitwise_equal(parameters(trainer), load_network(folder.weights).state_dict())
    assert_bitwise_equal(parameters(trainer), checkpoint.network.build().state_dict())
    assert sorted(contents(tmp_path)) == ["checkpoint.pt", "model-card.md", "model.safetensors"]


def test_the_averaged_weights_are_saved(tmp_path):
    trainer = preset_trainer(epochs=1, ema=0.9)
    trainer.fit([], nothing)
    folder = RunFolder(tmp_path)
    Saver(folder, trainer).save()
    averaged = trainer.state_dict()["ema"]
    assert_bitwise_equal(load_network(folder.weights).state_dict(), averaged)
    assert_bitwise_equal(load_checkpoint(folder.checkpoint).network.build().state_dict(), averaged)
    assert not torch.equal(averaged["conv.weight"], trainer.model.conv.weight)
    assert "the weights, averaged over the steps, after step 5" in folder.model_card.read_text()


def test_a_resumed_run_knows_its_last_epoch(tmp_path, trainer):
    folder = RunFolder(tmp_path)
    Saver(folder, trainer).save()
    assert "no epoch has ended" in folder.model_card.read_text()
    first = preset_trainer(epochs=1)
    saver = Saver(folder, first)
    first.fit([saver], saver.save)
    card = folder.model_card.read_text()
    resumed = preset_trainer(epochs=1)
    checkpoint = load_checkpoint(folder.checkpoint)
    checkpoint.restore(resumed)
    Saver(folder, resumed, checkpoint.last_epoch).save()
    assert folder.model_card.read_text().split("UTC")[1] == card.split("UTC")[1]
    assert "no epoch has ended" not in card


@pytest.mark.parametrize("room", [2_000, 500_000])
def test_without_room_the_former_save_stays(tmp_path, trainer, room):
    folder = RunFolder(tmp_path)
    saver = Saver(folder, trainer)
    saver.save()
    before = contents(tmp_path)
    with no_room_for(room), pytest.raises(TrainingError) as caught:
        saver.save()
    assert str(caught.value) == (
        f"cannot write {folder.checkpoint}: File too large; the files of the former save are whole: make room there, "
        f"then go on with --resume {folder.checkpoint}"
    )
    assert contents(tmp_path) == before


def test_without_room_for_the_first_save(tmp_path, trainer):
    with no_room_for(2_000), pytest.raises(TrainingError, match="nothing was saved: make room there, then start again"):
        Saver(RunFolder(tmp_path), trainer).save()
    assert contents(tmp_path) == {}


def test_where_a_later_file_cannot_be_written_none_is(tmp_path, trainer):
    folder = RunFolder(tmp_path)
    saver = Saver(folder, trainer)
    saver.save()
    folder.model_card.unlink()
    before = contents(tmp_path)
    folder.model_card.mkdir()
    message = "model-card.md: Is a directory; .*former save are whole: mend that, then go on"
    with pytest.raises(TrainingError, match=message):
        saver.save()
    folder.model_card.rmdir()
    assert contents(tmp_path) == before
