"""What this machine can do at most: multiply-adds and memory traffic, measured in the same run."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from capsroute import _native

from .timing import interleaved

_ROUNDS = 1_000_000  # of the loop of multiply-adds: about 5 ms, beside which the start of threads is nothing
_BYTES = 256 * 2**20  # copied at once: beyond every cache


@dataclass(frozen=True)
class Ceilings:
    """Limits at the thread count of the run.

    Attributes:
        flops: Operations per second of a loop that holds nothing but independent multiply-adds in registers, two per
            multiply-add, in float32 (float64 for float64) and in the instruction set that the kernels use.
        bandwidth: Bytes per second that a copy of a large tensor reads and writes, both counted.
    """

    flops: float
    bandwidth: float

    @property
    def headline(self) -> str:
        """Both in one line, for the head of a table."""
        return (
            f"measured limits: {self.flops / 1e9:.0f} GFLOP/s (multiply-adds), {self.bandwidth / 1e9:.1f} GB/s (copy)"
        )

    def seconds(self, flops: int, traffic: int) -> float:
        """The limit: no less time for so many operations and bytes, done at once."""
        return max(flops / self.flops, traffic / self.bandwidth)


def measure(dtype: torch.dtype, rounds: int = 30) -> Ceilings:
    """Measure both limits on the CPU. Half types are held to the limit of float32, in which they are summed.

    The fastest round counts: a limit is what the machine can do when it is not disturbed.
    """
    threads, double = torch.get_num_threads(), dtype == torch.float64
    source = torch.ones(_BYTES // 4)
    target = torch.empty_like(source)

    def multiply_adds() -> int:
        return _native.cpu_multiply_adds(_ROUNDS, threads, double)

    work = {"multiply-adds": multiply_adds, "copy": lambda: target.copy_(source)}
    times = interleaved(work, rounds=rounds, round_seconds=0)
    return Ceilings(multiply_adds() / times["multiply-adds"].fastest, 2 * _BYTES / times["copy"].fastest)
