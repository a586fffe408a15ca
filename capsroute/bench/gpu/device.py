"""What the benchmark asks of the machine that it measures."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from . import environment

Work = Callable[[], Sequence[Tensor]]

_FLUSHED = 4  # times the size of the second-level cache that a flush writes,
_LEAST_FLUSHED = 256 * 2**20  # and at least so many bytes: their writing takes long enough to hide a launch behind


class Device:
    """The current CUDA device: a queue of work with marks in it, its memory, and what it says about itself.

    Tests have a CPU in its place.

    Attributes:
        place: Where tensors lie.
        backend: Name for :func:`capsroute.testing.backend`.

    Raises:
        RuntimeError: There is none, or it does not work.
    """

    backend = "cuda"

    def __init__(self) -> None:
        self.place = torch.device("cuda", torch.cuda.current_device())
        properties = torch.cuda.get_device_properties(self.place)
        cache = int(getattr(properties, "L2_cache_size", 0))
        self._other = torch.empty(max(_FLUSHED * cache, _LEAST_FLUSHED), dtype=torch.int8, device=self.place)

    def describe(self) -> dict[str, Any]:
        """Lasting facts; ``"name"`` is among them."""
        return environment.facts(self.place)

    def state(self) -> dict[str, Any]:
        """Facts of the moment: clocks, temperature, power."""
        return environment.state(self.place)

    def mark(self) -> torch.cuda.Event:
        """Put a mark into the queue."""
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def seconds(self, start: torch.cuda.Event, end: torch.cuda.Event) -> float:
        """Time between two marks, after :meth:`synchronize`."""
        return start.elapsed_time(end) * 1e-3

    def flush(self) -> None:
        """Put a write into the queue that leaves nothing else in the caches."""
        self._other.zero_()

    def synchronize(self) -> None:
        """Wait until the queue is empty; an error of the work in it comes up here."""
        torch.cuda.synchronize(self.place)

    @contextlib.contextmanager
    def captured(self, work: Work) -> Iterator[Callable[[], None]]:
        """Context with a function that repeats ``work`` without its Python; a RuntimeError where that cannot be.

        What the graph computes stays in its own memory until the end of the context.
        """
        outside = torch.cuda.current_stream(self.place)
        stream = torch.cuda.Stream(self.place)  # a capture may not begin on the default stream, nor with a first call
        stream.wait_stream(outside)
        with torch.cuda.stream(stream):
            work()
        outside.wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=stream):
                results = work()
        finally:
            torch.cuda.set_stream(outside)  # a capture that fails leaves its own stream current
        try:
            yield graph.replay
        finally:
            self.synchronize()
            del results
            graph.reset()

    def free_bytes(self) -> int:
        """Memory that tensors can still get. What torch holds and no tensor uses counts as free."""
        held = torch.cuda.memory_reserved(self.place) - torch.cuda.memory_allocated(self.place)
        return torch.cuda.mem_get_info(self.place)[0] + held

    def extra_bytes(self, work: Work) -> int:
        """Peak of the memory that ``work`` takes beyond what it returns, by the allocator's own count.

        The results are taken off the highest count, so memory that was given back before they existed counts less.
        """
        self.synchronize()
        torch.cuda.reset_peak_memory_stats(self.place)
        before = torch.cuda.memory_allocated(self.place)
        results = work()
        self.synchronize()
        peak = torch.cuda.max_memory_allocated(self.place) - before
        returned = {result.untyped_storage().data_ptr(): result.untyped_storage().nbytes() for result in results}
        return max(0, peak - sum(returned.values()))

    def release(self) -> None:
        """Give back memory that no tensor uses."""
        torch.cuda.empty_cache()
