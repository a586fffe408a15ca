"""A pytest plugin for tests in several calls: each test runs once, whatever ends the process before the last one.

``-p python_tests.visit.resume --visit-record FILE --visit-seconds S`` stops after S seconds, between two tests. FILE
gets a line of JSON when a test begins and when it ends. A later call leaves out the tests that have ended, and calls
dead what began and never ended: it took the process with it. A kernel that waits for ever would take all the time with
it, so a test that does not end within ``--visit-test-seconds`` ends the process. A device that has stopped working
after a failed test would fail all that follow, so the call ends there too, and the next one goes on in a new process.
``--visit-part K/N`` takes every N-th test only, for processes that share the tests between them. With pytest's own
``--continue-on-collection-errors``, a file that asks for a package that is not there counts as skipped.
"""

from __future__ import annotations

import faulthandler
import os
import re
import sys
import time
from pathlib import Path

import pytest

from .outcomes import TestRecord


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("visit")
    group.addoption("--visit-record", type=Path, required=True, help="what is known of each test, a line each")
    group.addoption("--visit-seconds", type=float, required=True, help="time after which no test is begun")
    group.addoption("--visit-part", type=_part, default=(0, 1), metavar="K/N", help="take part K of N of the tests")
    group.addoption("--visit-test-seconds", type=float, default=120.0, help="time after which a test is hanging (120)")


def _part(text: str) -> tuple[int, int]:
    part, parts = (int(number) for number in text.split("/"))
    if not 1 <= part <= parts:
        raise ValueError(text)
    return part - 1, parts


def pytest_configure(config: pytest.Config) -> None:
    """Begin to count the time."""
    record, *others = (config.getoption(f"--visit-{name}") for name in ("record", "seconds", "test-seconds", "part"))
    config.pluginmanager.register(Resume(TestRecord(record), *others))


class Resume:
    """The hooks.

    Args:
        record: What earlier calls found; this one adds to it.
        seconds: From now on.
        test_seconds: That a test may take.
        part: Which of the tests to take, and of how many parts.
    """

    def __init__(self, record: TestRecord, seconds: float, test_seconds: float, part: tuple[int, int]) -> None:
        self.record = record
        self.part = part
        self.end = time.monotonic() + seconds
        self.test_seconds = test_seconds
        self._standard_error = os.dup(2)  # before pytest captures what tests say there
        self._worst = "passed"

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note files that cannot be read: for want of somebody else's package they are left out, else they failed."""
        if report.failed:
            missing = re.search(r"ModuleNotFoundError: No module named '(\w+)", report.longreprtext)
            left_out = missing is not None and missing[1] not in ("capsroute", "python_tests")
            self.record.add(report.nodeid, "skipped" if left_out else "failed", report.longreprtext[-4000:])

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Leave out what has ended in an earlier call."""
        for test in self.record.unfinished():
            self.record.add(test, "died", "it began and never ended: the process died or was killed")
        outcomes = self.record.outcomes()
        part, parts = self.part
        open_here = [item for item in items[part::parts] if item.nodeid not in outcomes]
        chosen = {id(item) for item in open_here}
        config.hook.pytest_deselected(items=[item for item in items if id(item) not in chosen])
        items[:] = open_here

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
        """End what hangs; after each test: is there time for another, and a device?"""
        faulthandler.dump_traceback_later(self.test_seconds, exit=True, file=self._standard_error)
        result = yield
        faulthandler.cancel_dump_traceback_later()
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
    torch = sys.modules.get("torch")  # which takes seconds to import, and not all tests want it
    if torch is None or not torch.cuda.is_initialized():
        return True
    try:
        torch.cuda.synchronize()
    except RuntimeError:
        return False
    return True
