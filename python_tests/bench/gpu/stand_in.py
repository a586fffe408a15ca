"""A CPU in place of a GPU: its queue is empty whenever a call returns, and a graph is the work itself."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from capsroute.bench import memory
from capsroute.bench.gpu.device import Work


class CpuDevice:
    """See :class:`capsroute.bench.gpu.device.Device`."""

    def __init__(self, backend: str = "cpu") -> None:
        self.place = torch.device("cpu")
        self.backend = backend
        self._other = torch.empty(2**16)

    def describe(self) -> dict[str, Any]:
        return {"name": "stand-in", "driver_version": "1.2"}

    def state(self) -> dict[str, Any]:
        return {"clocks.sm": "1000"}

    def mark(self) -> float:
        return time.perf_counter()

    def seconds(self, start: float, end: float) -> float:
        return end - start

    def flush(self) -> None:
        self._other.zero_()

    def synchronize(self) -> None:
        pass

    @contextlib.contextmanager
    def captured(self, work: Work) -> Iterator[Callable[[], None]]:
        def replay() -> None:
            work()

        yield replay

    def free_bytes(self) -> int:
        return memory.available_bytes()

    def extra_bytes(self, work: Work) -> int:
        return memory.extra_bytes(work)

    def release(self) -> None:
        pass
