"""A CPU in place of a GPU: its queue is empty whenever a call returns, and a graph is the work itself."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from capsroute.bench import memory
from capsroute.bench.gpu import ceilings, meter, plan
from capsroute.bench.gpu.device import Device, Work


@contextlib.contextmanager
def quick() -> Iterator[None]:
    """Context in which a run does little of everything, by one thread: its order is looked at, not its times."""
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ceilings, "_SIZE", 32)
        patch.setattr(ceilings, "_BYTES", 4096)
        patch.setattr(plan, "SWEEP", (2, 6))
        patch.setattr(meter.Meter.__init__, "__defaults__", (1e-3,))
        yield


class CpuDevice(Device):
    """All of :class:`capsroute.bench.gpu.device.Device`, without its constructor."""

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
