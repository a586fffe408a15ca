"""Files that are replaced together: all of them or none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from capsroute.training import TrainingError
from capsroute.training.loop.records import StepRecord
from capsroute.training.reporting.metrics import MetricsWriter
from capsroute.training.storage.files import FileNotWritten, failures_named, remove_leftovers, replace_files
from python_tests.training.trained import no_room_for


def writer(contents):
    return lambda file: file.write(contents)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.fixture
def folder(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / name).write_bytes(b"old " + name.encode())
    return tmp_path


def test_all_are_replaced(folder):
    replace_files({folder / "a": writer(b"new a"), folder / "b": writer(b"new b"), folder / "d": writer(b"new d")})
    assert contents(folder) == {"a": b"new a", "b": b"new b", "c": b"old c", "d": b"new d"}


@pytest.fixture
def synced(monkeypatch):
    """What was brought onto the disk, and what the folder held then."""
    calls, sync = [], os.fsync

    def record(descriptor):
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        calls.append((path, contents(path) if path.is_dir() else None))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    return calls


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="descriptors have their names in Linux's /proc")
def test_the_new_names_are_brought_onto_the_disk(folder, synced):
    replace_files({folder / "a": writer(b"new a"), folder / "b": writer(b"new b")})
    assert [path.parent for path, _ in synced[:2]] == [folder, folder]
    assert synced[2:] == [(folder, {"a": b"new a", "b": b"new b", "c": b"old c"})]


def test_a_folder_that_cannot_be_synced_is_no_error(folder, monkeypatch):
    def cannot(path, flags):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", cannot)
    replace_files({folder / "a": writer(b"new a")})
    assert contents(folder)["a"] == b"new a"


@pytest.mark.parametrize("failing", ["a", "b", "c"])
def test_without_room_for_one_none_is_replaced(folder, failing):
    before = contents(folder)
    files = {folder / name: writer(bytes(3000 if name == failing else 1000)) for name in ("a", "b", "c")}
    with no_room_for(2000), pytest.raises(FileNotWritten, match=f"/{failing}: File too large") as caught:
        replace_files(files)
    assert (caught.value.path, caught.value.full) == (folder / failing, True)
    assert contents(folder) == before


def test_a_folder_in_the_place_of_the_last_file(folder):
    (folder / "c").unlink()
    (folder / "c").mkdir()
    before = contents(folder)
    with pytest.raises(FileNotWritten, match="/c: Is a directory") as caught:
        replace_files({folder / "a": writer(b"new"), folder / "c": writer(b"new")})
    assert not caught.value.full
    assert contents(folder) == before
    assert sorted(os.listdir(folder)) == ["a", "b", "c"]


def test_any_other_failure_leaves_the_files_too(folder):
    def broken(file):
        raise KeyboardInterrupt

    before = contents(folder)
    with pytest.raises(KeyboardInterrupt):
        replace_files({folder / "a": writer(b"new"), folder / "b": broken})
    assert contents(folder) == before


@pytest.mark.parametrize(
    ("name", "message"), [("absent/a", "No such file or directory"), (250 * "a", "File name too long")]
)
def test_a_name_that_the_system_refuses(tmp_path, name, message):
    """The second is too long with what is added to it."""
    with pytest.raises(FileNotWritten, match=message):
        replace_files({tmp_path / name: writer(b"new")})


def test_what_a_killed_process_left_is_removed(folder):
    seen = []
    replace_files({folder / "a": lambda file: seen.append(Path(file.name))})
    before = contents(folder)
    seen[0].write_bytes(b"half")
    mine = dict.fromkeys((".a.tmp", ".a.12.tmp.old", "b.12.tmp", ".c.12.tmp", ".a.b.12.tmp"), b"mine")
    for name, text in mine.items():
        (folder / name).write_bytes(text)
    assert seen[0].name in contents(folder)
    remove_leftovers([folder / "a", folder / "b"])
    assert contents(folder) == {**before, **mine}


def test_failures_are_named(tmp_path):
    sentence = r"cannot write that: {}; what was saved before is whole: mend that, then go on with --resume$"
    with pytest.raises(TrainingError, match=sentence.format("No such file .*")), failures_named("that"):
        (tmp_path / "absent" / "a").write_text("")
    with (
        pytest.raises(TrainingError, match=sentence.format("File too large")),
        failures_named("that"),
        no_room_for(100),
    ):
        replace_files({tmp_path / "a": writer(bytes(200))})


def test_metrics_without_room(tmp_path):
    path = tmp_path / "m.jsonl"

    def two_records():
        with MetricsWriter(path, tmp_path / "board") as metrics:
            metrics.describe_run({"step": 0})
            with no_room_for(2000):
                metrics.describe_run({"step": 0, "note": 3000 * "x"})

    with pytest.raises(TrainingError, match=r"cannot write .*m\.jsonl: File too large; what was saved before is whole"):
        two_records()
    assert path.read_text().startswith('{"kind": "run", "step": 0}\n')


def test_tensorboard_without_room(tmp_path, capfd):
    """It fails in the thread that writes, at the record that does not fit; pytest fails where another thread does."""
    path, board = tmp_path / "m.jsonl", tmp_path / "board"
    record = StepRecord(1, 1, loss=0.5, accuracy=0.5, images_per_second=1.0, learning_rate=0.1)
    told = []

    def records():
        with no_room_for(2000), MetricsWriter(path, board) as metrics:
            while len(told) < 100:
                metrics.on_step(record)
                told.append(record)

    sentence = rf"^cannot write {board}: File too large; what was saved before is whole: mend that, then go on with"
    with pytest.raises(TrainingError, match=sentence):
        records()
    (file,) = board.iterdir()
    assert file.stat().st_size == 2000
    events = EventAccumulator(str(board)).Reload()
    assert len(events.Scalars("train/loss")) == len(told) > 3
    assert capfd.readouterr() == ("", "")
