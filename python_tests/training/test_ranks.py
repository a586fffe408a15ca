"""Several processes that train one network, in groups that ``torchrun`` starts."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from capsroute.training import TrainingError
from capsroute.training.parallel.launch import (
    joined,
    lost_ranks_named,
    ranks_of_environment,
    resume_command,
    threads_per_rank,
)
from capsroute.training.parallel.ranks import ALONE, Ranks
from capsroute.training.run import choose_device
from python_tests.training.doubles import Recorder, make_trainer, nothing, straight_run
from python_tests.training.rank_worker import CASES, losses

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What two ranks wrote."""
    folder = tmp_path_factory.mktemp("ranks")
    command = (*TORCHRUN, "--nproc-per-node", "2", "-m", "python_tests.training.rank_worker", str(folder))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)
    assert process.returncode == 0, process.stderr
    return folder


@pytest.fixture(scope="module")
def results(folder):
    """What each of them found."""
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.parametrize("case", CASES)
def test_ranks_train_as_one_process_on_the_joint_batch(results, case):
    expected = losses(case)
    for found in (rank["losses"][case] for rank in results):
        for name, values in expected.items():
            for left, right in zip(found[name], values, strict=True):
                assert left == pytest.approx(right, rel=1e-9, abs=1e-12), name


def test_a_stopped_run_with_dropout_goes_on_bit_for_bit(results):
    for found in (rank["dropout"] for rank in results):
        assert found["straight"] == found["resumed"]
        assert found["epochs"] == found["resumed epochs"]
        assert len(found["straight"]) == 10


def test_one_process_goes_on_from_the_state_of_two(folder):
    _, expected = straight_run(dtype=torch.float64)
    trainer, recorder = make_trainer(log_every=1, dtype=torch.float64), Recorder()
    trainer.load_state_dict(torch.load(folder / "stopped.pt", weights_only=True))
    assert trainer.step == 3
    assert trainer.fit([recorder], nothing)
    assert [record.step for record in recorder.steps] == [4, 5, 6, 7, 8, 9, 10]
    for left, right in zip((*recorder.steps, *recorder.epochs), (*expected.steps[3:], *expected.epochs), strict=True):
        assert left.loss == pytest.approx(right.loss, rel=1e-9)
        assert left.accuracy == right.accuracy


def test_ranks_that_differ_all_say_so(results):
    said = [rank["refusals"] for rank in results]
    for refusals in said:
        assert refusals["seed"] == "TrainingError: the ranks disagree: seed is 0 on rank 0, but 1 on rank 1"
        number = "the ranks disagree: the number of training images is 70 on rank 0, but 69 on rank 1"
        assert refusals["data"] == f"TrainingError: {number}"
        assert refusals["images"].startswith("TrainingError: the ranks disagree: the checksum of the test images is ")
        assert refusals["step"] == "TrainingError: the ranks disagree: step is 0 on rank 0, but 1 on rank 1"
        assert refusals["weights"].startswith("TrainingError: the ranks disagree: the checksum of the weights is ")
    assert said[0]["save"] == "TrainingError: the disk is full"
    assert {refusals["save"] for refusals in said[1:]} == {"SharedError: the disk is full"}


@pytest.fixture
def environment(monkeypatch):
    """Sets the variables of a rank; None removes one."""

    def set_to(**values):
        for name in VARIABLES:
            monkeypatch.delenv(name, raising=False)
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    return set_to


def test_the_place_of_a_process(environment):
    environment()
    assert ranks_of_environment() is ALONE
    environment(WORLD_SIZE="1", RANK="0")
    assert ranks_of_environment() is ALONE
    environment(**dict(zip(VARIABLES, ("5", "8", "1", "4", "localhost", "1234"), strict=True)))
    assert ranks_of_environment() == Ranks(5, 8, 1, 4)
    assert not ranks_of_environment().main


def test_an_environment_that_is_none(environment):
    environment(WORLD_SIZE="2", RANK="0")
    with pytest.raises(TrainingError, match="WORLD_SIZE is 2, but LOCAL_RANK is not set: start the ranks by torchrun"):
        ranks_of_environment()
    environment(WORLD_SIZE="two")
    with pytest.raises(TrainingError, match="the environment variable WORLD_SIZE must be a number, got 'two'"):
        ranks_of_environment()


def test_cores_are_divided_among_ranks(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(7)), raising=False)
    assert threads_per_rank(ALONE) is None
    assert threads_per_rank(Ranks(0, 4, 0, 2)) == 3
    assert threads_per_rank(Ranks(0, 16, 0, 16)) == 1


def test_one_process_talks_to_nobody():
    values = torch.arange(3.0)
    assert torch.equal(ALONE.sum(values), values)
    assert ALONE.sum(values) is not values
    assert ALONE.largest(3) == 3
    assert ALONE.on_main(lambda: 5) == ALONE.from_main(5) == 5
    ALONE.agree({"seed": 1})
    network = torch.nn.Linear(2, 2)
    assert ALONE.parallel(network, torch.device("cpu")) is network


def test_a_group_that_cannot_be_joined(environment):
    environment(**dict(zip(VARIABLES, ("1", "2", "1", "2", "127.0.0.1", "9"), strict=True)))
    ranks = ranks_of_environment()
    with (
        pytest.raises(TrainingError, match=r"cannot join the other ranks at 127\.0\.0\.1:9: "),
        joined(ranks, torch.device("cpu"), timeout=1),
    ):
        pass


def test_other_errors_stay_as_they_are():
    with pytest.raises(RuntimeError, match="of my own"), lost_ranks_named(Ranks(0, 2, 0, 2), lambda: "advice"):
        raise RuntimeError("an error of my own")


def test_more_ranks_than_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(TrainingError, match="2 ranks need a CUDA device each, but torch finds 1"):
        choose_device("cuda", Ranks(0, 2, 0, 2))
    assert choose_device("cpu", Ranks(0, 2, 0, 2)) == torch.device("cpu")


def test_how_to_go_on():
    assert resume_command(ALONE, Path("r/c.pt")) == "capsroute train --resume r/c.pt"
    assert resume_command(Ranks(0, 8, 0, 4), Path("r/c.pt")) == (
        "torchrun --nproc-per-node 4 -m capsroute train --resume r/c.pt"
    )
    command = resume_command(ALONE, Path("my runs/c.pt"), {"data-dir": Path("$HOME/data"), "threads": 2})
    words = ["capsroute", "train", "--resume", "my runs/c.pt", "--data-dir", "$HOME/data", "--threads", "2"]
    assert shlex.split(command) == words
