"""From a folder of pictures to a number, a picture and a prediction, as somebody with a task of their own goes."""

from __future__ import annotations

import json
import re
import shlex
import shutil

import pytest
from PIL import Image

from capsroute.cli import main
from capsroute.inference import read_network
from python_tests.training.pictures import picture, write_classes, write_halves

QUICK = ("--epochs", "1", "--device", "cpu")


def train(*arguments):
    return main(["train", *map(str, arguments)])


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Folder of pictures, of a run on them, and what it printed."""
    return tmp_path_factory.mktemp("own")


@pytest.fixture(scope="module")
def run(place):
    out = place / "run"
    write_halves(place / "my halves", 30)
    options = ("--epochs", 3, "--batch-size", 8, "--test-share", 0.3, "--image-size", 16)
    assert (
        train(
            "--dataset",
            "folder",
            "--data-dir",
            place / "my halves",
            "--out",
            out,
            *options,
            "--class-weights",
            "balanced",
        )
        == 0
    )
    return out


def test_a_run_ends_with_what_was_made_of_each_class(place, run, capsys):
    found = json.loads((run / "confusion.json").read_text())
    assert [score["class"] for score in found["classes"]] == ["above", "below"]
    (a, b), (c, d) = found["confusion"]
    assert (a + b, c + d) == (9, 9)
    assert [score["recall"] for score in found["classes"]] == [a / 9, d / 9]
    assert [score["precision"] for score in found["classes"]] == [a / (a + c), d / (b + d)]
    assert min(score["f1"] for score in found["classes"]) > 0.8
    assert json.loads((run / "images.json").read_text())["classes"]["above"] == {"train": 21, "test": 9}
    for name in ("confusion.png", "reconstructions.png"):
        with Image.open(run / name) as drawn:
            assert min(drawn.size) > 100


def test_it_is_printed_and_the_command_in_the_card_repeats_the_run(place, run, tmp_path, capsys):
    card = (run / "model-card.md").read_text()
    shown = re.search(r"```\n(capsroute train.*?)\n```", card, re.DOTALL)[1].replace("\\\n", " ")
    assert train(*shlex.split(shown)[2:], "--out", tmp_path / "again") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("training on my halves with fused routing on cpu")
    assert lines[1] == "2 classes, above, below: 42 pictures to train on and 18 to test on, held out from each class"
    assert lines[2] == "pictures of 16x16 pixels, brought to 16x16 in grey"
    assert [line.split()[0] for line in lines[-4:-1]] == ["class", "above", "below"]
    assert lines[-1].startswith("test accuracy: ")
    first, again = (read_network(folder).state for folder in (run, tmp_path / "again"))
    assert all(first[name].equal(again[name]) for name in first)
    words = " ".join(card.split())
    assert "# CapsNet for my halves " in words
    assert "above (21 + 9), below (21 + 9)" in words
    assert json.loads((run / "images.json").read_text())["checksum"] in words


def test_a_prediction_has_the_names_of_the_classes(place, run, tmp_path, capsys):
    path = tmp_path / "new.tif"
    Image.open(place / "my halves" / "above" / "0.png").resize((64, 64), Image.Resampling.NEAREST).save(path)
    for checkpoint in (run, run / "checkpoint.pt"):
        assert main(["predict", str(path), "--checkpoint", str(checkpoint), "--json"]) == 0
        said = json.loads(capsys.readouterr().out)
        assert said["images"][0]["class"] == "above"
        assert set(said["images"][0]["scores"]) == {"above", "below"}
        assert said["images"][0]["notes"] == ["the middle of 64x64 pixels brought to 16x16, as in the training"]
        assert said["data"]["title"] == "my halves"
    assert main(["predict", str(run / "metrics.jsonl"), "--checkpoint", str(run)]) == 2
    assert "metrics.jsonl: it is none of JPEG, PNG" in capsys.readouterr().err


def test_a_run_goes_on_with_the_same_images_only(place, run, tmp_path, capsys):
    shutil.copytree(place / "my halves", tmp_path / "my halves")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    resume = ("--resume", run, "--data-dir", tmp_path / "my halves", "--epochs", 4)
    picture(7, (16, 16), "L").save(tmp_path / "my halves" / "above" / "0.png")
    assert train(*resume) == 2
    message = (
        "is a checkpoint of another configuration: it was trained on as many other images, my halves with the check"
    )
    assert message in capsys.readouterr().err
    (tmp_path / "my halves" / "above" / "0.png").unlink()
    assert train(*resume) == 2
    assert "it was trained on 42 images, not on 41" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    shutil.copy(place / "my halves" / "above" / "0.png", tmp_path / "my halves" / "above" / "0.png")
    assert train(*resume, "--out", tmp_path / "longer") == 0


def test_what_cannot_be_trained_on(tmp_path, capsys):
    write_classes(tmp_path / "one", {"cat": 3})
    for arguments, message in (
        ((), "dataset folder needs --data-dir"),
        (("--data-dir", tmp_path / "one"), "holds one class, cat, where two are the least"),
        (("--data-dir", tmp_path / "one", "--image-size", "3"), "image_size must be at least 8"),
    ):
        assert train("--dataset", "folder", *QUICK, *arguments, "--out", tmp_path / "run") == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()
