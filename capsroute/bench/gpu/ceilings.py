"""What the device can do at most, measured in the same run, and what that means for a shape."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from capsroute.bench import flops

from .device import Device
from .meter import Meter
from .plan import PRECISIONS, Cell, Precision

_SIZE = 8192  # of the matrices
_BYTES = 2**30  # copied at once
_LAUNCHES = 200


@dataclass(frozen=True)
class Floor:
    """The time below which no implementation can get, and the limit it comes from: ``"bytes"`` or ``"operations"``."""

    seconds: float
    limit: str


@dataclass(frozen=True)
class Ceilings:
    """Measured limits.

    Attributes:
        bandwidth: Bytes per second that a copy of a large tensor reads and writes, both counted.
        matrix: By precision, operations per second of a large ``torch.mm``, two per multiply-add.
        launch_seconds: From one empty kernel to the next in a full queue.
        host_seconds: Of the Python call that launches one of these, the device being busy.
    """

    bandwidth: float
    matrix: dict[str, float]
    launch_seconds: float
    host_seconds: float

    def floor(self, cell: Cell) -> Floor:
        """The larger of two times: of the compulsory traffic, and of the operations as the benchmark counts them.

        A float32 product that keeps all of its digits comes either from the ordinary units or from three products in
        TF32; the better one is the limit.
        """
        traffic = flops.compulsory_bytes(cell.shape, cell.precision.dtype.itemsize, cell.gradient) / self.bandwidth
        rate = self.matrix[cell.precision.name]
        if cell.precision.name == "float32":
            rate = max(rate, self.matrix["tf32"] / 3)
        operations = flops.of_pass(cell.shape, cell.gradient) / rate
        return Floor(traffic, "bytes") if traffic > operations else Floor(operations, "operations")


def measure(device: Device, meter: Meter) -> Ceilings:
    """Measure all limits; the fastest quarter of the calls counts, as it was disturbed least."""
    matrix = {precision.name: _product(device, meter, precision) for precision in PRECISIONS.values()}
    one = torch.zeros(1, device=device.place)

    def launches() -> list[Tensor]:
        return [one.zero_() for _ in range(_LAUNCHES)]

    launch = _fastest(meter, launches) / _LAUNCHES
    return Ceilings(_copy(device, meter), matrix, launch, meter.host(lambda: [one.zero_()]))


def _copy(device: Device, meter: Meter) -> float:
    source = torch.ones(_BYTES // 4, device=device.place)
    target = torch.empty_like(source)
    return 2 * _BYTES / _fastest(meter, lambda: [target.copy_(source)])


def _product(device: Device, meter: Meter, precision: Precision) -> float:
    # Random factors: a product of constants draws less power, and may run at a higher clock.
    a, b, c = (torch.randn(_SIZE, _SIZE, device=device.place).to(precision.dtype) for _ in range(3))
    with precision.in_force():
        return 2 * _SIZE**3 / _fastest(meter, lambda: [torch.mm(a, b, out=c)])


def _fastest(meter: Meter, work: Callable[[], list[Tensor]]) -> float:
    work()
    return meter.kernel(work, meter.host(work, calls=3)).lower
