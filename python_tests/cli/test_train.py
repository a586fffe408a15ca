"""``capsroute train`` from its arguments to its files."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from capsroute.cli import main
from python_tests.training.doubles import assert_bitwise_equal, write_mnist
from python_tests.training.trained import no_room_for

QUICK = ("--epochs", "1", "--batch-size", "128", "--device", "cpu")


def train(*arguments):
    return main(["train", *map(str, arguments)])


def model_of(checkpoint):
    return torch.load(checkpoint, weights_only=True)["trainer"]["model"]


def assert_same_model(left, right):
    assert_bitwise_equal(model_of(left), model_of(right))


def records_of(folder, kind):
    records = (json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines())
    return [record for record in records if record["kind"] == kind]


def snapshot(folder: Path):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Folder of a run of one epoch."""
    out = tmp_path_factory.mktemp("finished") / "run"
    assert train(*QUICK, "--seed", 3, "--out", out) == 0
    return out


@pytest.fixture(scope="module")
def longer(tmp_path_factory, finished):
    """Folder of its resumption, by the folder, to a second epoch."""
    out = tmp_path_factory.mktemp("longer") / "run"
    assert train("--resume", finished, "--epochs", 2, "--out", out) == 0
    return out


@pytest.fixture
def out(tmp_path, longer):
    """A copy of that folder."""
    return Path(shutil.copytree(longer, tmp_path / "run"))


def assert_refused(capsys, message):
    error = capsys.readouterr().err
    assert error.startswith("capsroute: error: "), error
    assert re.search(message, error), error
    assert error.count("\n") == 1


def test_a_run_on_digits(tmp_path, capsys):
    out = tmp_path / "run"
    assert train("--epochs", 8, "--device", "cpu", "--out", out, "--iterations", 2) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.match(r"training on digits with fused routing on cpu, into .*run$", lines[0])
    assert re.match(
        r"epoch 1/8  loss \d\.\d{4}  train accuracy 0\.\d{4}  test accuracy 0\.\d{4}  .* images/s  .* s$", lines[1]
    )
    assert sorted(path.name for path in out.iterdir()) == [
        "checkpoint.pt",
        "confusion.json",
        "confusion.png",
        "learning_curve.png",
        "metrics.jsonl",
        "model-card.md",
        "model.safetensors",
        "reconstructions.png",
        "tensorboard",
    ]
    (run,) = records_of(out, "run")
    assert (run["config"]["iterations"], run["training_images"], run["test_images"], run["ranks"]) == (2, 1437, 360, 1)
    accuracy = records_of(out, "epoch")[-1]["test_accuracy"]
    assert lines[-1] == f"test accuracy: {accuracy:.4f}"
    assert accuracy >= 0.98


def test_resumed_is_straight_bit_for_bit(tmp_path, finished, longer):
    assert train(*QUICK, "--seed", 3, "--epochs", 2, "--out", tmp_path) == 0
    assert_same_model(tmp_path / "checkpoint.pt", longer / "checkpoint.pt")
    first, last = (model_of(folder / "checkpoint.pt")["classes.weight"] for folder in (finished, longer))
    assert not torch.equal(first, last)


def test_the_card_remembers_what_a_run_was_resumed_with(out, capsys):
    assert "The run was resumed" not in (out / "model-card.md").read_text()
    for epochs, parts in ((3, 2), (4, 1)):
        assert train("--resume", out, "--epochs", epochs, "--accumulate", parts) == 0
        assert f"into {out}\nepoch {epochs}/{epochs} " in capsys.readouterr().out  # the folder is that of the run
        card = " ".join((out / "model-card.md").read_text().split())
        assert "The run was resumed with another --accumulate; the command has what it was last." in card


