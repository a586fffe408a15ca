"""The CUDA device of the benchmark, where there is one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from capsroute.bench.gpu.device import Device
from capsroute.bench.gpu.meter import Meter

if not torch.cuda.is_available():
    pytest.skip("there is no GPU here", allow_module_level=True)


@pytest.fixture(scope="module")
def device() -> Device:
    return Device()


def test_facts(device: Device) -> None:
    facts = device.describe()
    assert facts["name"] == torch.cuda.get_device_name()
    assert facts["multiprocessors"] > 0
    assert device.free_bytes() > 2**28
    assert isinstance(device.state(), dict)


def test_extra_memory_is_what_is_not_returned(device: Device) -> None:
    def work() -> list[Tensor]:
        temporary = torch.empty(8 * 2**20, dtype=torch.int8, device=device.place)
        result = torch.empty(4 * 2**20, dtype=torch.int8, device=device.place)
        del temporary
        return [result]

    assert device.extra_bytes(work) == 8 * 2**20


def test_a_graph_repeats_the_work(device: Device) -> None:
    counter = torch.zeros(1, device=device.place)
    with device.captured(lambda: [counter.add_(1)]) as replay:
        before = int(counter)
        for _ in range(3):
            replay()
        assert int(counter) == before + 3


def test_a_graph_of_a_backward(device: Device) -> None:
    x = torch.randn(64, 64, device=device.place, requires_grad=True)

    def work() -> list[Tensor]:
        output = (x @ x).sin()
        return [output.detach(), *torch.autograd.grad(output.sum(), x)]

    assert Meter(device).figures(work).replay_problem is None


def test_work_that_waits_cannot_be_captured_and_leaves_the_device_usable(device: Device) -> None:
    one = torch.ones(1, device=device.place)

    def waits() -> list[Tensor]:
        return [one * float(one)]

    found = Meter(device).figures(waits)
    assert found.replay_seconds is None
    assert found.replay_problem
    assert torch.cuda.current_stream() == torch.cuda.default_stream()
    assert float(one + one) == 2


def test_time_of_a_copy_is_between_reason_and_the_clock(device: Device) -> None:
    """256 MiB take at least 20 µs at 25 TB/s, and the events do not see the time of the host."""
    source = torch.empty(2**28, dtype=torch.int8, device=device.place)
    target = torch.empty_like(source)

    def copy() -> list[Tensor]:
        return [target.copy_(source)]

    copy()
    meter = Meter(device)
    assert 20e-6 < meter.kernel(copy, meter.host(copy)).median < 1.0
