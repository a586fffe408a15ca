"""The command line as a whole."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
import torch

import capsroute
from capsroute import cli
from capsroute.cli import info, main


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"capsroute {capsroute.__version__}\n"


def test_help_names_every_command(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(re.search(rf"\n    {command}\s", text) for command in cli.COMMANDS)


def test_help_of_train_tells_the_defaults(capsys):
    assert main(["train", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "Defaults for digits: --epochs 20, --batch-size 32, --lr 0.003," in text
    assert "Defaults for mnist: --epochs 20, --batch-size 128, --lr 0.001, --lr-decay 0.9, --shift 2," in text


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["fly"], "invalid choice: 'fly'"),
        (["info", "--fast"], "unrecognized arguments: --fast"),
        (["train", "--epochs", "many"], "argument --epochs: invalid int value: 'many'"),
    ],
)
def test_bad_usage_is_one_sentence(capsys, argv, message):
    assert main(argv) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert error.startswith("capsroute: error: ")
    assert message in error
    assert error.count("\n") == 1


def test_an_interrupt_anywhere(capsys, monkeypatch):
    def interrupted(args):
        raise KeyboardInterrupt

    monkeypatch.setattr(info, "run", interrupted)
    assert main(["info"]) == 130
    assert capsys.readouterr().err == ""


def test_info_as_json(capsys):
    assert main(["info", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["version"] == capsroute.__version__
    assert facts["torch"] == torch.__version__
    assert facts["threads"] == torch.get_num_threads()
    assert facts["cpu_isa"] in facts["cpu_isas"]
    assert facts["cuda_archs"] == list(capsroute.build_info()["cuda_archs"])


def test_info_for_people(capsys):
    assert main(["info"]) == 0
    lines = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines())
    facts = {name: value.strip() for name, value in lines.items()}
    build = capsroute.build_info()
    assert facts["version"] == capsroute.__version__
    assert facts["instruction sets"] == ", ".join(build["cpu_isas"])
    assert facts["instruction set"] == f"{build['cpu_isa']} (chosen)"
    assert facts["threads"] == str(torch.get_num_threads())
    assert facts["torch"] == torch.__version__


def test_info_shows_cuda_where_there_is_any(capsys, monkeypatch):
    build = {**capsroute.build_info(), "cuda_archs": [80, 90], "openmp": False}
    monkeypatch.setattr(capsroute, "build_info", lambda: build)
    assert main(["info"]) == 0
    text = capsys.readouterr().out
    assert "80, 90\n" in text
    assert "no: the kernels run on one thread" in text


def test_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "capsroute", "--version"], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == f"capsroute {capsroute.__version__}\n"


def command_into(stdout, *arguments, buffered=True):
    """Exit status and standard error of the command, whose output goes where it is told."""
    done = subprocess.run(
        [sys.executable, "-m", "capsroute", *arguments],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "" if buffered else "1"},
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("buffered", [True, False])
def test_a_reader_that_goes_away_is_no_crash(buffered):
    reading, writing = os.pipe()
    os.close(reading)
    assert command_into(writing, "info", buffered=buffered) == (141, "")
    os.close(writing)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no file that is always full")
@pytest.mark.parametrize(
    ("arguments", "buffered"),
    [(("info",), True), (("info",), False), (("--help",), True), (("--help",), False), (("train", "--out"), True)],
    ids=str,
)
def test_a_full_disk_behind_the_output_is_one_sentence(tmp_path, arguments, buffered):
    folder = [str(tmp_path)] if "--out" in arguments else []
    with open("/dev/full", "w") as full:
        assert command_into(full, *arguments, *folder, buffered=buffered) == (
            2,
            "capsroute: error: cannot write to standard output: No space left on device\n",
        )


def test_no_output_at_all(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    assert main(["info"]) == 0
    assert sys.stdout is None


def test_errors_of_other_files_stay_what_they_are(monkeypatch):
    def fails(args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(info, "run", fails)
    with pytest.raises(OSError, match="No space left on device"):
        main(["info"])
