"""Metrics on disk, progress on the terminal, pictures."""

from __future__ import annotations

import io
import sys

import numpy
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from capsroute.training import TrainingError
from capsroute.training.extras import require
from capsroute.training.loop.records import EpochRecord, StepRecord
from capsroute.training.reporting import display
from capsroute.training.reporting.display import LiveDisplay, PlainDisplay, make_display
from capsroute.training.reporting.figures import draw_learning_curve, draw_reconstructions
from capsroute.training.reporting.metrics import MetricsWriter, read_metrics


def step_record(step, epoch=1):
    return StepRecord(epoch, step, loss=1 / step, accuracy=0.5, images_per_second=1234.5, learning_rate=0.001)


def epoch_record(epoch, step):
    return EpochRecord(epoch, step, 0.25, 0.75, 0.3, 0.7, 1234.5, 6.78)


def losses_on_the_board(folder):
    return [(event.step, event.value) for event in EventAccumulator(str(folder)).Reload().Scalars("train/loss")]


def test_metrics_are_json_lines_and_reach_tensorboard(tmp_path):
    with MetricsWriter(tmp_path / "m.jsonl", tmp_path / "board") as metrics:
        metrics.describe_run({"step": 0, "seed": 3})
        metrics.on_step(step_record(2))
        metrics.on_epoch(epoch_record(1, 2))
    run, step, epoch = read_metrics(tmp_path / "m.jsonl")
    assert run == {"kind": "run", "step": 0, "seed": 3}
    assert (step["kind"], step["step"], step["loss"], step["images_per_second"]) == ("step", 2, 0.5, 1234.5)
    assert (epoch["kind"], epoch["epoch"], epoch["test_accuracy"]) == ("epoch", 1, 0.7)
    assert losses_on_the_board(tmp_path / "board") == [(2, 0.5)]
    board = EventAccumulator(str(tmp_path / "board")).Reload()
    assert [event.step for event in board.Scalars("test/accuracy")] == [2]


def test_a_resumed_run_holds_nothing_twice(tmp_path):
    path, board = tmp_path / "m.jsonl", tmp_path / "board"
    with MetricsWriter(path, board) as metrics:
        metrics.describe_run({"step": 0})
        for step in (1, 2):
            metrics.on_step(step_record(step))
        metrics.on_epoch(epoch_record(1, 2))
        for step in (3, 4):
            metrics.on_step(step_record(step, epoch=2))
        metrics.on_epoch(epoch_record(2, 4))
    with open(path, "a") as file:
        file.write('{"kind": "step", "ep')  # a crash
    with MetricsWriter(path, board, step=3, epoch=1) as metrics:  # stopped while epoch 2 was tested
        metrics.on_step(step_record(4))
        metrics.on_epoch(epoch_record(2, 4))
    assert [(record["kind"][0], record["step"]) for record in read_metrics(path)] == [
        *(("r", 0), ("s", 1), ("s", 2), ("e", 2), ("s", 3), ("s", 4), ("e", 4)),
    ]
    assert len(list(board.iterdir())) == 2
    assert [step for step, _ in losses_on_the_board(board)] == [1, 2, 3, 4]


def test_plain_lines(capsys):
    shown = make_display(epochs=20, steps_per_epoch=5)
    assert isinstance(shown, PlainDisplay)
    with shown:
        shown.on_step(step_record(2))
        shown.on_epoch(epoch_record(7, 35))
    assert capsys.readouterr().out == (
        "epoch 7/20  loss 0.2500  train accuracy 0.7500  test accuracy 0.7000  1,234 images/s  6.8 s\n"
    )


def test_a_long_epoch_says_that_it_lives(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(display, "perf_counter", lambda: now[0])
    shown = PlainDisplay(epochs=2, steps_per_epoch=100, step=50)
    for now[0], step in ((20.0, 60), (40.0, 70), (50.0, 75), (75.0, 80)):
        shown.on_step(step_record(step))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[1] for line in lines] == ["step 70/200", "step 80/200"]
    assert lines[0].endswith("1,234 images/s  4:20 left")  # 20 steps in 40 s, 130 to go


