"""Tests in several calls of pytest: nothing runs twice, nothing is lost, and what kills the process is named."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .record import TestRecord
from .visit import ROOT

TESTS = """
import os, pytest

def test_one(): pass

def test_two(): assert 1 == 2, "a planted failure"

@pytest.mark.skipif(True, reason="planted")
def test_three(): pass

def test_four():
    if os.environ.get("DEADLY"):
        os._exit(5)

@pytest.fixture
def _broken_end():
    yield
    raise RuntimeError("a planted failure of the clean-up")

@pytest.mark.usefixtures("_broken_end")
def test_five(): pass
"""


@pytest.fixture
def record(tmp_path: Path) -> TestRecord:
    return TestRecord(tmp_path / "record.jsonl")


def call(record: TestRecord, seconds: float = 100.0, **environment: str) -> tuple[int, str]:
    folder = record.path.parent
    (folder / "test_planted.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "python_tests.visit.resume"]
    options = ["--visit-record", str(record.path), "--visit-seconds", str(seconds), "test_planted.py"]
    done = subprocess.run(
        [*command, "--rootdir", str(folder), *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout + done.stderr


def names(record: TestRecord) -> dict[str, str]:
    return {test.rpartition("::")[2]: outcome for test, outcome in record.outcomes().items()}


ALL = {"test_one": "passed", "test_two": "failed", "test_three": "skipped", "test_four": "passed"}


def test_a_call_without_time_does_one_test_and_the_next_the_others(record: TestRecord) -> None:
    status, said = call(record, seconds=0)
    assert status == pytest.ExitCode.INTERRUPTED, said
    assert names(record) == {"test_one": "passed"}
    assert not record.complete()
    call(record)
    assert record.complete()
    assert names(record) == {**ALL, "test_five": "failed"}
    began = [line for line in record.path.read_text().splitlines() if '"began"' in line]
    assert len(began) == 5
    assert "a planted failure" in record.path.read_text()


def test_a_test_that_kills_the_process_fails_and_the_others_run(record: TestRecord) -> None:
    status, _ = call(record, DEADLY="1")
    assert status == 5
    assert not record.complete()
    assert [test.rpartition("::")[2] for test in record.unfinished()] == ["test_four"]
    call(record, DEADLY="1")
    assert record.complete()
    assert names(record) == {**ALL, "test_four": "failed", "test_five": "failed"}
    assert "never ended" in record.path.read_text()


def test_a_line_that_was_cut_off_is_no_line(record: TestRecord) -> None:
    record.add("a", "passed")
    with record.path.open("a") as file:
        file.write('{"test": "b", "outc')
    assert record.outcomes() == {"a": "passed"}
    record.add("b", "passed")
    assert record.outcomes()["a"] == "passed"
