"""Convolutional capsules as plainly as they can be said: loops over positions, and the reference routing."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from capsroute import reference

Reached = Iterator[tuple[Sequence[int], Sequence[int]]]  # position of the input, place of the kernel


def vote(layer, place: Sequence[int], kind: int, pose: Tensor) -> Tensor:
    """What the pose ``[B, d]`` of a type says through one place of the kernel: ``[B, J, D]``."""
    taps, flat = 1, 0
    for size, at in zip(layer.kernel_size, place, strict=True):
        taps, flat = taps * size, flat * size + at
    types = 1 if layer.share_types else layer.in_capsules
    kind = 0 if layer.share_types else kind
    if layer.window == "joined":
        matrix = layer.weight[kind][..., flat * layer.in_size : (flat + 1) * layer.in_size]
    else:
        matrix = layer.weight[flat * types + kind]
    return torch.einsum("jkd,bd->bjk", matrix, pose)


def votes_at(layer, poses: Tensor, reached: Reached) -> Tensor:
    """Votes ``[B, I, J, D]`` for one output position.

    Positions outside the poses have a vote of 0.
    """
    space, origin = poses.shape[3:], [0] * (poses.dim() - 3)
    votes: dict[tuple[int, ...], Tensor] = {}
    for position, place in reached:
        inside = all(0 <= at < size for at, size in zip(position, space, strict=True))
        for kind in range(layer.in_capsules):
            pose = poses[(slice(None), kind, slice(None), *(position if inside else origin))]
            pose = pose if inside else torch.zeros_like(pose)
            key = (kind,) if layer.window == "joined" else (*place, kind)
            said = vote(layer, place, kind, pose)
            votes[key] = votes[key] + said if key in votes else said
    return torch.stack(list(votes.values()), dim=1)


def oracle(layer, poses: Tensor, padding: Sequence[int], positions: Sequence[int]) -> Tensor:
    """The output of a layer; ``padding`` are the positions at the begin of each axis, of 0 or cut off if transposed."""
    reached = _transposed if "Transpose" in type(layer).__name__ else _convolved
    outputs = [
        reference.route_votes(
            votes_at(layer, poses, reached(layer, output, padding)), layer.bias, **layer.options.keywords()
        )
        for output in itertools.product(*map(range, positions))
    ]
    return torch.stack(outputs, dim=-1).unflatten(-1, tuple(positions))


def _convolved(layer, output: Sequence[int], before: Sequence[int]) -> Reached:
    for place in itertools.product(*map(range, layer.kernel_size)):
        axes = zip(output, place, layer.stride, layer.dilation, before, strict=True)
        yield [o * s + q * gap - b for o, q, s, gap, b in axes], place


def _transposed(layer, output: Sequence[int], padding: Sequence[int]) -> Reached:
    """A place of the kernel that meets no input position takes no part."""
    for place in itertools.product(*map(range, layer.kernel_size)):
        shifted = [o + p - q for o, p, q in zip(output, padding, place, strict=True)]
        if all(at % s == 0 for at, s in zip(shifted, layer.stride, strict=True)):
            yield [at // s for at, s in zip(shifted, layer.stride, strict=True)], place


def assert_same(layer, poses: Tensor, actual: Tensor, expected: Tensor) -> None:
    """Values and all gradients in float64."""
    assert actual.shape == expected.shape
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-13 * float(expected.detach().abs().max()))
    direction = torch.randn(expected.shape, dtype=expected.dtype, generator=torch.Generator().manual_seed(1))
    inputs = [poses, *layer.parameters()]
    ours = torch.autograd.grad(actual, inputs, direction)
    theirs = torch.autograd.grad(expected, inputs, direction)
    for one, other in zip(ours, theirs, strict=True):
        assert other.abs().max() > 0
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12 * float(other.abs().max()))


def prepared(layer):
    """In float64, with parameters behind whose zeros nothing can hide."""
    layer = layer.double()
    generator = torch.Generator().manual_seed(0)
    for parameter in layer.parameters():
        with torch.no_grad():
            parameter.copy_(0.5 * torch.randn(parameter.shape, dtype=torch.float64, generator=generator))
    return layer


def random_poses(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(*shape, dtype=torch.float64, generator=generator).requires_grad_()
