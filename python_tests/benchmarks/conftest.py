"""What the benchmark files share: how work is run under pytest-benchmark, and what is noted beside its times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from capsroute.bench import ceilings, memory, timing
from capsroute.bench.ceilings import Ceilings
from capsroute.bench.contenders import OURS
from capsroute.bench.peers import FAMILIES, FORMULATIONS
from capsroute.bench.shapes import Shape
from capsroute.bench.suite import title

from .notes import add_ratios

CONTENDERS = (OURS, *(f"{family} {formulation}" for family in FAMILIES for formulation in FORMULATIONS))
Measure = Callable[[Shape, str | None, str, Callable[[], Sequence[Tensor]], int, int], None]


@pytest.fixture(scope="session")
def limits() -> Ceilings:
    """The limits of this machine in float32."""
    return ceilings.measure(torch.float32)


@pytest.fixture
def measure(benchmark: BenchmarkFixture, request: pytest.FixtureRequest, limits: Ceilings) -> Measure:
    """Time work on a shape, and note its extra memory and its share of the limit."""

    def run(
        shape: Shape,
        gradient: str | None,
        contender: str,
        work: Callable[[], Sequence[Tensor]],
        operations: int,
        traffic: int,
    ) -> None:
        torch._dynamo.reset()  # graphs of other shapes would count towards the limit of recompilations
        repeats = timing.repeats_to_fill(work)
        passes = title("forward" if gradient is None else "forward+backward", gradient)
        benchmark.group = f"{request.node.originalname.removeprefix('test_')}, {shape.name}, {passes}"
        benchmark.pedantic(work, rounds=timing.ROUNDS, iterations=repeats)
        benchmark.extra_info |= {
            "contender": contender,
            "sizes": shape.sizes(),
            "threads": torch.get_num_threads(),
            "extra_bytes": memory.extra_bytes(work),
        }
        if benchmark.stats is not None:  # it is None under --benchmark-disable
            median = benchmark.stats.stats.median
            benchmark.extra_info["share_of_limit"] = limits.seconds(operations, traffic) / median

    return run


def pytest_benchmark_update_json(config: pytest.Config, benchmarks: object, output_json: dict[str, Any]) -> None:
    """Before the file is written: with all times known, note the ratios between the contenders of each group."""
    add_ratios(output_json["benchmarks"])
