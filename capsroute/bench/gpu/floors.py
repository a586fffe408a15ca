"""The time below which no implementation of a shape can get, from its traffic and operations and measured limits."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from capsroute.bench import flops

from .ceilings import Ceilings
from .plan import Cell


@dataclass(frozen=True)
class Floor:
    """Seconds, and which of the limits they come from: ``"bytes"`` or ``"operations"``."""

    seconds: float
    limit: str


def of(cell: Cell, ceilings: Ceilings) -> Floor:
    """The larger of two times: of the compulsory traffic, and of the operations by the convention of the benchmark.

    A float32 product that keeps all of its digits comes either from the ordinary units or from three products in TF32;
    the better one is the limit.
    """
    element = torch.empty((), dtype=cell.precision.dtype).element_size()
    traffic = flops.compulsory_bytes(cell.shape, element, cell.gradient) / ceilings.bandwidth
    rate = ceilings.matrix[cell.precision.name]
    if cell.precision.name == "float32":
        rate = max(rate, ceilings.matrix["tf32"] / 3)
    operations = flops.of_pass(cell.shape, cell.gradient) / rate
    return Floor(traffic, "bytes") if traffic > operations else Floor(operations, "operations")
