"""Signals as requests."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from capsroute.training.loop.interrupt import interrupts_call

pytestmark = pytest.mark.usefixtures("ordinary_interrupt")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_calls(number):
    calls = []
    before = signal.getsignal(number)
    with interrupts_call(lambda: calls.append(1)) as received:
        assert received == []
        os.kill(os.getpid(), number)
        assert (received, calls) == ([number], [1])
    assert signal.getsignal(number) is before


def test_the_second_interrupt_is_an_ordinary_one():
    calls = []
    with interrupts_call(lambda: calls.append(1)):
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert calls == [1]


def test_other_threads_change_nothing():
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def work():
        with interrupts_call(lambda: None) as received:
            seen.append((received, signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [([], before)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_is_ignored_stays_ignored(number):
    calls = []
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with interrupts_call(lambda: calls.append(1)) as received:
            os.kill(os.getpid(), number)
        assert (received, calls) == ([], [])
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)


def test_a_handler_that_is_not_pythons_stays(monkeypatch):
    ordinary = signal.getsignal
    monkeypatch.setattr(signal, "getsignal", lambda number: None if number == signal.SIGTERM else ordinary(number))
    installed = ordinary(signal.SIGTERM)
    with interrupts_call(lambda: None):
        assert ordinary(signal.SIGTERM) is installed
        assert ordinary(signal.SIGINT) is not signal.default_int_handler
    assert ordinary(signal.SIGINT) is signal.default_int_handler
