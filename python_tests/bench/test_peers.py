"""The peers compute what the reference defines, or the comparison would mean nothing."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from capsroute import reference
from capsroute.bench import peers
from capsroute.bench.shapes import SHAPES, Shape

SHAPE = Shape("test", 5, 7, 4, 6, 3, 3, "")


@pytest.mark.parametrize("formulation", peers.FORMULATIONS)
@pytest.mark.parametrize("gradient", ["all", "last"])
@pytest.mark.parametrize("iterations", [1, 2, 3, 5])
def test_formulations(formulation: str, gradient: str, iterations: int) -> None:
    x, weight, grad = SHAPE.arguments(torch.float64, torch.device("cpu"))
    x.requires_grad_()
    weight.requires_grad_()
    results = []
    options = {"iterations": iterations, "gradient": gradient}
    for output in (
        peers.FORMULATIONS[formulation](x, weight, iterations, gradient),
        reference.dynamic_routing(x, weight, **options, eps=peers.EPS),
    ):
        results.append([output, *torch.autograd.grad(output, (x, weight), grad)])
    for actual, expected in zip(*results, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("formulation", peers.OF_VOTES)
@pytest.mark.parametrize("gradient", ["all", "last"])
@pytest.mark.parametrize("iterations", [1, 3])
def test_formulations_of_votes(formulation: str, gradient: str, iterations: int) -> None:
    x, weight, grad = SHAPE.arguments(torch.float64, torch.device("cpu"))
    votes = reference.prediction_vectors(x, weight).requires_grad_()
    output = peers.contenders(["eager"], iterations, gradient, of_votes=True)[f"eager {formulation}"](votes)
    expected = reference.route_votes(votes, iterations=iterations, gradient=gradient, eps=peers.EPS)
    torch.testing.assert_close(output, expected, rtol=1e-11, atol=1e-13)
    gradients = [torch.autograd.grad(result, votes, grad)[0] for result in (output, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-11, atol=1e-13)


def test_eager_contenders() -> None:
    x, weight, _ = SHAPE.arguments(torch.float32, torch.device("cpu"))
    routes = peers.contenders(["eager"], 3, "all")
    assert set(routes) == {"eager einsum", "eager bmm"}
    for route in routes.values():
        torch.testing.assert_close(route(x, weight), reference.dynamic_routing(x, weight), rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("quick_compiler")
@pytest.mark.parametrize("gradient", ["all", "last"])
def test_compiled_contenders(gradient: str) -> None:
    """Really compiled: what runs is not the eager function, and it computes the same."""
    torch._dynamo.reset()
    x, weight, grad = SHAPE.arguments(torch.float32, torch.device("cpu"))
    x.requires_grad_()
    name, route = list(peers.contenders(["compile"], 2, gradient).items())[1]
    assert name == "compile bmm"
    before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    output = route(x, weight)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == before + 1
    expected = reference.dynamic_routing(x, weight, iterations=2, gradient=gradient)
    torch.testing.assert_close(output, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(
        torch.autograd.grad(output, x, grad)[0], torch.autograd.grad(expected, x, grad)[0], rtol=1e-4, atol=1e-5
    )


def test_unknown_family() -> None:
    with pytest.raises(ValueError, match=r"eager, compile; got 'jax'"):
        peers.contenders(["eager", "jax"], 3, "all")


def test_memory_of_eager_is_not_underestimated() -> None:
    """The estimate keeps a peer from exhausting the machine, so it has to lie above what is measured."""
    from capsroute.bench.memory import extra_bytes

    shape = dataclasses.replace(SHAPES[-1], batch=16)
    x, weight, grad = shape.arguments(torch.float32, torch.device("cpu"))
    x.requires_grad_()
    weight.requires_grad_()
    for name, route in peers.contenders(["eager"], shape.iterations, "all").items():

        def work(route: peers.Route = route) -> list[torch.Tensor]:
            output = route(x, weight)
            return [output, *torch.autograd.grad(output, (x, weight), grad)]

        measured, estimate = extra_bytes(work), peers.eager_bytes(shape.votes, 4, shape.iterations)
        assert shape.votes * 4 < measured <= estimate, name
