"""Several output axes: one joint softmax, and every tensor with the axes in their place."""

from __future__ import annotations

import pytest
import torch

import capsroute
from capsroute import reference
from capsroute.routing.options import DETAILS

from ..covering import covering
from .cases import ENTRIES, Case, Tensors, coupling_cases, evaluate, option_cases, votes_of

AXES = (2, 3, 2)  # J = 12
CASES = [
    Case((3, 5, 4, 12, 3), **{k: getattr(c, k) for k in ("bias", "logits", "output_mask", "softmax", "given")})
    for c in (*option_cases()[:6], *coupling_cases()[:2])
]


def spread(tensors: Tensors) -> Tensors:
    """The same arguments with J divided into three axes."""
    axis = {"weight": 1, "votes": 2, "bias": 0, "logits": -1, "coupling": -1, "output_mask": 1}
    return {n: t.unflatten(axis[n], AXES) if n in axis else t for n, t in tensors.items()}


@covering(case=CASES, entry=ENTRIES, plain=[False, True])
def test_as_one_axis(case: Case, entry: str, plain: bool, backend: str) -> None:
    tensors, grad = case.tensors(), case.output_gradient()
    tensors = votes_of(tensors) if entry == "route_votes" else tensors
    function = getattr(reference if plain else capsroute, entry)
    wanted = evaluate(getattr(capsroute, entry), tensors, case.options(), grad)
    found = evaluate(function, spread(tensors), case.options(), grad.unflatten(1, AXES))
    for name, tensor in wanted.items():
        torch.testing.assert_close(found[name].reshape(tensor.shape), tensor, rtol=1e-11, atol=1e-12)
    assert found["output"].shape == (3, *AXES, 3)


def test_details(backend: str) -> None:
    tensors = CASES[0].tensors()
    wanted = capsroute.dynamic_routing(**tensors, details=DETAILS)
    found = capsroute.dynamic_routing(**spread(tensors), details=DETAILS)
    for name, tensor in wanted._asdict().items():
        torch.testing.assert_close(getattr(found, name).reshape(tensor.shape), tensor)
    assert found.coupling is not None
    assert found.coupling.shape == (3, 5, *AXES)


def test_joint_softmax_is_over_all_axes(backend: str) -> None:
    result = capsroute.dynamic_routing(**spread(Case((3, 5, 4, 12, 3)).tensors()), details=["coupling"])
    assert result.coupling is not None
    torch.testing.assert_close(result.coupling.sum((2, 3, 4)), torch.ones(3, 5, dtype=torch.float64))


def test_one_axis_more_is_no_other_problem(backend: str) -> None:
    """An axis of size 1 changes nothing but the shape."""
    tensors = Case((3, 5, 4, 6, 3)).tensors()
    wide = {**tensors, "weight": tensors["weight"].unsqueeze(2)}
    assert torch.equal(capsroute.dynamic_routing(**wide).squeeze(2), capsroute.dynamic_routing(**tensors))


def test_votes_of_any_strides(backend: str) -> None:
    """Positions behind the components, as a convolution leaves them."""
    votes = torch.randn(2, 5, 3, 4, 3, 2, dtype=torch.float64)  # [B, I, J, D, H, W]
    moved = votes.movedim(3, -1)
    assert torch.equal(capsroute.route_votes(moved), capsroute.route_votes(moved.contiguous()))


@pytest.mark.parametrize(
    ("name", "shape"),
    [("bias", (12, 3)), ("bias", (3, 2, 2, 3)), ("logits", (5, 12)), ("logits", (3, 2, 2)), ("output_mask", (3, 12))],
)
def test_axes_that_do_not_fit(name: str, shape: tuple[int, ...]) -> None:
    tensors = spread(Case((3, 5, 4, 12, 3)).tensors())
    value = torch.zeros(shape, dtype=torch.bool if name == "output_mask" else torch.float64)
    with pytest.raises(ValueError, match=rf"^{name} .*\(2, 3, 2\)"):
        capsroute.dynamic_routing(**tensors, **{name: value})


def test_weight_of_another_size_is_refused_with_its_axes() -> None:
    tensors = spread(Case((3, 5, 4, 12, 3)).tensors())
    with pytest.raises(ValueError, match=r"^weight"):
        capsroute.dynamic_routing(tensors["x"][..., :3], tensors["weight"])
