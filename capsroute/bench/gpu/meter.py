"""How one piece of work is measured on a device: four figures, each by its own method."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from capsroute.bench import timing
from capsroute.bench.contenders import first_line
from capsroute.bench.timing import Timing

from .device import Device, Work

_WARMUP = 2  # further calls after the first, which may compile
_HOST_CALLS = 15
_MOST_FLUSHES = 50


@dataclass(frozen=True)
class Figures:
    """Of one piece of work.

    Attributes:
        kernel: Seconds on the device, from the first to the last of its kernels, caches cold, launches hidden.
        host_seconds: Seconds until the call returns, the device being busy.
        replay_seconds: Seconds per replay of a graph of it, many in a row, caches as the last one left them.
        replay_problem: Why there is no replay, or None.
        extra_bytes: Peak of the memory beyond the results.
    """

    kernel: Timing
    host_seconds: float
    replay_seconds: float | None
    replay_problem: str | None
    extra_bytes: int


class Meter:
    """Measures work on a device.

    Args:
        device: Where the work runs.
        seconds: Time to spend on each figure; some number of calls is made in any case.
    """

    def __init__(self, device: Device, seconds: float = 0.15) -> None:
        self.device = device
        self.seconds = seconds
        self._flush_seconds = max(self._in_a_row(device.flush, 10), 1e-7)

    def figures(self, work: Work) -> Figures:
        """All figures of ``work``."""
        for _ in range(_WARMUP):
            work()
        host = self.host(work)
        kernel = self.kernel(work, host)
        memory = self.device.extra_bytes(work)
        replay, problem = None, None
        try:
            replay = self.replay(work)
        except RuntimeError as error:
            self.device.synchronize()  # an error of the device itself goes on from here
            problem = first_line(error)
        return Figures(kernel, host, replay, problem, memory)

    def host(self, work: Work, calls: int = _HOST_CALLS) -> float:
        """Seconds of the Python call itself: median of at most ``calls``, each with a queue that holds a flush."""
        times: list[float] = []
        while len(times) < calls and (len(times) < 3 or sum(times) < self.seconds):
            self.device.synchronize()  # a queue that fills up would make the call wait
            self.device.flush()
            start = time.perf_counter()
            work()
            times.append(time.perf_counter() - start)
        return statistics.median(times)

    def kernel(self, work: Work, host_seconds: float) -> Timing:
        """Seconds on the device between marks around each call.

        Before each call so many flushes are queued that the device is at them while the host launches all of the call;
        so a call of many small kernels is not charged for the host's slowness, which :meth:`host` shows.
        """
        flushes = min(_MOST_FLUSHES, 1 + math.ceil(1.2 * host_seconds / self._flush_seconds))
        one = self._in_a_row(work, 1) + flushes * self._flush_seconds
        marks = []
        for _ in range(max(5, min(30, int(self.seconds / one)))):
            for _ in range(flushes):
                self.device.flush()
            start = self.device.mark()
            work()
            marks.append((start, self.device.mark()))
        self.device.synchronize()
        return timing.summary([self.device.seconds(*pair) for pair in marks], 1)

    def replay(self, work: Work) -> float:
        """Seconds per replay of a graph.

        Raises:
            RuntimeError: The work cannot be captured.
        """
        with self.device.captured(work) as replay:
            one = max(self._in_a_row(replay, 2), 1e-7)
            return self._in_a_row(replay, max(3, min(200, int(self.seconds / one))))

    def _in_a_row(self, work: Callable[[], object], calls: int) -> float:
        """Seconds per call of calls that follow each other at once."""
        self.device.synchronize()
        start = self.device.mark()
        for _ in range(calls):
            work()
        end = self.device.mark()
        self.device.synchronize()
        return self.device.seconds(start, end) / calls
