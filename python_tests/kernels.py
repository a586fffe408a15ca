"""The kernels that can be tested here: what was built, on what this machine has.

``CAPSROUTE_KERNELS``, names between commas, leaves out all others: ``avx512-wave``, ``cuda`` (real GPUs),
``cuda_emulated``, or any other beginning of a name. Tests of kernels have the marker ``kernels``.
"""

from __future__ import annotations

import functools
import inspect
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import torch

from .lanes import EVERYTHING

FUSIONS = ("grid", "cluster", "launches")
# B·I·J·D of the largest case that runs on the emulated device, a second or two forward and backward. Larger ones run on
# the CPU kernels and on a GPU; what they show beside smaller ones, test_emulated.py asks for by name.
EMULATED_VOTES = 150_000
REFUSAL = "cannot run this problem"


def usable_cpu_isas() -> list[str]:
    """The instruction sets that were built and that this CPU has."""
    from capsroute import testing

    return testing.usable_cpu_isas()


def cpu_kernels() -> list[str]:
    """The instruction sets, each making its votes in every pass, and the widest and plainest with votes kept."""
    isas = usable_cpu_isas()
    kept = dict.fromkeys((isas[-1], isas[0]))
    return asked_for(
        [*(f"{isa}-made" for isa in isas), *(f"{isa}-{votes}" for isa in kept for votes in ("tile", "wave"))]
    )


def cuda_backends() -> list[str]:
    """The backends with the CUDA kernels: emulated where that module was built, real where there is a GPU."""
    import capsroute

    info = capsroute.build_info()
    real = torch.cuda.is_available() and info["cuda_archs"]
    return asked_for([*(["cuda_emulated"] if info["emulation"] else []), *(["cuda"] if real else [])])


def all_kernels() -> list[str]:
    """The CPU kernels, and the CUDA kernels that a call takes by itself."""
    return [*cpu_kernels(), *cuda_backends()]


def cuda_kernels(case: object = None) -> list[str]:
    """The plain CUDA kernels and the fused ones, for a case with one of the fusions, or with all in the night."""
    fusions = FUSIONS if case is None or EVERYTHING else (FUSIONS[zlib.crc32(str(case).encode()) % len(FUSIONS)],)
    return [f"{backend}-{kernel}" for backend in cuda_backends() for kernel in ("plain", *fusions)]


def kernels_of(case: object) -> list[str]:
    """The CPU kernels, and the CUDA kernels by name."""
    return [*cpu_kernels(), *cuda_kernels(case)]


def asked_for(names: list[str]) -> list[str]:
    """Those of some names that ``CAPSROUTE_KERNELS`` leaves."""
    asked = os.environ.get("CAPSROUTE_KERNELS")
    if not asked:
        return names
    return [name for name in names if any(f"{name}-".startswith(f"{one}-") for one in asked.split(","))]


@contextmanager
def in_force(name: str) -> Iterator[None]:
    """Context in which calls take this kernel; for a GPU new tensors are on it.

    Args:
        name: An instruction set, with a way to its votes or without; or a backend, with ``"plain"`` or with the fusion
            of the fused kernels or without.
    """
    from capsroute import testing
    from capsroute.routing.options import BACKENDS

    first, _, second = name.partition("-")
    with ExitStack() as stack:
        if first in BACKENDS:
            stack.enter_context(testing.backend(first))
            if second:
                chosen = ("plain",) if second == "plain" else ("fused", second)
                stack.enter_context(testing.cuda_kernel(*chosen))
        else:
            stack.enter_context(testing.cpu_isa(first))
            stack.enter_context(testing.cpu_votes(second or "automatic"))
        if first == "cuda":
            torch.set_default_device("cuda")
            # torch 2.5 cannot say what its default device is once it was set, be it to None.
            stack.callback(torch.set_default_device, None)
        yield


def on_each(names: Callable[[Any], list[str]]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make of a test with an argument ``kernel`` one that runs on each of these kernels in turn.

    What is expected is then found once (see :mod:`.routing.compare`), and a failure names all kernels that fail. The
    emulated device is left out where a ``case`` is too large for it, and a kernel where it refuses the problem.
    """

    def of(test: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(test)
        def run(*arguments: Any, **keywords: Any) -> None:
            ran, failures = [], {}
            case = keywords.get("case")
            for name in names(case):
                if _too_large(name, case):
                    continue
                with in_force(name):
                    try:
                        test(*arguments, kernel=name, **keywords)
                    except pytest.skip.Exception:
                        continue
                    except Exception as error:
                        if REFUSAL in str(error):
                            continue
                        failures[name] = error
                    ran.append(name)
            if failures:
                told = "; ".join(f"{name}: {error}" for name, error in failures.items())
                raise AssertionError(f"{len(failures)} of {len(ran)} kernels fail: {told}") from next(
                    iter(failures.values())
                )
            if not ran:
                pytest.skip("no kernel that is asked for takes this")

        parameters = inspect.signature(test).parameters.values()
        run = pytest.mark.kernels(run)
        run.__signature__ = inspect.Signature([p for p in parameters if p.name != "kernel"])  # type: ignore[attr-defined]
        return run

    return of


def _too_large(name: str, case: object) -> bool:
    votes = getattr(case, "votes", None)
    return name.startswith("cuda_emulated") and votes is not None and votes() > EMULATED_VOTES


each_kernel = on_each(lambda case: all_kernels())
each_kernel_by_name = on_each(kernels_of)
each_cpu_kernel = on_each(lambda case: cpu_kernels())
each_cuda_kernel = on_each(cuda_kernels)


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
