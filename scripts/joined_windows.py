"""Convolutional capsules with joined windows beside the same by hand: votes by torch's convolution, then route_votes.

Forward and backward in turns, by CPU time, which other programs on the machine disturb least; memory is the peak of the
tensors that live.

    python scripts/joined_windows.py --rounds 5
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

import capsroute
from capsroute.nn import ConvCapsules2d, ConvCapsules3d


class Shape(NamedTuple):
    """C types of d to J of D, a kernel of that size along each axis, one sample."""

    types: int
    size: int
    outputs: int
    output_size: int
    kernel: int
    space: tuple[int, ...]
    share: bool = True


SHAPES = (
    Shape(8, 16, 4, 16, 5, (128, 128)),
    Shape(8, 16, 8, 16, 5, (128, 128)),
    Shape(16, 8, 8, 8, 5, (16, 16, 16)),
    Shape(16, 8, 16, 8, 5, (16, 16, 16)),
    Shape(8, 16, 4, 16, 5, (128, 128), share=False),
    Shape(16, 8, 8, 8, 5, (16, 16, 16), share=False),
)


class Peak(TorchDispatchMode):
    """The bytes of all tensors that ops return while they live, and the most at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.live: dict[int, int] = {}
        self.most = 0

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        def seen(value: object) -> None:
            if isinstance(value, Tensor):
                storage = value.untyped_storage()
                if storage._cdata not in self.live:
                    self.live[storage._cdata] = storage.nbytes()
                    self.most = max(self.most, sum(self.live.values()))
                    weakref.finalize(storage, self.live.pop, storage._cdata, None)

        result = op(*args, **(kwargs or {}))
        tree_map(seen, result)
        return result


def contenders(shape: Shape) -> tuple[Callable[[], Tensor], Callable[[], Tensor]]:
    """Ours and what is written by hand."""
    axes = len(shape.space)
    poses = torch.randn(1, shape.types, shape.size, *shape.space, requires_grad=True)
    layer_class, convolve = {2: (ConvCapsules2d, F.conv2d), 3: (ConvCapsules3d, F.conv3d)}[axes]
    layer = layer_class(*shape[:5], padding="same", window="joined", share_types=shape.share)
    rows = (1 if shape.share else shape.types) * shape.outputs * shape.output_size
    weight = (0.02 * torch.randn(rows, shape.size, *[shape.kernel] * axes)).requires_grad_()

    def by_hand() -> Tensor:
        maps, groups = (poses.flatten(0, 1), 1) if shape.share else (poses.flatten(1, 2), shape.types)
        votes = convolve(maps, weight, padding=shape.kernel // 2, groups=groups)
        votes = votes.view(shape.types, shape.outputs, shape.output_size, math.prod(shape.space))
        return capsroute.route_votes(votes.permute(3, 0, 1, 2))

    return lambda: layer(poses), by_hand


def seconds(work: Callable[[], Tensor]) -> float:
    """CPU time of forward and backward."""
    begun = time.process_time()
    work().sum().backward()
    return time.process_time() - begun


def peak(work: Callable[[], Tensor]) -> float:
    """MiB of forward and backward."""
    with Peak() as mode:
        work().sum().backward()
    return mode.most / 2**20


def main() -> None:
    """Print a line for each shape: ours, by hand, ours over by hand."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    for shape in SHAPES:
        works = contenders(shape)
        turns = [[seconds(work) for work in works] for _ in range(rounds + 1)][1:]  # the first warms up
        ours, hand = (1e3 * statistics.median(times) for times in zip(*turns, strict=True))
        memory, by_hand = map(peak, works)
        print(
            f"{shape}: {ours:.0f} ms, {hand:.0f} by hand: {ours / hand:.2f}; "
            f"{memory:.0f} MiB, {by_hand:.0f} by hand: {memory / by_hand:.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