class _Terminal(io.StringIO):
    def isatty(self):
        return True


def test_live_bar(monkeypatch):
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("TERM", "xterm")
    shown = make_display(epochs=20, steps_per_epoch=5, step=30)
    assert isinstance(shown, LiveDisplay)
    with shown:
        shown.on_step(step_record(32, epoch=7))
        shown.on_epoch(epoch_record(7, 35))
    text = terminal.getvalue()
    assert "epoch 7/20" in text
    assert "32/100" in text
    assert "loss 0.0312  accuracy 0.5000  1,234 images/s" in text
    assert "left" in text
    assert "test accuracy 0.7000" in text
    assert "\x1b[?25h" in text  # the cursor is back


@pytest.mark.parametrize("columns", ["72", "80", "99"])
def test_live_bar_on_a_narrow_terminal(monkeypatch, columns):
    """The bar and the speed give way, and no number is cut off."""
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("TERM", "xterm")
    with make_display(epochs=50, steps_per_epoch=9380, step=123_000) as shown:
        shown.on_step(step_record(123_456, epoch=14))
        shown.on_epoch(epoch_record(14, 131_320))  # which draws the bar anew
    assert "123456/469000" in terminal.getvalue()
    assert "loss 0.0000  accuracy 0.5000" in terminal.getvalue()
    assert "…" not in terminal.getvalue()


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "rich.progress", None)
    with pytest.raises(TrainingError, match=r'the live progress bar needs .*rich.*pip install "capsroute\[train\]"'):
        LiveDisplay(1, 1)
    assert require("math", "arithmetic").sqrt(4) == 2


@pytest.mark.parametrize("channels", [1, 3])
def test_reconstructions_stand_below_their_images(tmp_path, channels):
    path = tmp_path / "r.png"
    images, reconstructions = torch.zeros(8, channels, 8, 8), torch.ones(8, channels, 8, 8)
    draw_reconstructions(
        path, images, reconstructions, torch.arange(8), torch.tensor([0, 1, 2, 3, 4, 5, 6, 9]), "0123456789"
    )
    with Image.open(path) as picture:
        pixels = numpy.asarray(picture.convert("RGB")).astype(int)
    height, width, _ = pixels.shape
    black, white = (pixels == 0).all(-1), (pixels == 255).all(-1)
    # The images are the only large black areas, the wrong label the only red.
    rows = black.mean(axis=1) > 0.5
    assert rows[height // 3 : height // 2].any()
    assert not rows[height * 6 // 10 :].any()
    assert white[height * 6 // 10 :].mean() > 0.8
    red = (pixels[..., 0] > 200) & (pixels[..., 1:] < 80).all(-1)
    assert red[:, width * 3 // 4 :].any()
    assert not red[:, : width * 3 // 4].any()


def test_learning_curve(tmp_path):
    records = [{"kind": "run", "step": 0}]
    draw_learning_curve(tmp_path / "empty.png", records)
    for step in range(1, 40):
        records.append({"kind": "step", "epoch": 1, "step": step, "loss": 1 / step, "accuracy": 1 - 1 / step})
    records.append({"kind": "epoch", "step": 39, "test_loss": 0.05, "test_accuracy": 0.97})
    draw_learning_curve(tmp_path / "full.png", records)
    with Image.open(tmp_path / "full.png") as full, Image.open(tmp_path / "empty.png") as empty:
        assert full.size == empty.size
        assert full.tobytes() != empty.tobytes()


def test_a_learning_curve_shows_what_is_worse_than_the_test_accuracy(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr("capsroute.training.reporting.figures._save", lambda figure, path: figures.append(figure))
    records = [{"kind": "step", "epoch": 2, "step": 2, "loss": 1.0, "accuracy": 0.2}]
    records.append({"kind": "epoch", "step": 2, "test_loss": 1.0, "test_accuracy": 0.3})
    draw_learning_curve(tmp_path / "curve.png", records)
    assert figures[0].axes[1].get_ylim()[0] < 20
