"""For tests and comparisons: force a backend or an instruction set."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from . import _native, backends


def backend(name: str) -> AbstractContextManager[None]:
    """Context in which calls of this thread take backend ``name``.

    The backward of a call takes the backend of its forward, from any thread.

    Args:
        name: ``"reference"`` (plain PyTorch), ``"cpu"``, ``"cuda"`` or ``"cuda_emulated"``.

    Raises:
        TypeError: ``name`` is no string.
        ValueError: ``name`` is unknown. A call in the context raises it for a device without such a kernel.
    """
    return backends.force(name)


def usable_cpu_isas() -> list[str]:
    """The instruction sets that are built and that this CPU runs, from the plainest to the widest."""
    return _native.usable_cpu_isas()


@contextmanager
def cpu_isa(name: str) -> Iterator[None]:
    """Context in which the CPU kernels of all threads use instruction set ``name``.

    Raises:
        ValueError: ``name`` is not built or this CPU does not run it.
    """
    before = _native.cpu_isa()
    _native.choose_cpu_isa(name)
    try:
        yield
    finally:
        _native.choose_cpu_isa(before)
