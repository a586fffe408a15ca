"""What a process holds, sampled while it works, and whether it grows."""

from __future__ import annotations

import ctypes
import gc
import os
import statistics
import sys
from array import array
from collections.abc import Callable, Sequence

# Each counts something of this process, and grows by no more than this per step where nothing leaks. The heap is that
# of C: tensors, the workspace and whatever a library takes by malloc; blocks are those of Python's own allocator.
LIMITS = {
    "heap_bytes": 8.0,
    "python_blocks": 0.02,
    "python_objects": 0.005,
    "descriptors": 0.0005,
    "threads": 0.0005,
    "resident_bytes": 200.0,
}
# Python's free lists fill slowly, and pages come and go with the edges of the heap: a short run says nothing of these.
_ONLY_LONG = ("python_blocks", "resident_bytes")
_LONG = 5000
_SAMPLES = 32
_WARM_UP = 400  # steps before the first sample
_SETTLED = 4  # the first fourth of the samples sees caches fill
_APART = 4  # what leaks in every tenth step shows in the short runs too


class _Heap(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "k")
    ]


def heap_bytes() -> int:
    """Bytes that malloc has given out, by glibc's own books."""
    ask = ctypes.CDLL(None).mallinfo2
    ask.restype = _Heap
    heap = ask()
    return int(heap.uordblks + heap.hblkhd)


def _resident_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def sample() -> dict[str, int]:
    """Everything in :data:`LIMITS`, now."""
    gc.collect()
    return {
        "heap_bytes": heap_bytes(),
        "python_blocks": sys.getallocatedblocks(),
        "python_objects": len(gc.get_objects()),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": len(os.listdir("/proc/self/task")),
        "resident_bytes": _resident_bytes(),
    }


def watch(step: Callable[[int], None], steps: int) -> dict[str, list[int]]:
    """Takes steps and samples at even distances, by name; ``step`` holds the number of the step of each."""
    at = sorted({round(k * steps / _SAMPLES) for k in range(_SAMPLES + 1)})
    found = {name: array("q", [0] * len(at)) for name in LIMITS}  # nothing of this grows meanwhile
    for number in range(min(_WARM_UP, steps)):
        step(number)
    gc.freeze()  # what is there already need not be counted each time
    done = 0
    for place, target in enumerate(at):
        while done < target:
            step(done)
            done += 1
        for name, value in sample().items():
            found[name][place] = value
    gc.unfreeze()
    return {"step": at, **{name: list(values) for name, values in found.items()}}


def growth(at: Sequence[int], values: Sequence[float]) -> float:
    """Per step: the median of the slopes between samples that are some apart, the first ones left out.

    A leak shows between all of them, what a cache takes once only between a few, wherever in the run that is.
    """
    points = list(zip(at, values, strict=True))[len(at) // _SETTLED :]
    return statistics.median(
        (b - a) / (q - p) for (p, a), (q, b) in zip(points[:-_APART], points[_APART:], strict=True)
    )


def grown(found: dict[str, list[int]]) -> dict[str, float]:
    """What grows by more than its limit, with how much per step."""
    at = found["step"]
    slopes = {name: growth(at, found[name]) for name in LIMITS if at[-1] >= _LONG or name not in _ONLY_LONG}
    return {name: slope for name, slope in slopes.items() if slope > LIMITS[name]}
