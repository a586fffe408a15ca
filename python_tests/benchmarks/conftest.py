"""What the benchmark files share: one way to run a piece of work under pytest-benchmark."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from capsroute.bench import memory, timing
from capsroute.bench.shapes import Shape

Measure = Callable[[Shape, str | None, Callable[[], Sequence[Tensor]]], None]


@pytest.fixture
def measure(benchmark: BenchmarkFixture, request: pytest.FixtureRequest) -> Measure:
    """Time work on a shape, forward (gradient None) or forward and backward, and note its extra memory."""

    def run(shape: Shape, gradient: str | None, work: Callable[[], Sequence[Tensor]]) -> None:
        repeats = timing.repeats_to_fill(work)
        passes = "forward" if gradient is None else f"forward+backward ({gradient})"
        benchmark.group = f"{request.node.originalname.removeprefix('test_')}, {shape.name}, {passes}"
        benchmark.extra_info |= {
            "sizes": shape.sizes(),
            "threads": torch.get_num_threads(),
            "extra_bytes": memory.extra_bytes(work),
        }
        benchmark.pedantic(work, rounds=timing.ROUNDS, iterations=repeats)

    return run
