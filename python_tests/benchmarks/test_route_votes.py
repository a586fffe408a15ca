"""capsroute.route_votes on the shapes of the table whose votes fit in 1 GiB, beside plain PyTorch and torch.compile."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import capsroute
from capsroute import reference
from capsroute.bench import flops, peers
from capsroute.bench.contenders import OURS
from capsroute.bench.shapes import SHAPES, Shape

from .conftest import CONTENDERS, Measure


@pytest.mark.parametrize("shape", [s for s in SHAPES if s.votes * 4 <= 2**30], ids=lambda shape: shape.name)
@pytest.mark.parametrize("gradient", [None, "all", "last"])
@pytest.mark.parametrize("contender", CONTENDERS)
def test_route_votes(shape: Shape, gradient: str | None, contender: str, measure: Measure) -> None:
    x, weight, grad = shape.arguments(torch.float32, torch.device("cpu"))
    votes = reference.prediction_vectors(x, weight).requires_grad_(gradient is not None)

    def ours(votes: Tensor) -> Tensor:
        return capsroute.route_votes(votes, iterations=shape.iterations, gradient=gradient or "all", eps=peers.EPS)

    routes = peers.contenders(peers.FAMILIES, shape.iterations, gradient or "all", of_votes=True)
    route = (routes | {OURS: ours})[contender]

    def work() -> list[Tensor]:
        output = route(votes)
        return [output.detach(), *(torch.autograd.grad(output, votes, grad) if gradient else ())]

    operations = flops.of_pass_from_votes(shape, gradient)
    measure(shape, gradient, contender, work, operations, flops.compulsory_bytes_from_votes(shape, 4, gradient))
