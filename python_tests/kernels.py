"""The kernels that can be tested here: what was built, on what this machine has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
import torch


def usable_cpu_isas() -> list[str]:
    """The instruction sets that were built and that this CPU has."""
    from capsroute import testing

    return testing.usable_cpu_isas()


def cpu_kernels() -> list[str]:
    """The instruction sets, each making its votes in every pass, and the widest and plainest with votes kept."""
    isas = usable_cpu_isas()
    kept = dict.fromkeys((isas[-1], isas[0]))
    return [*(f"{isa}-made" for isa in isas), *(f"{isa}-{votes}" for isa in kept for votes in ("tile", "wave"))]


def cuda_backends() -> list[str]:
    """The backends with the CUDA kernels: emulated where that module was built, real where there is a GPU."""
    import capsroute

    info = capsroute.build_info()
    real = torch.cuda.is_available() and info["cuda_archs"]
    return [*(["cuda_emulated"] if info["emulation"] else []), *(["cuda"] if real else [])]


@contextmanager
def in_force(name: str) -> Iterator[None]:
    """Context in which calls take this kernel: an instruction set, with a way to its votes or without, or a backend."""
    from capsroute import testing
    from capsroute.routing.options import BACKENDS

    with ExitStack() as stack:
        if name in BACKENDS:
            stack.enter_context(testing.backend(name))
        else:
            isa, _, votes = name.partition("-")
            stack.enter_context(testing.cpu_isa(isa))
            stack.enter_context(testing.cpu_votes(votes or "automatic"))
        yield


def require(backend: str = "") -> None:
    """At the head of a file: skip all of it, in one line, without this backend (or without any CUDA kernels)."""
    usable = cuda_backends()
    if backend not in (usable if backend else [""]) or not usable:
        pytest.skip(f"needs {_NEEDS[backend]}", allow_module_level=True)


def require_fusion(fusion: str, backend: str) -> None:
    """Within a test: skip it where the device of a CUDA backend cannot fuse passes so; only some have clusters."""
    if fusion == "cluster" and backend == "cuda" and torch.cuda.get_device_capability() < (9, 0):
        pytest.skip("this GPU has no clusters")


_NEEDS = {
    "cuda": "a GPU and a build with CUDA kernels",
    "cuda_emulated": "the emulation (CAPSROUTE_EMULATION=1)",
    "": "the emulation (CAPSROUTE_EMULATION=1), or a GPU and a build with CUDA kernels",
}
