"""capsroute.route_votes on the shapes of the table whose votes fit in 1 GiB, beside the plain reference."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import capsroute
from capsroute import reference
from capsroute.bench.shapes import SHAPES, Shape

from .conftest import Measure


@pytest.mark.parametrize("shape", [s for s in SHAPES if s.votes * 4 <= 2**30], ids=lambda shape: shape.name)
@pytest.mark.parametrize("gradient", [None, "all", "last"])
@pytest.mark.parametrize("contender", ["capsroute", "reference"])
def test_route_votes(shape: Shape, gradient: str | None, contender: str, measure: Measure) -> None:
    x, weight, grad = shape.arguments(torch.float32, torch.device("cpu"))
    votes = reference.prediction_vectors(x, weight).requires_grad_(gradient is not None)
    function = {"capsroute": capsroute.route_votes, "reference": reference.route_votes}[contender]

    def work() -> list[Tensor]:
        output = function(votes, iterations=shape.iterations, gradient=gradient or "all")
        return [output.detach(), *(torch.autograd.grad(output, votes, grad) if gradient else ())]

    measure(shape, gradient, work)
