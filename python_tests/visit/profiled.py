"""``python -m python_tests.visit.profiled SHAPE``: one forward and backward between a profiler's start and stop."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace

import torch

import capsroute
from capsroute import testing
from capsroute.bench import shapes
from capsroute.bench.gpu import plan


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m python_tests.visit.profiled", description=__doc__)
    parser.add_argument("shape", choices=[shape.name for shape in shapes.SHAPES], help="name from the table of shapes")
    parser.add_argument("--precision", choices=list(plan.PRECISIONS), default="float32")
    parser.add_argument("--backend", choices=("cuda", "cuda_emulated"), default="cuda")
    parser.add_argument("--shrink", metavar="N", type=int, default=1, help="divide B and I by N")
    given = parser.parse_args(arguments)
    if given.shrink < 1:
        parser.error(f"--shrink must be at least 1, got {given.shrink}")
    (shape,) = shapes.by_names([given.shape])
    shape = replace(shape, batch=-(-shape.batch // given.shrink), inputs=-(-shape.inputs // given.shrink))
    precision = plan.PRECISIONS[given.precision]
    place = torch.device("cuda" if given.backend == "cuda" else "cpu")
    x, weight, grad = shape.arguments(precision.dtype, place)
    x.requires_grad_()
    weight.requires_grad_()

    def call() -> None:
        capsroute.dynamic_routing(x, weight, iterations=shape.iterations).backward(grad)

    with testing.backend(given.backend), precision.in_force():
        print(capsroute.explain(x, weight, iterations=shape.iterations))
        call()  # loads the kernels
        if place.type == "cuda":
            torch.cuda.synchronize()
            torch.cuda.profiler.start()
        call()
        if place.type == "cuda":
            torch.cuda.synchronize()
            torch.cuda.profiler.stop()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
