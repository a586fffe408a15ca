"""``torch.func``: grad, vmap, per-sample gradients, Jacobians."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import capsroute
from capsroute import reference

from ..covering import covering
from .cases import ENTRIES, Case, Tensors, votes_of
from .compare import fused

CASE = Case((7, 6, 4, 5, 3), bias=True, logits="shared")
KINDS = [
    CASE,
    Case((7, 6, 4, 5, 3), softmax="inputs", gradient="last", logits="sample", input_mask=True, output_mask=True),
    Case((7, 6, 4, 5, 3), bias=True, input_weight=True, squash="power", logit_update="replace", temperature="falling"),
    Case(
        (7, 6, 4, 5, 3), logits="sample", given=True, iterations=1, input_weight=True, squash="shifted", weights="half"
    ),
]
ENTRY = pytest.mark.parametrize("entry", ["dynamic_routing", "route_votes"])


def arguments(case: Case, entry: str) -> Tensors:
    tensors = case.tensors()
    return votes_of(tensors) if entry == "route_votes" else tensors


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-11, atol=1e-13)


def by_position(function: Callable[..., Tensor], tensors: Tensors, case: Case) -> Callable[..., Tensor]:
    """``function`` of the tensors in the order of ``tensors``."""
    return lambda *values: function(**dict(zip(tensors, values, strict=True)), **case.options())


@ENTRY
@pytest.mark.parametrize("case", KINDS, ids=str)
def test_grad(entry: str, case: Case, backend: str) -> None:
    tensors, grad = arguments(case, entry), case.output_gradient()
    expected = fused(tensors, case.options(), grad)
    routing = by_position(getattr(capsroute, entry), tensors, case)
    floats = tuple(k for k, t in enumerate(tensors.values()) if t.is_floating_point())
    grads = torch.func.grad(lambda *values: (routing(*values) * grad).sum(), argnums=floats)(*tensors.values())
    for k, value in zip(floats, grads, strict=True):
        close(value, expected[list(tensors)[k]])


@ENTRY
@pytest.mark.parametrize("case", KINDS, ids=str)
def test_vjp_and_value(entry: str, case: Case, backend: str) -> None:
    tensors, grad = arguments(case, entry), case.output_gradient()
    expected = fused(tensors, case.options(), grad)
    first = next(iter(tensors))
    rest = {n: t for n, t in tensors.items() if n != first}
    output, pull = torch.func.vjp(
        lambda value: getattr(capsroute, entry)(**{first: value}, **rest, **case.options()), tensors[first]
    )
    close(output, expected["output"])
    close(pull(grad)[0], expected[first])


@covering(entry=ENTRIES, case=KINDS, which=["first", "all", "weights"], axis=[0, -1])
def test_vmap(entry: str, case: Case, which: str, axis: int, backend: str) -> None:
    """An extra axis, anywhere, on the first argument, on all, or on all but the first."""
    names = list(arguments(case, entry))
    chosen = {"first": names[:1], "all": names, "weights": names[1:]}[which]
    several = [case.tensors(seed=seed) for seed in range(3)]
    several = [votes_of(t) for t in several] if entry == "route_votes" else several
    stacked = {n: torch.stack([t[n] for t in several], dim=axis) if n in chosen else several[0][n] for n in names}
    in_dims = tuple(axis if n in chosen else None for n in names)
    routing = by_position(getattr(capsroute, entry), stacked, case)
    actual = torch.func.vmap(routing, in_dims=in_dims)(*stacked.values())
    plain = by_position(getattr(reference, entry), stacked, case)
    for k, tensors in enumerate(several):
        values = [tensors[n] if n in chosen else several[0][n] for n in names]
        close(actual[k], plain(*values))


@pytest.mark.parametrize("case", KINDS[:1], ids=str)
def test_per_sample_gradients(case: Case, backend: str) -> None:
    """vmap(grad): the gradient of the shared parameters for each sample by itself."""
    tensors, grad = case.tensors(), case.output_gradient()

    def loss(weight: Tensor, bias: Tensor, logits: Tensor, x: Tensor, g: Tensor) -> Tensor:
        return (capsroute.dynamic_routing(x[None], weight, bias, logits=logits, **case.options()) * g).sum()

    parameters = (tensors["weight"], tensors["bias"], tensors["logits"])
    per_sample = torch.func.vmap(torch.func.grad(loss, argnums=(0, 1, 2)), in_dims=(None, None, None, 0, 0))(
        *parameters, tensors["x"], grad
    )
    for k in range(case.sizes[0]):
        alone = fused({**tensors, "x": tensors["x"][k : k + 1]}, case.options(), grad[k : k + 1])
        for name, values in zip(("weight", "bias", "logits"), per_sample, strict=True):
            close(values[k], alone[name])


@ENTRY
def test_jacobian(entry: str, backend: str) -> None:
    """jacrev runs the backward under vmap."""
    case = Case((2, 3, 2, 3, 2))
    tensors = arguments(case, entry)
    first = next(iter(tensors))
    rest = {n: t for n, t in tensors.items() if n != first}
    jacobians = [
        torch.func.jacrev(lambda value, f=f: f(**{first: value}, **rest, **case.options()))(tensors[first])
        for f in (getattr(capsroute, entry), getattr(reference, entry))
    ]
    close(*jacobians)
