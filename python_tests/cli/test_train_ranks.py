"""``torchrun -m capsroute train``: one run by two processes, its interruptions and its losses."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
import torch

from capsroute.cli import main
from capsroute.training import TrainingError, run
from capsroute.training.parallel import launch
from capsroute.training.parallel.ranks import Ranks, SharedError

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
TRAIN = ("-m", "capsroute", "train", "--device", "cpu", "--threads", "1")
BATCHES = ("--batch-size", "32", "--lr-decay", "1")


@contextmanager
def started(*arguments):
    """A process that is gone in the end, whatever happens."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(list(map(str, arguments)), env=environment, **pipes)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)  # by which torchrun ends its ranks
            process.communicate(timeout=60)


def finished(*arguments):
    with started(*arguments) as process:
        output, error = process.communicate(timeout=100)
    return process.returncode, output, error


def rank_processes(torchrun):
    """Process of each rank, by its number."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            variables = (folder / "environ").read_bytes().split(b"\0")
        except (OSError, ValueError, IndexError):  # it ended meanwhile, or belongs to somebody else
            continue
        for variable in variables:
            if parent == torchrun.pid and variable.startswith(b"RANK="):
                found[int(variable.removeprefix(b"RANK="))] = int(folder.name)
    return found


def wait_for_epoch(process, epoch):
    while not (line := process.stdout.readline()).startswith(f"epoch {epoch}/"):
        assert line, process.stderr.read()


def model_of(checkpoint):
    return torch.load(checkpoint, weights_only=True)["trainer"]["model"]


def runs_of(folder):
    """Records of each kind in the metrics of a run."""
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {kind: [record for record in records if record["kind"] == kind] for kind in ("run", "epoch")}


def test_one_run_by_two_processes(tmp_path):
    arguments = ("--batch-size", 256, "--epochs", 1, "--out", tmp_path / "run")
    status, output, error = finished(*TORCHRUN, *TRAIN, *arguments)
    assert status == 0, error
    assert output.startswith("training on digits with fused routing on 2 ranks of cpu, into ")
    assert [output.count(text) for text in ("training on", "epoch 1/", "test accuracy:")] == [1, 1, 1]
    assert [record["ranks"] for record in runs_of(tmp_path / "run")["run"]] == [2]


needs_proc = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="ranks are found in Linux's /proc")


@needs_proc
@pytest.mark.nightly
def test_interrupted_killed_and_resumed_is_straight_bit_for_bit(tmp_path):
    out = tmp_path / "run"
    checkpoint = out / "checkpoint.pt"
    with started(*TORCHRUN, *TRAIN, *BATCHES, "--epochs", 60, "--out", out) as process:
        wait_for_epoch(process, 1)
        process.send_signal(signal.SIGTERM)
        _, error = process.communicate(timeout=60)
    command = f"torchrun --nproc-per-node 2 -m capsroute train --resume {checkpoint} --device cpu --threads 1"
    assert error.count(f"interrupted; go on with: {command}\n") == 1
    interrupted = torch.load(checkpoint, weights_only=True)["trainer"]

    with started(*TORCHRUN, *TRAIN, "--resume", checkpoint) as process:
        wait_for_epoch(process, interrupted["epoch"] + 2)  # by which the one before is saved
        began = time.monotonic()
        os.kill(rank_processes(process)[1], signal.SIGKILL)
        output, error = process.communicate(timeout=60)
    assert time.monotonic() - began < 40
    assert process.returncode != 0
    assert "test accuracy:" not in output
    assert re.search(
        r"capsroute: error: rank 0: another rank ended or did not answer \(.+\): the run ended; go on from its last "
        rf"checkpoint with: {re.escape(command)}\n",
        error,
    ), error

    epochs = torch.load(checkpoint, weights_only=True)["trainer"]["epoch"] + 1
    assert epochs >= interrupted["epoch"] + 2
    assert finished(*TORCHRUN, *TRAIN, "--resume", checkpoint, "--epochs", epochs)[0] == 0
    straight = tmp_path / "straight"
    assert finished(*TORCHRUN, *TRAIN, *BATCHES, "--epochs", epochs, "--out", straight)[0] == 0
    ours, theirs = model_of(checkpoint), model_of(straight / "checkpoint.pt")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert [record["epoch"] for record in runs_of(out)["epoch"]] == list(range(1, epochs + 1))


@needs_proc
@pytest.mark.nightly
def test_a_rank_that_hangs(tmp_path):
    arguments = (*BATCHES, "--epochs", 200, "--out", tmp_path / "run", "--rank-timeout", 15)
    with started(*TORCHRUN, *TRAIN, *arguments) as process:
        wait_for_epoch(process, 2)  # by which the first is saved
        hanging = rank_processes(process)[1]
        os.kill(hanging, signal.SIGSTOP)
        for line in process.stderr:
            if "capsroute: error" in line:
                break
        os.kill(hanging, signal.SIGKILL)  # torchrun would do this half a minute later
        process.communicate(timeout=60)
    assert re.match(r"capsroute: error: rank 0: another rank ended or did not answer \(Timed out.*go on from", line)


@pytest.mark.nightly
def test_ranks_with_different_options_all_say_so(tmp_path):
    command = f'{sys.executable} -m capsroute train --seed $((RANK * 7)) --device cpu --out "{tmp_path}/run"'
    status, output, error = finished(*TORCHRUN, "--no-python", "bash", "-c", command)
    assert status != 0
    assert output == ""
    for rank in (0, 1):
        message = f"capsroute: error: rank {rank}: the ranks disagree: seed is 0 on rank 0, but 7 on rank 1\n"
        assert error.count(message) == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("rank", [0, 1])
def test_what_rank_0_says_is_not_repeated(monkeypatch, capsys, rank):
    def fail(*arguments, **keywords):
        raise (SharedError if rank else TrainingError)("the disk is full")

    monkeypatch.setattr(launch, "ranks_of_environment", lambda: Ranks(rank, 2, rank, 2))
    monkeypatch.setattr(launch, "joined", lambda *arguments: nullcontext())
    monkeypatch.setattr(run, "train", fail)
    assert main(["train", "--device", "cpu", "--threads", "1"]) == 2
    assert capsys.readouterr().err == ("" if rank else "capsroute: error: rank 0: the disk is full\n")
