"""``capsroute experiment``: what it says to wrong arguments."""

from __future__ import annotations

import pytest

from capsroute.cli import main
from capsroute.experiments import EXPERIMENTS


def refused(arguments, capsys):
    assert main(["experiment", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: NAME"),
        (["alchemy"], f"NAME must be one of {', '.join(EXPERIMENTS)}; got alchemy"),
        (["translation", "--seeds", "0"], "seeds must be at least 1, got 0"),
        (["translation", "--threads", "0"], "threads must be at least 1, got 0"),
        (["translation", "--device", "tpu"], "device must be auto, cpu or cuda; got tpu"),
    ],
)
def test_wrong_arguments(arguments, message, capsys):
    assert message in refused(arguments, capsys)


def test_help_lists_all(capsys):
    assert main(["experiment", "--help"]) == 0
    printed = capsys.readouterr().out
    for name, question in EXPERIMENTS.items():
        assert f"{name}" in printed
        assert question in printed
