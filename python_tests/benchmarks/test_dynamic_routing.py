"""capsroute.dynamic_routing on every shape of the table, beside eager PyTorch."""

from __future__ import annotations

import pytest
import torch

from capsroute.bench.shapes import SHAPES, Shape
from capsroute.bench.workload import Workload

from .conftest import Measure


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
@pytest.mark.parametrize("gradient", [None, "all", "last"])
@pytest.mark.parametrize("contender", ["capsroute", "eager einsum", "eager bmm"])
def test_dynamic_routing(shape: Shape, gradient: str | None, contender: str, measure: Measure) -> None:
    load = Workload(shape, torch.float32, gradient)
    lack = load.lack_of_memory(contender)
    assert lack is None, lack
    measure(shape, gradient, load.work(load.routes(["eager"])[contender]))
