"""The command line as a whole."""

from __future__ import annotations

import io
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
from capsroute.routing import backends


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
    of_mnist = "--epochs 20, --batch-size 128, --lr 0.001, --lr-decay 0.9, --shift 2,"
    assert re.search(rf"Defaults for mnist, [a-z0-9, -]+: {of_mnist}", text)


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


def test_info_on_a_machine_with_gpus(capsys, monkeypatch):
    """Which is played here."""

    def choose(device):
        usable = device.index == 0
        return backends.Choice("cuda", "they take the kernels") if usable else backends.Choice("reference", "too old")

    build = {**capsroute.build_info(), "cuda_archs": [80, 90], "openmp": False}
    monkeypatch.setattr(capsroute, "build_info", lambda: build)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"GPU {index}")
    monkeypatch.setattr(backends, "choose", choose)
    assert main(["info"]) == 0
    said = capsys.readouterr().out
    for text in ("80, 90\n", "no: the kernels run on one thread", "GPU 0, GPU 1", "they take the kernels; too old"):
        assert text in said
    assert main(["info", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["gpus"] == ["GPU 0", "GPU 1"]
    assert facts["gpu_kernels"] == ["they take the kernels", "too old"]


def as_a_module(*arguments, stdout=subprocess.PIPE):
    return subprocess.run(
        [sys.executable, "-m", "capsroute", *arguments], stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=60
    )


def test_as_a_module():
    done = as_a_module("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"capsroute {capsroute.__version__}\n", "")


NO_SPACE = "capsroute: error: cannot write to standard output: No space left on device\n"
has_full = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no file that is always full")


@has_full
@pytest.mark.nightly
def test_a_full_disk_behind_the_output_of_a_process():
    """Which writes nothing more at its end."""
    with open("/dev/full", "w") as full:
        done = as_a_module("--help", stdout=full)
    assert (done.returncode, done.stderr) == (2, NO_SPACE)


def output_into(monkeypatch, descriptor, buffered):
    """Standard output as Python opens it, also with PYTHONUNBUFFERED."""
    raw = open(descriptor, "wb", buffering=-1 if buffered else 0)  # noqa: SIM115 - closed by the stream
    stream = io.TextIOWrapper(raw, write_through=not buffered)
    monkeypatch.setattr(sys, "stdout", stream)
    return stream


@pytest.mark.parametrize("buffered", [True, False])
def test_a_reader_that_goes_away_is_no_crash(monkeypatch, capsys, buffered):
    reading, writing = os.pipe()
    os.close(reading)
    with output_into(monkeypatch, writing, buffered):
        assert main(["info"]) == 141
    assert capsys.readouterr().err == ""


@has_full
@pytest.mark.parametrize("buffered", [True, False])
@pytest.mark.parametrize(
    "arguments", [("info",), ("--help",), ("train", "--batch-size", "512", "--epochs", "1")], ids=str
)
def test_a_full_disk_behind_the_output_is_one_sentence(tmp_path, monkeypatch, capsys, arguments, buffered):
    monkeypatch.chdir(tmp_path)
    with output_into(monkeypatch, "/dev/full", buffered):
        assert main(list(arguments)) == 2
    assert capsys.readouterr().err == NO_SPACE


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
