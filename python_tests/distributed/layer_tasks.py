"""What the tests of the layer let each rank do."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from capsroute import distributed, testing
from capsroute.nn import CapsuleLayer

from .tasks import Group


def built(rank: int, group: Group, seed: int, sizes: tuple[int, ...], options: dict[str, Any]) -> dict[str, Any]:
    """The state of a layer made with a seed, the inputs it holds, what it prints, and the next random number."""
    torch.manual_seed(seed)
    layer = distributed.ShardedCapsuleLayer(*sizes, group=group, **options)
    return {
        "state": layer.state_dict(),
        "held": (layer.held.start, layer.held.stop),
        "text": repr(layer),
        "next": torch.rand(()),
    }


class Network(nn.Module):
    """Something before a capsule layer that every rank computes, the layer, and lengths after it."""

    def __init__(self, group: Group, sharded: bool, options: dict[str, Any]) -> None:
        super().__init__()
        self.encoder = nn.Linear(6, 10 * 4)
        self.capsules: nn.Module
        self.split = (lambda x: distributed.split_inputs(x, group)) if sharded else (lambda x: x)
        if sharded:
            self.capsules = distributed.ShardedCapsuleLayer(10, 4, 3, 5, bias=True, group=group, **options)
        else:
            self.capsules = CapsuleLayer(10, 4, 3, 5, bias=True, **options)

    def forward(self, images: Tensor) -> Tensor:
        """``[B, 6]`` to lengths ``[B, 3]``."""
        capsules: Tensor = self.capsules(self.split(self.encoder(images).unflatten(1, (10, 4)).tanh()))
        return capsules.norm(dim=-1)


def trained(rank: int, group: Group, sharded: bool, options: dict[str, Any]) -> dict[str, Any]:
    """Losses of some steps of SGD, and the state at the end."""
    torch.manual_seed(0)
    network = Network(group, sharded, options).double()
    images, target = torch.randn(7, 6, dtype=torch.float64), torch.rand(7, 3, dtype=torch.float64)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    losses = []
    for _ in range(5):
        optimizer.zero_grad()
        loss = (network(images) - target).square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    return {"losses": losses, "state": network.state_dict()}


def split(rank: int, group: Group, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """This rank's slice of a tensor, and the gradient of the whole of the sum over the ranks of rank + 1 times it."""
    x = torch.arange(torch.Size(shape).numel(), dtype=torch.float64).reshape(shape).requires_grad_()
    part = distributed.split_inputs(x, group)
    (gradient,) = torch.autograd.grad(part, x, torch.full_like(part, rank + 1.0))
    return part.detach(), gradient


def compiled(rank: int, group: Group, options: dict[str, Any]) -> dict[str, Any]:
    """Lengths and gradients of a network, plain and compiled; why the compiled one is in parts; the warnings."""
    from torch._dynamo.utils import counters

    torch.manual_seed(0)
    network = Network(group, True, options)
    images = torch.randn(3, 6)
    found: dict[str, Any] = {}
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        counters.clear()
        for name, call in (("plain", network), ("compiled", torch.compile(network, backend="eager"))):
            lengths = call(images)
            gradients = torch.autograd.grad(lengths.square().sum(), list(network.parameters()))
            found[name] = [lengths.detach(), *gradients]
    return {**found, "breaks": list(counters["graph_break"]), "warnings": [str(each.message) for each in warned]}


def copied(rank: int, group: Group) -> tuple[bool, bool, bool]:
    """Of a deep copy of a network: whether its parameters are its own, they are equal, and it still routes."""
    network = Network(group, True, {})
    twin = copy.deepcopy(network)
    pairs = list(zip(network.parameters(), twin.parameters(), strict=True))
    images = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
    return (
        all(one is not other for one, other in pairs),
        all(torch.equal(one, other) for one, other in pairs),
        torch.equal(network(images), twin(images)),
    )


def slice_of_tangent(rank: int, group: Group) -> bool:
    """Whether a rank's slice has its slice of the tangent."""
    x = torch.arange(24.0).reshape(1, 6, 4)
    with forward_ad.dual_level():
        part = forward_ad.unpack_dual(distributed.split_inputs(forward_ad.make_dual(x, x.sin()), group))
        return torch.equal(part.tangent, part.primal.sin())


