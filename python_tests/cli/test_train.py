"""``capsroute train`` from its arguments to its files."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from capsroute.cli import main
from capsroute.training import load_network
from python_tests.training.doubles import idx_bytes, write_mnist

QUICK = ("--epochs", "1", "--batch-size", "128", "--device", "cpu")


def train(*arguments):
    return main(["train", *map(str, arguments)])


def model_of(checkpoint):
    return torch.load(checkpoint, weights_only=True)["trainer"]["model"]


def assert_same_model(left, right):
    ours, theirs = model_of(left), model_of(right)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def snapshot(folder: Path):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Folder of a run of one epoch."""
    out = tmp_path_factory.mktemp("finished") / "run"
    assert train(*QUICK, "--seed", 3, "--out", out) == 0
    return out


def assert_refused(capsys, message):
    error = capsys.readouterr().err
    assert error.startswith("capsroute: error: "), error
    assert re.search(message, error), error
    assert error.count("\n") == 1


def test_a_run_on_digits(tmp_path, capsys):
    out = tmp_path / "run"
    assert train(*QUICK, "--out", out, "--iterations", 2) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.match(r"training on digits with fused routing on cpu, into .*run$", lines[0])
    assert re.match(
        r"epoch 1/1  loss \d\.\d{4}  train accuracy 0\.\d{4}  test accuracy 0\.\d{4}  .* images/s  .* s$", lines[1]
    )
    assert re.fullmatch(r"test accuracy: 0\.\d{4}", lines[-1])
    assert sorted(path.name for path in out.iterdir()) == [
        "checkpoint.pt",
        "learning_curve.png",
        "metrics.jsonl",
        "model-card.md",
        "model.safetensors",
        "reconstructions.png",
        "tensorboard",
    ]
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert records[0]["config"]["iterations"] == 2
    assert (records[0]["training_images"], records[0]["test_images"]) == (1437, 360)
    assert f"test accuracy: {records[-1]['test_accuracy']:.4f}" == lines[-1]


def test_digits_reach_98_percent(tmp_path, capsys):
    assert train("--epochs", 8, "--device", "cpu", "--out", tmp_path) == 0
    assert float(capsys.readouterr().out.splitlines()[-1].split()[-1]) >= 0.98


def test_resumed_is_straight_bit_for_bit(tmp_path, finished):
    straight = tmp_path / "straight"
    assert train(*QUICK, "--seed", 3, "--epochs", 2, "--out", straight) == 0
    resumed = tmp_path / "resumed"
    assert train("--resume", finished / "checkpoint.pt", "--epochs", 2, "--out", resumed) == 0
    assert_same_model(straight / "checkpoint.pt", resumed / "checkpoint.pt")
    first = torch.load(finished / "checkpoint.pt", weights_only=True)["trainer"]["model"]["classes.weight"]
    assert not torch.equal(first, model_of(resumed / "checkpoint.pt")["classes.weight"])


def test_the_folder_of_a_run_is_resumed_by_its_checkpoint(tmp_path, finished, capsys):
    out = tmp_path / "run"
    for epochs, arguments in ((2, (finished, "--out", out)), (3, (out,))):
        assert train("--resume", *arguments, "--epochs", epochs) == 0
        assert f"into {out}\nepoch {epochs}/{epochs} " in capsys.readouterr().out
    (tmp_path / "empty").mkdir()
    assert train("--resume", tmp_path / "empty") == 2
    assert_refused(capsys, "cannot read the checkpoint .*/empty/checkpoint.pt: No such file")
    assert train("--resume", 300 * "a") == 2
    assert_refused(capsys, "cannot read the checkpoint a+: File name too long")


def test_the_card_remembers_what_a_run_was_resumed_with(tmp_path, finished):
    out = tmp_path / "run"
    assert train("--resume", finished, "--epochs", 2, "--out", out) == 0
    assert "The run was resumed" not in (out / "model-card.md").read_text()
    for epochs, routing in ((3, "reference"), (4, "fused")):
        assert train("--resume", out, "--epochs", epochs, "--routing", routing) == 0
        card = " ".join((out / "model-card.md").read_text().split())
        assert "The run was resumed with another --routing; the command has what it was last." in card


@pytest.mark.usefixtures("ordinary_interrupt")  # which the run is started with
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
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
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in records if record["kind"] == "epoch"] == list(range(1, epochs + 1))


