"""Which kernel a drawn call takes, and how it is put in force."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from hypothesis import strategies as st

from capsroute import testing
from capsroute.routing.options import CUDA_FUSIONS, CUDA_KERNELS
from python_tests.kernels import cuda_backends, usable_cpu_isas

WAYS = ("automatic", "made", "tile", "wave")
ARCHITECTURES = (75, 80, 86, 89, 90, 100, 120)
ORDERS = ("forward", "reverse", "shuffled")


@dataclass(frozen=True)
class CpuKernel:
    """An instruction set, a way to the votes, and threads."""

    isa: str
    votes: str
    threads: int

    backend = "cpu"

    def __str__(self) -> str:
        return f"cpu {self.isa}-{self.votes}"

    @contextmanager
    def in_force(self) -> Iterator[None]:
        before = torch.get_num_threads()
        with testing.backend("cpu"), testing.cpu_isa(self.isa), testing.cpu_votes(self.votes):
            torch.set_num_threads(self.threads)
            try:
                yield
            finally:
                torch.set_num_threads(before)


@dataclass(frozen=True)
class EmulatedKernel:
    """A kernel with its fusion on a device, and the order of its threads."""

    kernel: str
    fusion: str
    architecture: int
    multiprocessors: int
    order: str
    seed: int

    backend = "cuda_emulated"

    def __str__(self) -> str:
        return f"{self.backend} {self.kernel}-{self.fusion}"

    @contextmanager
    def in_force(self) -> Iterator[None]:
        device = {name: getattr(self, name) for name in ("architecture", "multiprocessors", "order", "seed")}
        with (
            testing.backend(self.backend),
            testing.cuda_kernel(self.kernel, self.fusion),
            testing.emulated_device(**device),
        ):
            yield


Kernel = CpuKernel | EmulatedKernel


def kernels() -> st.SearchStrategy[Kernel]:
    """Any kernel that runs here; two in three on the CPU."""
    cpu = st.builds(CpuKernel, st.sampled_from(usable_cpu_isas()), st.sampled_from(WAYS), st.integers(1, 3))
    if "cuda_emulated" not in cuda_backends():
        return cpu
    emulated = st.builds(
        EmulatedKernel,
        st.sampled_from(("automatic", *CUDA_KERNELS)),
        st.sampled_from(CUDA_FUSIONS),
        st.sampled_from(ARCHITECTURES),
        st.integers(1, 4),
        st.sampled_from(ORDERS),
        st.integers(0, 3),
    )
    return st.one_of(cpu, cpu, emulated)
