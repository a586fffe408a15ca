"""What this machine can do at most: multiply-adds and memory traffic, measured in the same run."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .timing import interleaved

_SIZE = 1536  # of the matrices: large enough to run at the peak, small enough to take tens of milliseconds
_BYTES = 256 * 2**20  # copied at once: beyond every cache


@dataclass(frozen=True)
class Ceilings:
    """Limits at the thread count of the run.

    Attributes:
        flops: Operations per second of a large float32 (float64 for float64) matrix product by ``torch.mm``, two per
            multiply-add. It stands for the peak of the multiply-add units, which it comes close to but does not reach.
        bandwidth: Bytes per second that a copy of a large tensor reads and writes, both counted.
    """

    flops: float
    bandwidth: float


def measure(dtype: torch.dtype, rounds: int = 7) -> Ceilings:
    """Measure both limits on the CPU. Half types are held to the limit of float32, in which they are summed."""
    compute = torch.float64 if dtype == torch.float64 else torch.float32
    a, b, c = (torch.ones(_SIZE, _SIZE, dtype=compute) for _ in range(3))
    source = torch.ones(_BYTES // 4)
    target = torch.empty_like(source)
    times = interleaved({"product": lambda: torch.mm(a, b, out=c), "copy": lambda: target.copy_(source)}, rounds=rounds)
    # The fastest quarter: a limit is what the machine can do when it is not disturbed.
    return Ceilings(2 * _SIZE**3 / times["product"].lower, 2 * _BYTES / times["copy"].lower)
