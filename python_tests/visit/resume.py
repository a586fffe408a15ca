"""A pytest plugin for tests in several calls: each test runs once, whatever ends the process before the last one.

``-p python_tests.visit.resume --visit-record FILE --visit-seconds S`` stops after S seconds, between two tests. FILE
gets a line of JSON when a test begins and when it ends. A later call leaves out the tests that have ended, and calls
failed what began and never ended: it took the process with it. A device that has stopped working after a failed test
would fail all that follow, so the call ends there too, and the next one goes on in a new process.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch

from .record import TestRecord


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("visit")
    group.addoption("--visit-record", type=Path, required=True, help="what is known of each test, a line each")
    group.addoption("--visit-seconds", type=float, required=True, help="time after which no test is begun")


def pytest_configure(config: pytest.Config) -> None:
    """Begin to count the time."""
    config.pluginmanager.register(
        Resume(TestRecord(config.getoption("--visit-record")), config.getoption("--visit-seconds"))
    )


class Resume:
    """The hooks.

    Args:
        record: What earlier calls found; this one adds to it.
        seconds: From now on.
    """

    def __init__(self, record: TestRecord, seconds: float) -> None:
        self.record = record
        self.end = time.monotonic() + seconds
        self._worst = "passed"

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Leave out what has ended in an earlier call."""
        for test in self.record.unfinished():
            self.record.add(test, "failed", "it began and never ended: the process died or was killed")
        outcomes = self.record.outcomes()
        known = [item for item in items if item.nodeid in outcomes]
        if known:
            config.hook.pytest_deselected(items=known)
            items[:] = [item for item in items if item.nodeid not in outcomes]

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Note that a test begins."""
        self._worst = "passed"
        self._text = ""
        self.record.add(nodeid, "began")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the worst of set-up, call and clean-up."""
        if report.outcome == "failed":
            self._worst, self._text = "failed", self._text or report.longreprtext[-4000:]
        elif report.outcome == "skipped" and self._worst == "passed":
            self._worst, self._text = "skipped", str(report.longrepr)[-300:]

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Note how it ended."""
        self.record.add(nodeid, self._worst, self._text)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> object:
        """After each test: is there time for another, and a device?"""
        result = yield
        if time.monotonic() > self.end:
            item.session.shouldstop = "the time is over"
        elif self._worst == "failed" and not _device_works():
            item.session.shouldstop = "the device has stopped working"
        return result

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Note that nothing is left, if so."""
        if exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED):
            self.record.close()


def _device_works() -> bool:
    if not torch.cuda.is_initialized():
        return True
    try:
        torch.cuda.synchronize()
    except RuntimeError:
        return False
    return True
