"""Ctrl-C as a request instead of an exception."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["interrupts_call"]


@contextmanager
def interrupts_call(request_stop: Callable[[], None]) -> Iterator[list[int]]:
    """Calls a function at the first SIGINT or SIGTERM, so that the work can end at a good point.

    A second signal does what it always does, for whoever cannot wait. Outside the main thread, which alone receives
    signals, nothing is changed. Nor is it where a signal is ignored, as a shell's script has it for what it starts in
    the background, or handled by something other than Python, which could not be put back.

    Args:
        request_stop: Must do little: it runs between any two instructions.

    Yields:
        List that holds the number of the signal once one came.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    handlers = ((number, signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM))
    before = {number: handler for number, handler in handlers if handler not in (signal.SIG_IGN, None)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def handle(number: int, frame: FrameType | None) -> None:
        received.append(number)
        restore()
        request_stop()

    for number in before:
        signal.signal(number, handle)
    try:
        yield received
    finally:
        restore()