@pytest.mark.usefixtures("ordinary_interrupt")  # which the run is started with
@pytest.mark.parametrize("sent", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.nightly)])
def test_interrupted_and_resumed_is_straight_bit_for_bit(tmp_path, sent):
    out = tmp_path / "run"
    command = [sys.executable, "-m", "capsroute", "train", "--out", str(out), "--batch-size", "16", "--epochs", "50"]
    command += ["--threads", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline().startswith("training on digits")
        assert process.stdout.readline().startswith("epoch 1/50")
        process.send_signal(sent)
        rest, error = process.communicate(timeout=60)
    assert process.returncode == 128 + sent
    assert "test accuracy:" not in rest
    assert error == f"interrupted; go on with: capsroute train --resume {out / 'checkpoint.pt'} --threads 1\n"
    interrupted = torch.load(out / "checkpoint.pt", weights_only=True)["trainer"]
    assert interrupted["epoch"] + bool(interrupted["batches"]["position"]) > 0

    epochs = interrupted["epoch"] + 1
    assert train("--resume", out / "checkpoint.pt", "--epochs", epochs, "--threads", 1) == 0
    straight = tmp_path / "straight"
    assert train("--out", straight, "--batch-size", 16, "--epochs", epochs, "--threads", 1) == 0
    assert_same_model(straight / "checkpoint.pt", out / "checkpoint.pt")
    assert [record["epoch"] for record in records_of(out, "epoch")] == list(range(1, epochs + 1))


def test_mnist_from_a_folder(tmp_path, capsys):
    write_mnist(tmp_path / "data", train=8, test=4, gzipped=("train-images-idx3-ubyte",))
    arguments = ("--dataset", "mnist", "--data-dir", tmp_path / "data", "--epochs", 1, "--batch-size", 8)
    assert train(*arguments, "--no-reconstruction", "--out", tmp_path / "run") == 0
    assert re.fullmatch(r"test accuracy: \d\.\d{4}", capsys.readouterr().out.splitlines()[-1])
    assert not (tmp_path / "run" / "reconstructions.png").exists()
    assert (tmp_path / "run" / "learning_curve.png").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--batch-size", "-4"), "batch_size must be at least 1, got -4"),
        (("--threads", "0"), "threads must be at least 1, got 0"),
        (("--shift", "8"), "shift must be less than the 8 pixels of the images, got 8"),
        (("--dataset", "cifar"), "dataset must be one of .*digits.*folder.*; got cifar"),
        (("--device", "tpu"), "device must be auto, cpu or cuda; got tpu"),
        (("--rank-timeout", "0"), "rank_timeout must be above 0 and below a million seconds, got 0"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_bad_options(tmp_path, capsys, arguments, message):
    assert train(*QUICK, "--out", tmp_path / "run", *arguments) == 2
    assert_refused(capsys, message)
    assert not (tmp_path / "run").exists()


def test_cuda_without_a_gpu(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert train("--device", "cuda", "--out", tmp_path / "run") == 2
    assert_refused(capsys, "device cuda was asked for, but torch finds no CUDA device")


def refused(folder, capsys, message, *arguments):
    """A run that is not to be touched."""
    before = snapshot(folder)
    assert train(*arguments) == 2
    assert_refused(capsys, message)
    assert snapshot(folder) == before


def test_an_older_run_is_not_overwritten(finished, capsys):
    refused(finished, capsys, "holds a run already", *QUICK, "--out", finished)


def test_overwrite(out):
    assert train(*QUICK, "--seed", 2, "--out", out, "--overwrite") == 0
    assert [record["config"]["seed"] for record in records_of(out, "run")] == [2]


def test_what_cannot_be_resumed(longer, capsys):
    other = ("--resume", longer / "checkpoint.pt", "--no-reconstruction")
    refused(longer, capsys, "of another configuration: reconstruction was True, not False", *other)
    fewer = ("--resume", longer / "checkpoint.pt", "--epochs", 1)
    refused(longer, capsys, "epochs must be at least the 2 of the checkpoint, got 1", *fewer)
    message = "is not a checkpoint of capsroute train, or it is damaged"
    refused(longer, capsys, message, "--resume", longer / "metrics.jsonl")
    refused(longer, capsys, "cannot read the checkpoint .*: No such file", "--resume", longer / "absent.pt")
    no_file = "cannot read the checkpoint .*/tensorboard/checkpoint.pt: No such file"
    refused(longer, capsys, no_file, "--resume", longer / "tensorboard")
    refused(longer, capsys, "cannot read the checkpoint a+: File name too long", "--resume", 300 * "a")


def test_bad_mnist_files(tmp_path, capsys):
    write_mnist(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(b"PK\x03\x04")
    refused(
        tmp_path, capsys, "is not an IDX file", "--dataset", "mnist", "--data-dir", tmp_path, "--out", tmp_path / "run"
    )


@pytest.mark.parametrize(
    ("module", "purpose"),
    [
        ("sklearn.datasets", "dataset digits needs"),
        ("matplotlib", "drawing figures needs"),
        ("tensorboard.summary.writer.record_writer", "writing TensorBoard events needs"),
        ("safetensors.torch", "writing model.safetensors needs"),
    ],
)
def test_missing_packages(tmp_path, capsys, monkeypatch, module, purpose):
    monkeypatch.setitem(sys.modules, module, None)
    assert train(*QUICK, "--out", tmp_path / "run") == 2
    assert_refused(capsys, f"{purpose} .*{module}.*pip install")
    assert not (tmp_path / "run").exists()


def test_a_disk_that_fills_up_leaves_what_was_saved_and_the_run_goes_on(tmp_path, out, capsys):
    saved = ("checkpoint.pt", "model.safetensors", "model-card.md")
    before = {name: (out / name).read_bytes() for name in saved}
    resume = ("--resume", out / "checkpoint.pt", "--epochs", 3)
    capsys.readouterr()
    with no_room_for(1_000_000):
        assert train(*resume) == 2
    assert capsys.readouterr().err == (
        f"capsroute: error: cannot write {out / 'checkpoint.pt'}: File too large; the files of the former save are "
        f"whole: make room there, then go on with --resume {out / 'checkpoint.pt'}\n"
    )
    assert {name: (out / name).read_bytes() for name in saved} == before
    assert not [path for path in out.iterdir() if path.name.startswith(".")]

    Image.new("L", (8, 8)).save(tmp_path / "black.png")
    for name in saved[:2]:
        assert main(["predict", str(tmp_path / "black.png"), "--checkpoint", str(out / name)]) == 0
    assert train(*resume) == 0
    assert "(epoch 3 of 3)" in (out / "model-card.md").read_text()
