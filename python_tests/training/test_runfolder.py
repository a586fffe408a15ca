"""The folder of a run never loses an older one."""

from __future__ import annotations

import pytest

from capsroute.training import TrainingError
from capsroute.training.storage.runfolder import RunFolder


@pytest.fixture
def used(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.tensorboard.mkdir(parents=True)
    notes, events = folder.path / "notes.txt", folder.tensorboard / "events"
    for file in (folder.checkpoint, folder.weights, folder.model_card, folder.metrics, notes, events):
        file.write_text("old")
    return folder


def contents(folder):
    return sorted(str(path.relative_to(folder.path)) for path in folder.path.rglob("*"))


def refused(folder, resumed, overwrite, message):
    before = contents(folder)
    with pytest.raises(TrainingError, match=message):
        folder.prepare(resumed, overwrite)
    assert contents(folder) == before


def test_a_new_folder_is_made(tmp_path):
    RunFolder(tmp_path / "a" / "b").prepare(None, overwrite=False)
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_other_files_do_not_matter(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    RunFolder(tmp_path).prepare(None, overwrite=False)
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("resumed", [None, "other/checkpoint.pt"])
def test_an_older_run_is_kept(used, tmp_path, resumed):
    (used.path / ".checkpoint.pt.123.tmp").write_text("what it is writing")
    message = r"holds a run already \(checkpoint.pt\): .*--out.*--resume.*--overwrite"
    refused(used, resumed and tmp_path / resumed, False, message)


@pytest.mark.parametrize("overwrite", [False, True])
def test_the_resumed_run_stays(used, overwrite):
    before = contents(used)
    used.prepare(used.path / ".." / "run" / "checkpoint.pt", overwrite)
    assert contents(used) == before


def test_overwrite_removes_the_run_and_nothing_else(used):
    used.prepare(None, overwrite=True)
    assert contents(used) == ["notes.txt"]


def test_overwrite_does_not_remove_what_is_resumed(used):
    (used.path / "saved.pt").write_text("old")
    refused(used, used.path / "saved.pt", True, "--overwrite would remove the run")


def test_what_a_killed_run_left_is_removed(used):
    leftover, mine = used.path / ".checkpoint.pt.123.tmp", used.path / ".notes.123.tmp"
    before = contents(used)
    for resumed, overwrite in ((used.checkpoint, False), (None, True), (None, False)):
        leftover.write_text("half")
        mine.write_text("mine")
        used.prepare(resumed, overwrite)
        assert not leftover.exists()
        mine.unlink()
        assert contents(used) == (before if resumed else ["notes.txt"])


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(TrainingError, match="cannot write into the folder"):
            RunFolder(path).prepare(None, overwrite=True)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_by_the_name_of_a_file_is_nobodys_run(tmp_path, overwrite):
    (tmp_path / "model-card.md").mkdir()
    (tmp_path / "model-card.md" / "mine.txt").write_text("mine")
    refused(RunFolder(tmp_path), None, overwrite, "model-card.md is a folder, which no run makes: move it away")


def test_a_file_by_the_name_of_a_folder(tmp_path):
    (tmp_path / "tensorboard").write_text("mine")
    refused(RunFolder(tmp_path), None, True, "tensorboard is a file, which no run makes")


@pytest.mark.parametrize("name", ["model-card.md", "model.safetensors"])
def test_a_file_of_the_name_is_not_lost(tmp_path, name):
    (tmp_path / name).write_text("mine")
    refused(RunFolder(tmp_path), None, False, rf"holds a run already \({name}\)")