def written_to(rank: int, group: Group) -> bool:
    """Whether slices of batches of one and two samples are contiguous and memory of their own."""
    wholes = [torch.ones(batch, 8, 3) for batch in (1, 2)]
    parts = [distributed.split_inputs(x, group).zero_() for x in wholes]
    return all(part.is_contiguous() for part in parts) and all(bool(x.all()) for x in wholes)


def _layer(group: Group, inputs: int = 8, **options: Any) -> distributed.ShardedCapsuleLayer:
    return distributed.ShardedCapsuleLayer(inputs, 4, 3, 5, group=group, **options)


def _routed(group: Group, x: Tensor | None = None) -> Tensor:
    return distributed.dynamic_routing(torch.ones(1, 3, 4) if x is None else x, torch.ones(3, 5, 6, 4), group=group)


def _own_logits(rank: int, group: Group, given_on: set[int]) -> None:
    layer = _layer(group, 9, learnable_logits=True)
    layer(torch.ones(1, 3, 4), logits=torch.ones(3, 3) if rank in given_on else None)


def _not_in_the_group(rank: int, group: Group) -> None:
    others = torch.distributed.new_group([0])
    if rank > 0:
        _routed(others)


def _by_the_reference(rank: int, group: Group) -> None:
    with testing.backend("reference"):
        _routed(group)


def _second_derivative(rank: int, group: Group) -> None:
    x = torch.ones(1, 3, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(_routed(group, x).sum(), x, create_graph=True)
    gradient.sum().backward()  # type: ignore[no-untyped-call]


def _tangent(rank: int, group: Group) -> None:
    x = torch.ones(1, 3, 4)
    with forward_ad.dual_level():
        _routed(group, forward_ad.make_dual(x, x) if rank == 1 else x)


def _transformed(rank: int, group: Group) -> None:
    torch.func.grad(lambda x: _routed(group, x).sum())(torch.ones(1, 3, 4))


def _tangent_of_the_gradient(rank: int, group: Group) -> None:
    x = torch.ones(1, 3, 4, requires_grad=True)
    output = _routed(group, x)
    with forward_ad.dual_level():
        torch.autograd.grad(output, x, forward_ad.make_dual(torch.ones_like(output), torch.ones_like(output)))


_BAD: dict[str, Callable[[int, Group], object]] = {
    "more ranks than inputs": lambda rank, group: _layer(group, 2),
    "an unknown option": lambda rank, group: _layer(group, itertions=2),
    "logits of its own": lambda rank, group: _own_logits(rank, group, {0, 1, 2}),
    "logits of its own on one rank": lambda rank, group: _own_logits(rank, group, {1}),
    "a slice in a transform": lambda rank, group: torch.func.grad(lambda x: distributed.split_inputs(x, group).sum())(
        torch.ones(1, 3)
    ),
    "one axis": lambda rank, group: distributed.split_inputs(torch.ones(8), group),
    "not in the group": _not_in_the_group,
    "the reference": _by_the_reference,
    "a second derivative": _second_derivative,
    "a tangent on one rank": _tangent,
    "a tangent of the gradient": _tangent_of_the_gradient,
    "a transform": _transformed,
}


def error_of(rank: int, group: Group, what: str) -> str:
    """The text of an error."""
    try:
        _BAD[what](rank, group)
    except (TypeError, ValueError, RuntimeError) as error:
        return str(error)
    return ""


def in_bfloat16(rank: int, group: Group) -> tuple[torch.dtype, torch.dtype, bool]:
    """Dtypes of the output and of the gradient of x under autocast, and whether several output axes come back."""
    x, weight = torch.randn(2, 3, 4, requires_grad=True), torch.randn(3, 5, 2, 6, 4)
    with torch.autocast("cpu", torch.bfloat16):
        output = distributed.dynamic_routing(x, weight, group=group)
    (gradient,) = torch.autograd.grad(output.sum(), x)
    return output.dtype, gradient.dtype, output.shape == (2, 5, 2, 6)
