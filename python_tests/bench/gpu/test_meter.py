"""How work is measured, on a device whose times are known."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from capsroute.bench.gpu.meter import Meter

from .stand_in import CpuDevice


class Queue(CpuDevice):
    """A device with a clock of its own that only its work moves on: a flush takes 1 ms."""

    def __init__(self, graphs: bool = True) -> None:
        super().__init__()
        self.now = 0.0
        self.graphs = graphs
        self.log: list[str] = []

    def mark(self) -> float:
        self.log.append("mark")
        return self.now

    def flush(self) -> None:
        self.log.append("flush")
        self.now += 1e-3

    def work(self) -> list[Tensor]:
        self.log.append("work")
        self.now += 5e-3
        return []

    @contextlib.contextmanager
    def captured(self, work: object) -> Iterator[Callable[[], None]]:
        if not self.graphs:
            raise RuntimeError("this cannot be captured\nbecause")

        def replay() -> None:
            self.log.append("replay")
            self.now += 2e-3

        yield replay


def test_time_on_the_device_is_that_of_the_work_alone() -> None:
    device = Queue()
    found = Meter(device).kernel(device.work, host_seconds=0.0)
    assert found.median == pytest.approx(5e-3)
    assert found.lower == pytest.approx(found.upper)


def test_flushes_outlast_the_launch() -> None:
    """A host that takes 3.5 ms to launch is hidden behind more than 3.5 ms of flushes before every single call."""
    device = Queue()
    meter = Meter(device)
    device.log.clear()
    timing = meter.kernel(device.work, host_seconds=3.5e-3)
    assert " ".join(device.log).count("flush flush flush flush flush flush mark work mark") == timing.rounds >= 5


def test_more_calls_of_short_work() -> None:
    device = Queue()
    assert Meter(device, seconds=0.0601).kernel(device.work, 0.0).rounds == 10
    assert Meter(device, seconds=10).kernel(device.work, 0.0).rounds == 30


def test_host_time_is_that_of_the_call() -> None:
    device = Queue()

    def slow() -> list[Tensor]:
        time.sleep(2e-3)
        return []

    assert 2e-3 <= Meter(device, seconds=1.0).host(slow, calls=5) < 0.1


def test_host_calls_end_in_time() -> None:
    device, calls = Queue(), []
    Meter(device, seconds=0.0).host(lambda: calls.append(1) or [])
    assert len(calls) == 3


def test_all_figures() -> None:
    device = Queue()
    found = Meter(device).figures(device.work)
    assert found.kernel.median == pytest.approx(5e-3)
    assert found.replay_seconds == pytest.approx(2e-3)
    assert found.replay_problem is None
    assert found.host_seconds > 0


def test_work_that_cannot_be_captured() -> None:
    device = Queue(graphs=False)
    found = Meter(device).figures(device.work)
    assert found.replay_seconds is None
    assert found.replay_problem == "this cannot be captured"
    assert found.kernel.median == pytest.approx(5e-3)


def test_memory_is_what_the_device_counts() -> None:
    def work() -> list[Tensor]:
        temporary = torch.empty(2**20, dtype=torch.uint8)
        result = torch.empty(2**18, dtype=torch.uint8)
        del temporary
        return [result]

    assert Meter(CpuDevice()).figures(work).extra_bytes == 2**20
