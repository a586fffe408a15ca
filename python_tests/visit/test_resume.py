"""Tests in several calls of pytest: nothing runs twice, nothing is lost, and what kills the process is named."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ..packaging.tree import ROOT
from . import resume
from .outcomes import TestRecord

TESTS = """
import os, pytest, time

def test_one(): pass

def test_two(): assert 1 == 2, "a planted failure"

@pytest.mark.skipif(True, reason="planted")
def test_three(): pass

def test_four():
    if os.environ.get("DEADLY"):
        os._exit(5)
    time.sleep(float(os.environ.get("HANGING", 0)))

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


def call(record: TestRecord, *more: str, seconds: float = 100.0, **environment: str) -> tuple[int, str]:
    folder = record.path.parent
    (folder / "test_planted.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "python_tests.visit.resume"]
    options = ["--visit-record", str(record.path), "--visit-seconds", str(seconds), *more, "test_planted.py"]
    done = subprocess.run(
        [*command, "--rootdir", str(folder), *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **environment},
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
    assert names(record) == {**ALL, "test_four": "died", "test_five": "failed"}
    assert "never ended" in record.path.read_text()
    assert [test.rpartition("::")[2] for test in record.deaths()] == ["test_four"]


def test_a_test_that_hangs_ends_the_process_and_shows_where(record: TestRecord) -> None:
    status, said = call(record, "--visit-test-seconds", "1", HANGING="100")
    assert status == 1
    assert "in test_four" in said
    call(record)
    assert names(record)["test_four"] == "died"
    assert record.complete()


def test_parts_have_all_tests_between_them(record: TestRecord) -> None:
    other = TestRecord(record.path.with_name("other.jsonl"))
    call(record, "--visit-part", "1/2")
    call(other, "--visit-part", "2/2")
    assert record.complete()
    assert list(names(record)) == ["test_one", "test_three", "test_five"]
    assert list(names(other)) == ["test_two", "test_four"]


@pytest.mark.parametrize("part", ["3/2", "0/2", "1", "a/b"])
def test_a_part_that_is_none(part: str) -> None:
    parser = pytest.Parser(_ispytest=True)
    resume.pytest_addoption(parser)
    with pytest.raises(pytest.UsageError, match="--visit-part"):
        parser.parse(["--visit-record", "x", "--visit-seconds", "1", "--visit-part", part])


def test_files_that_cannot_be_read(record: TestRecord) -> None:
    """A machine with a GPU need not have every package of the tests; a mistake of ours is one."""
    (record.path.parent / "test_lacking.py").write_text("import no_such_package.part\n\ndef test_more(): pass\n")
    (record.path.parent / "test_broken.py").write_text("import python_tests.no_such_module\n")
    call(record, "--continue-on-collection-errors", "test_lacking.py", "test_broken.py")
    assert record.complete()
    assert record.outcomes()["test_lacking.py"] == "skipped"
    assert record.outcomes()["test_broken.py"] == "failed"
    assert names(record) == {**ALL, "test_five": "failed", "test_lacking.py": "skipped", "test_broken.py": "failed"}


def test_a_line_that_was_cut_off_is_no_line(record: TestRecord) -> None:
    record.add("a", "passed")
    with record.path.open("a") as file:
        file.write('{"test": "b", "outc')
    assert record.outcomes() == {"a": "passed"}
    record.add("b", "passed")
    assert record.outcomes()["a"] == "passed"
