"""capsroute.dynamic_routing on every shape of the table, beside plain PyTorch and torch.compile."""

from __future__ import annotations

import pytest
import torch

from capsroute.bench import flops, memory, peers
from capsroute.bench.shapes import SHAPES, Shape
from capsroute.bench.workload import Workload

from .conftest import CONTENDERS, Measure


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
@pytest.mark.parametrize("gradient", [None, "all", "last"])
@pytest.mark.parametrize("contender", CONTENDERS)
def test_dynamic_routing(shape: Shape, gradient: str | None, contender: str, measure: Measure) -> None:
    load = Workload(shape, torch.float32, gradient)
    lack = load.lack_of_memory(contender, memory.available_bytes())
    if lack is not None:
        pytest.skip(lack)
    work = load.work(load.routes(peers.FAMILIES)[contender])
    operations = flops.of_pass(shape, gradient)
    measure(shape, gradient, contender, work, operations, flops.compulsory_bytes(shape, 4, gradient))
