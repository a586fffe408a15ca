"""Signals as requests."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from capsroute.training.loop.interrupt import interrupts_call


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_calls(number):
    calls = []
    before = signal.getsignal(number)
    with interrupts_call(lambda: calls.append(1)) as received:
        assert received == []
        os.kill(os.getpid(), number)
        assert (received, calls) == ([number], [1])
    assert signal.getsignal(number) is before


@pytest.fixture
def ordinary_interrupt():
    """Python's own handler, which a process that was started in the background with SIGINT ignored does not have."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ordinary_interrupt")
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
