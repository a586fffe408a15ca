"""Forward-mode differentiation, and derivatives of gradients: by whatever way of torch, those of the definition."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, func
from torch.autograd import forward_ad, functional, gradcheck, gradgradcheck
from torch.utils._pytree import tree_leaves

import capsroute
from capsroute import reference, testing
from capsroute.routing import ops

from .cases import ENTRIES, Case, Tensors, coupling_cases, option_cases
from .raw_ops import RAW, raw_arguments

OPTIONS = [replace(case, dtype=torch.float64) for case in (*option_cases(), *coupling_cases())]
_STENCIL = ((1, 4 / 5), (2, -1 / 5), (3, 4 / 105), (4, -1 / 280))  # central differences, exact up to the 8th power


def tangent(case: Case, function: Callable[..., Any], tensors: Tensors, along: Tensors) -> Tensor:
    """Of the output of ``function``, where the arguments in ``along`` move so; nothing requires a gradient.

    torch has None for it where they play no part, as logits do not that were replaced.
    """
    with torch.no_grad(), forward_ad.dual_level():
        duals = {name: forward_ad.make_dual(tensors[name], direction) for name, direction in along.items()}
        output, found = forward_ad.unpack_dual(function(**{**tensors, **duals}, **case.options()))
    replaced = list(along) == ["logits"] and case.logit_update == "replace" and case.gradient == "last"
    assert (found is None) == (replaced and case.iterations > 1)
    return torch.zeros_like(output) if found is None else found


def central_difference(case: Case, function: Callable[..., Any], tensors: Tensors, along: Tensors) -> Tensor:
    """The same from values of the output; votes and logits are of the order of 1."""

    def at(step: float) -> Tensor:
        moved = {name: tensors[name] + step * direction for name, direction in along.items()}
        result: Tensor = function(**{**tensors, **moved}, **case.options())
        return result

    step = 1 / 2048
    return sum((weight * (at(k * step) - at(-k * step)) for k, weight in _STENCIL), torch.zeros(())) / step


def close(actual: Any, expected: Any, what: object = "") -> None:
    """Tensors, or structures of them, within 1e-10 of the largest of each."""
    pairs = zip(tree_leaves(actual), tree_leaves(expected), strict=True)
    for one, other in pairs:
        assert float((one - other).detach().abs().max()) <= 1e-10 * max(1.0, float(other.detach().abs().max())), what


@pytest.mark.parametrize("part", range(8))
def test_every_option(part: int) -> None:
    """For each argument and for all, the tangent is the transpose of what the kernels' backward computes.

    So it is with every ``gradient``, which a difference of outputs does not see.
    """
    for case in OPTIONS[part::8]:
        function, tensors, grad = getattr(capsroute, case.entry), case.arguments(), case.output_gradient()
        generator = torch.Generator().manual_seed(7)
        floats = {name: tensor for name, tensor in tensors.items() if tensor.is_floating_point()}
        along = {n: torch.randn(t.shape, generator=generator, dtype=t.dtype) * t.std() for n, t in floats.items()}
        leaves = {name: tensor.clone().requires_grad_() for name, tensor in floats.items()}
        output = function(**{**tensors, **leaves}, **case.options())
        gradients = torch.autograd.grad(output, list(leaves.values()), grad, materialize_grads=True)
        products = {n: (g * along[n]).sum() for n, g in zip(leaves, gradients, strict=True)}
        for name in along:
            close((tangent(case, function, tensors, {name: along[name]}) * grad).sum(), products[name], (case, name))
        together = tangent(case, function, tensors, along)
        close((together * grad).sum(), sum(products.values(), torch.zeros(())), case)
        close(together, tangent(case, getattr(reference, case.entry), tensors, along), case)
        if case.gradient == "all":
            close(together, central_difference(case, function, tensors, along), case)


def _small(name: str) -> tuple[Callable[..., Any], Tensor, Tensor]:
    """A function of the first argument of a call, that argument, and a direction."""
    case = Case((2, 6, 3, 4, 5), bias=True, logits="sample", input_mask=True, entry=name, dtype=torch.float64)
    tensors = case.arguments()
    first = next(iter(tensors))
    rest = {n: t for n, t in tensors.items() if n != first}
    x = tensors[first]
    return lambda a, **more: getattr(capsroute, name)(**{first: a}, **rest, **more), x, torch.cos(7 * x)


def _dual(f: Callable[[Tensor], Tensor], x: Tensor, t: Tensor) -> tuple[Tensor, ...]:
    with forward_ad.dual_level():
        return tuple(forward_ad.unpack_dual(f(forward_ad.make_dual(x, t))))


def _of_incoming(f: Callable[[Tensor], Tensor], x: Tensor, t: Tensor) -> Any:
    """The backward of a forward that knew of no tangent, as a function of the gradient that comes in."""
    leaf = x.clone().requires_grad_()
    output = f(leaf)
    pull_back = func.vjp(f, x)[1]
    grad = torch.sin(output.detach())
    with forward_ad.dual_level():
        (found,) = torch.autograd.grad(output, leaf, forward_ad.make_dual(grad, grad.cos()))
        found = tuple(forward_ad.unpack_dual(found))
    return found, func.jvp(pull_back, (grad,), (grad.cos(),))


def _third(f: Callable[[Tensor], Tensor], x: Tensor, t: Tensor) -> Tensor:
    leaf = x.clone().requires_grad_()
    value = f(leaf).sin().sum()
    for _ in range(3):
        (gradient,) = torch.autograd.grad(value, leaf, create_graph=True)
        value = (gradient * t).sum()
    return value.detach()


def _loss(f: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda a: f(a).sin().sum()


def _details(f: Callable[..., Any]) -> Callable[[Tensor], tuple[Tensor, ...]]:
    return lambda a: tuple(f(a, details=("coupling", "pre_squash", "agreement")))


def _of_pre_squash(f: Callable[..., Any], x: Tensor, t: Tensor) -> Tensor:
    def loss(a: Tensor) -> Tensor:
        found = f(a, details=("pre_squash",))
        return (found.output * found.pre_squash.sin()).sum()

    return func.jvp(func.grad(loss), (x,), (t,))[1] + functional.hvp(loss, x, t)[1]


def _compiled(f: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    return torch.compile(f, backend="aot_eager", **options)


def _jvp(f: Callable[[Tensor], Any], x: Tensor, t: Tensor) -> Any:
    return func.jvp(f, (x,), (t,))


def _vmap_of_jvp(f: Callable[[Tensor], Any], x: Tensor, t: Tensor) -> Any:
    return torch.vmap(lambda a, b: func.jvp(f, (a,), (b,)))(torch.stack([x, t]), torch.stack([t, x]))


def _jvp_of_vmap(f: Callable[[Tensor], Any], x: Tensor, t: Tensor) -> Any:
    return func.jvp(torch.vmap(f), (torch.stack([x, t]),), (torch.stack([t, x]),))


Way = Callable[[Callable[..., Any], Tensor, Tensor], Any]
WAYS: dict[str, Way] = {
    "jvp": _jvp,
    "dual": _dual,
    "jacfwd": lambda f, x, t: func.jacfwd(f)(x),
    "linearize": lambda f, x, t: func.linearize(f, x)[1](t),
    "jvp of vmap": _jvp_of_vmap,
    "vmap of jvp": _vmap_of_jvp,
    "hessian": lambda f, x, t: func.hessian(_loss(f))(x),
    "jacrev of jacrev": lambda f, x, t: func.jacrev(func.jacrev(_loss(f)))(x),
    "grad of jvp": lambda f, x, t: func.grad(lambda a: func.jvp(_loss(f), (a,), (t,))[1])(x),
    "vmap of grad of grad": lambda f, x, t: torch.vmap(
        func.grad(lambda a: func.grad(_loss(f))(a).square().sum()), in_dims=0
    )(torch.stack([x, t])),
    "functional.jvp": lambda f, x, t: functional.jvp(f, x, t, strict=True),
    "functional.jacobian": lambda f, x, t: functional.jacobian(f, x, vectorize=True, strategy="forward-mode"),
    "functional.hvp": lambda f, x, t: (functional.hvp(_loss(f), x, t), functional.vhp(_loss(f), x, t)),
    "functional.hessian": lambda f, x, t: functional.hessian(
        _loss(f), x, vectorize=True, outer_jacobian_strategy="forward-mode"
    ),
    "incoming gradient": _of_incoming,
    "third derivative": _third,
    "details": lambda f, x, t: func.jvp(_details(f), (x,), (t,)),
    "pre_squash twice": _of_pre_squash,
    "compiled jvp": lambda f, x, t: _compiled(lambda a, b: func.jvp(f, (a,), (b,)), fullgraph=True)(x, t),
    "jvp of compiled": lambda f, x, t: func.jvp(_compiled(f), (x,), (t,)),
}


@pytest.mark.filterwarnings("ignore:Attempted to insert a get_attr Node:UserWarning")  # linearize, of its own graph
@pytest.mark.parametrize("way", WAYS)
def test_every_way(way: str) -> None:
    """Of torch to a tangent or a further derivative: that of plain PyTorch, also where parameters are frozen."""
    f, x, t = _small("route_votes" if "compiled" in way else "dynamic_routing")
    with testing.backend("reference"), torch.compiler.set_stance("force_eager"):
        expected = WAYS[way](f, x, t)
    close(WAYS[way](f, x, t), expected)


def test_on_each_backend(backend: str) -> None:
    for name in ENTRIES:
        f, x, t = _small(name)
        found = _dual(f, x, t), _of_incoming(f, x, t), functional.jvp(f, x, t)
        with testing.backend("reference"):
            close(found, (_dual(f, x, t), _of_incoming(f, x, t), functional.jvp(f, x, t)))


@pytest.mark.parametrize("entry", ENTRIES)
def test_gradcheck(entry: str) -> None:
    """torch's own check of a first and a second derivative, by both modes and mapped."""
    case = Case((1, 3, 2, 2, 2), iterations=2, entry=entry, dtype=torch.float64)
    leaves = [tensor.requires_grad_() for tensor in case.arguments().values()]

    def f(*values: Tensor) -> Tensor:
        routed: Tensor = getattr(capsroute, entry)(*values, iterations=2)
        return routed

    assert gradcheck(f, leaves, check_forward_ad=True, check_batched_grad=True, check_batched_forward_grad=True)
    assert gradgradcheck(f, leaves, check_fwd_over_rev=True)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_types_round_once(dtype: torch.dtype) -> None:
    """Output and tangent are those of the same numbers in float32, rounded; several output axes are as one."""
    tensors = Case((3, 6, 4, 6, 3), bias=True, dtype=dtype).arguments()
    tensors["weight"], tensors["bias"] = tensors["weight"].unflatten(1, (2, 3)), tensors["bias"].unflatten(0, (2, 3))
    values = tuple(tensors.values())
    wide = tuple(value.float() for value in values)
    found = func.jvp(capsroute.dynamic_routing, values, values)
    for actual, expected in zip(found, func.jvp(capsroute.dynamic_routing, wide, wide), strict=True):
        assert actual.dtype == dtype
        torch.testing.assert_close(actual, expected.to(dtype), rtol=0, atol=0)


