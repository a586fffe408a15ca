"""Extra memory of a call, from the allocations that torch's profiler sees."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

MIB = 2**20


class Allocation(NamedTuple):
    """One event: ``size`` bytes taken (positive) or given back (negative) at ``address``."""

    address: int
    size: int


def extra_bytes(work: Callable[[], Sequence[Tensor]]) -> int:
    """Peak of the memory that ``work`` takes beyond what it returns.

    Everything allocated from the call on counts as long as it lives, what the backward saves included; the storages
    of the returned tensors (outputs and gradients) do not. Only memory of the CPU is looked at.

    Args:
        work: The call; it returns all that it computes for its caller.

    Returns:
        Bytes at the highest point.
    """
    trace = profile(activities=[ProfilerActivity.CPU], profile_memory=True)
    with _no_log_lines():
        trace.start()
    try:
        results = work()
    finally:
        with _no_log_lines():
            trace.stop()
    kept = {tensor.untyped_storage().data_ptr() for tensor in results}
    return peak(_allocations(trace), kept)


def peak(events: Iterable[Allocation], kept: set[int]) -> int:
    """Highest sum of live bytes, without the blocks that still live at the end at an address in ``kept``.

    Blocks given back that were not taken among these events are none of the caller's doing and are passed over.
    """
    events = list(events)
    last_taken = {event.address: k for k, event in enumerate(events) if event.size > 0}
    live: dict[int, int] = {}
    now = highest = 0
    for k, event in enumerate(events):
        if event.size > 0:
            returned = event.address in kept and last_taken[event.address] == k
            live[event.address] = 0 if returned else event.size
            now += live[event.address]
            highest = max(highest, now)
        else:
            now -= live.pop(event.address, 0)
    return highest


def _allocations(trace: profile) -> list[Allocation]:
    """The CPU memory events of a profile in their order, read from the trace that it exports."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        trace.export_chrome_trace(str(path))
        records = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    cpu = 0  # torch's DeviceType
    events = [r for r in records if r["name"] == "[memory]" and r["args"]["Device Type"] == cpu]
    events.sort(key=lambda r: r["ts"])
    return [Allocation(r["args"]["Addr"], r["args"]["Bytes"]) for r in events]


@contextlib.contextmanager
def _no_log_lines() -> Iterator[None]:
    """Keep the profiler's own notes on starting and stopping off the terminal; they are written past Python."""
    descriptor = 2
    saved = os.dup(descriptor)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), descriptor)
    try:
        yield
    finally:
        os.dup2(saved, descriptor)
        os.close(saved)


def bytes_of(*tensors: Tensor) -> int:
    """Bytes of the elements of ``tensors``."""
    return sum(t.numel() * t.element_size() for t in tensors)


def available_bytes() -> int:
    """Memory that the machine can still give, in bytes; a huge number where it does not tell."""
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return torch.iinfo(torch.int64).max