def test_averaged_accumulated_and_warmed_up(tmp_path):
    options = ("--ema", 0.9, "--accumulate", 3, "--schedule", "cosine", "--warmup", 5)
    assert train(*QUICK, *options, "--out", tmp_path) == 0
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["trainer"]
    assert state["ema"].keys() == state["model"].keys()
    saved = load_network(tmp_path / "model.safetensors").state_dict()
    assert all(torch.equal(saved[name], value) for name, value in state["ema"].items())
    assert not torch.equal(saved["classes.weight"], state["model"]["classes.weight"])
    (record,) = (json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines() if '"run"' in line)
    assert (record["config"]["ema"], record["config"]["accumulate"], record["ranks"]) == (0.9, 3, 1)


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
        (("--epochs", "0"), "epochs must be at least 1, got 0"),
        (("--batch-size", "-4"), "batch_size must be at least 1, got -4"),
        (("--iterations", "0"), "iterations must be at least 1, got 0"),
        (("--threads", "0"), "threads must be at least 1, got 0"),
        (("--shift", "8"), "shift must be less than the 8 pixels of the images, got 8"),
        (("--lr", "nan"), "lr must be a number above 0, got nan"),
        (("--routing", "fast"), "routing must be one of fused, reference; got fast"),
        (("--dataset", "cifar"), "dataset must be one of digits, mnist; got cifar"),
        (("--device", "tpu"), "device must be auto, cpu or cuda; got tpu"),
        (("--accumulate", "0"), "accumulate must be at least 1, got 0"),
        (("--ema", "1"), "ema must be at least 0 and below 1, got 1"),
        (("--schedule", "linear"), "schedule must be one of exponential, cosine; got linear"),
        (("--warmup", "-2"), "warmup must be at least 0, got -2"),
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


def test_an_older_run_is_not_overwritten(finished, capsys):
    before = snapshot(finished)
    assert train(*QUICK, "--out", finished) == 2
    assert_refused(capsys, "holds a run already")
    assert snapshot(finished) == before


def test_overwrite(tmp_path):
    for seed in (1, 2):
        assert train(*QUICK, "--seed", seed, "--out", tmp_path, "--overwrite") == 0
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [record["config"]["seed"] for record in records if record["kind"] == "run"] == [2]


@pytest.mark.parametrize("inside", [False, True])
def test_an_output_folder_that_cannot_be_written(tmp_path, capsys, inside):
    (tmp_path / "file").write_text("mine")
    assert train(*QUICK, "--out", tmp_path / "file" / ("run" if inside else "")) == 2
    assert_refused(capsys, "cannot write into the folder")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--dataset", "mnist"), "of another configuration: dataset was digits, not mnist"),
        (("--batch-size", "32"), "of another configuration: batch_size was 128, not 32"),
        (("--no-reconstruction",), "of another configuration: reconstruction was True, not False"),
        (("--seed", "4"), "of another configuration: seed was 3, not 4"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_checkpoint_of_another_configuration(finished, capsys, arguments, message):
    before = snapshot(finished)
    assert train("--resume", finished / "checkpoint.pt", *arguments) == 2
    assert_refused(capsys, message)
    assert snapshot(finished) == before


def test_fewer_epochs_than_the_checkpoint_has(tmp_path, finished, capsys):
    assert train("--resume", finished / "checkpoint.pt", "--epochs", 2, "--out", tmp_path / "longer") == 0
    capsys.readouterr()
    assert train("--resume", tmp_path / "longer" / "checkpoint.pt", "--epochs", 1) == 2
    assert_refused(capsys, "epochs must be at least the 2 of the checkpoint, got 1")


def test_a_checkpoint_that_is_none(finished, capsys):
    before = snapshot(finished)
    assert train("--resume", finished / "metrics.jsonl") == 2
    assert_refused(capsys, "is not a checkpoint of capsroute train, or it is damaged")
    assert train("--resume", finished / "absent.pt") == 2
    assert_refused(capsys, "cannot read the checkpoint .*: No such file")
    assert snapshot(finished) == before


@pytest.mark.parametrize("kind", ["truncated", "foreign"])
def test_bad_mnist_files(tmp_path, capsys, kind):
    data = tmp_path / "data"
    write_mnist(data)
    file = data / "t10k-labels-idx1-ubyte"
    contents = idx_bytes(torch.zeros(20, dtype=torch.uint8))
    file.write_bytes(contents[:-3] if kind == "truncated" else b"PK\x03\x04" + contents)
    assert train("--dataset", "mnist", "--data-dir", data, "--out", tmp_path / "run") == 2
    assert_refused(capsys, "is truncated: 17 bytes" if kind == "truncated" else "is not an IDX file")
    assert not (tmp_path / "run").exists()


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
