"""``torch.func``: grad, vmap, per-sample gradients, Jacobians."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

import capsroute
from capsroute import reference
from capsroute.routing import ops
from capsroute.routing.options import DETAILS

from ..covering import covering
from .cases import ENTRIES, Case, Tensors, votes_of
from .compare import fused
from .raw_ops import RAW, raw_arguments

CASE = Case((7, 6, 4, 5, 3), bias=True, logits="shared")
KINDS = [
    CASE,
    Case((7, 6, 4, 5, 3), softmax="inputs", gradient="last", logits="sample", input_mask=True, output_mask=True),
    Case((7, 6, 4, 5, 3), bias=True, input_weight=True, squash="power", logit_update="replace", temperature="falling"),
    Case(
        (7, 6, 4, 5, 3), logits="sample", given=True, iterations=1, input_weight=True, squash="shifted", weights="half"
    ),
]
_INPUTS = Case((4, 6, 3, 5, 2), softmax="inputs", bias=True, logits="sample", output_mask=True)
_OUTPUTS = Case((4, 6, 3, 5, 2), bias=True, logits="shared")
_GIVEN = Case((4, 6, 3, 5, 2), logits="shared", given=True, iterations=1)
MAPPED = {  # a case, its function, what is mapped, and how many calls of a kernel three instances are
    "weight": (_INPUTS, "dynamic_routing", {"weight"}, 1),
    "all of outputs": (_INPUTS, "dynamic_routing", {"weight", "bias", "logits", "output_mask"}, 1),
    "votes and bias": (_INPUTS, "route_votes", {"votes", "bias"}, 1),
    "given coupling": (_GIVEN, "dynamic_routing", {"weight"}, 1),
    "inputs too": (_INPUTS, "dynamic_routing", {"x", "weight"}, 3),
    "bias alone": (_INPUTS, "dynamic_routing", {"bias"}, 3),
    "softmax over outputs": (_OUTPUTS, "dynamic_routing", {"weight"}, 3),
    "batch": (_OUTPUTS, "route_votes", {"votes"}, 1),
}
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


@pytest.mark.parametrize("kind", MAPPED)
def test_mapped_weights(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One call of a kernel where the outputs do not depend on each other, else one for each; gradients too."""
    case, entry, names, calls = MAPPED[kind]
    several = [votes_of(t) if entry == "route_votes" else t for t in (case.tensors(seed=seed) for seed in range(3))]
    stacked = {n: torch.stack([t[n] for t in several]) if n in names else several[0][n] for n in several[0]}
    routing = by_position(getattr(capsroute, entry), stacked, case)
    in_dims = tuple(0 if n in names else None for n in stacked)
    counted: list[None] = []
    run = ops._forward
    monkeypatch.setattr(ops, "_forward", lambda *arguments: (counted.append(None), run(*arguments))[1])
    floats = {n: t for n, t in stacked.items() if t.is_floating_point()}

    def mapped(*values: Tensor) -> Tensor:
        given = {**stacked, **dict(zip(floats, values, strict=True))}
        result: Tensor = torch.func.vmap(routing, in_dims=in_dims)(*given.values())
        return result

    output, pull_back, *_ = torch.func.vjp(mapped, *floats.values())
    assert len(counted) == calls
    gradients = dict(zip(floats, pull_back(torch.stack([case.output_gradient()] * 3)), strict=True))
    for k, tensors in enumerate(several):
        values = {n: t if n in names else several[0][n] for n, t in tensors.items()}
        expected = fused(values, case.options(), case.output_gradient())
        close(output[k], expected["output"])
        for name in names & expected.keys():
            close(gradients[name][k], expected[name])


@ENTRY
@pytest.mark.parametrize("case", [KINDS[1], KINDS[2]], ids=str)
def test_vmap_over_nothing(entry: str, case: Case) -> None:
    """An axis of size 0 on everything, on the first argument, or on all but the first: empty results, as they are."""
    tensors, grad = arguments(case, entry), case.output_gradient()
    names = list(tensors)

    def routing(*values: Tensor) -> tuple[Tensor, ...]:
        found = by_position(functools.partial(getattr(capsroute, entry), details=DETAILS), tensors, case)(*values)
        return tuple(found)  # type: ignore[arg-type]

    for mapped in (names, names[:1], names[1:]):
        values = [t.new_zeros(0, *t.shape) if n in mapped else t for n, t in tensors.items()]
        in_dims = tuple(0 if n in mapped else None for n in names)
        floats = tuple(k for k, n in enumerate(names) if n in mapped and tensors[n].is_floating_point())
        found = torch.func.vmap(routing, in_dims=in_dims)(*values)
        assert [t.shape for t in found] == [(0, *t.shape) for t in routing(*tensors.values())]

        def loss(*given: Tensor) -> Tensor:
            return (routing(*given)[0] * grad).sum(dim=(0, 1, 2))

        gradients = torch.func.vmap(torch.func.grad(loss, argnums=floats), in_dims=in_dims)(*values)
        assert [g.shape for g in gradients] == [values[k].shape for k in floats]


@pytest.mark.parametrize("name", ENTRIES)
def test_raw_ops_over_nothing(name: str) -> None:
    for op, given in raw_arguments(name).items():
        expected = tree_leaves(RAW[op][name](*given))
        given = [torch.stack([a, a]) if isinstance(a, Tensor) else a for a in given]
        in_dims = tuple(tree_map(lambda a: 0 if isinstance(a, Tensor) else None, a) for a in given)
        for count in (2, 0):
            values = [a[:count] if isinstance(a, Tensor) else a for a in given]
            found = tree_leaves(torch.vmap(RAW[op][name], in_dims=in_dims)(*values))
            assert [t.shape for t in found] == [(count, *t.shape) for t in expected], op
            for actual, one in zip(found, expected, strict=True):
                torch.testing.assert_close(actual, one.expand_as(actual))