def test_explain_says_so() -> None:
    x, weight = torch.randn(2, 3, 4), torch.randn(3, 5, 6, 4)
    with forward_ad.dual_level():
        assert "takes backend 'cpu'" in capsroute.explain(x, weight)
        said = capsroute.explain(x, forward_ad.make_dual(weight, weight))
    assert said.endswith("takes backend 'reference': tangents of forward mode are those of the definition")


@pytest.mark.parametrize("name", ENTRIES)
def test_raw_ops_refuse_tangents(name: str) -> None:
    """Wherever the tangent hides; the sentence names the argument where it can be seen."""
    for op, (first, *others) in raw_arguments(name).items():
        call = functools.partial(lambda raw, others, a: raw(a, *others), RAW[op][name], others)
        seen = {"backward": "grad_output"}.get(op, ops.SOURCES[name][0])
        lost = rf"a tangent .* torch\.ops\.capsroute\.{name}_{op} would lose: call capsroute\.{name} "
        call(first)
        with pytest.raises(RuntimeError, match=f"^{seen} has {lost}"):
            _dual(call, first, first)
        for hidden in (_jvp, _vmap_of_jvp, _jvp_of_vmap):
            with pytest.raises(RuntimeError, match=f"^an argument may have {lost}"):
                hidden(call, first, first)
