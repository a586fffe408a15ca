"""What all tests share: the kernels that can run here, and torch's settings put back after each test."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

# Before torch is imported: workers side by side, and what they start, have one thread each, or threads of one wait for
# a core that those of another keep busy.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

from . import lanes
from .kernels import all_kernels, asked_for, cuda_backends, in_force, usable_cpu_isas

# What a test that asks for the fixture runs once with each of.
_PARAMETERS = {
    "cpu_isa": usable_cpu_isas,
    "cuda_backend": cuda_backends,
    "backend": lambda: [*asked_for(["cpu"]), *cuda_backends()],
}


def pytest_report_header() -> str:
    """Say what the tests of the kernels run on: what was built and what this machine has."""
    return f"capsroute: lane {lanes.LANE}; tests of the kernels run on {', '.join(all_kernels())}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what only the lane ``all`` runs."""
    if lanes.EVERYTHING:
        return
    config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("nightly")])
    items[:] = [item for item in items if not item.get_closest_marker("nightly")]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test once per instruction set, backend or both, by the fixture that it asks for."""
    for fixture, names in _PARAMETERS.items():
        if fixture in metafunc.fixturenames:
            marks = [pytest.mark.kernels] if fixture != "cpu_isa" else []
            metafunc.parametrize(fixture, [pytest.param(name, marks=marks) for name in names()], indirect=True)


@pytest.fixture
def cpu_isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """An instruction set of the CPU kernels, in force during the test."""
    yield from _in_force(request.param)


@pytest.fixture
def cuda_backend(request: pytest.FixtureRequest) -> Iterator[str]:
    """ "cuda_emulated" or "cuda", forced during the test; new tensors are on its device."""
    yield from _in_force(request.param)


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    """A backend with kernels, forced during the test; new tensors are on its device."""
    yield from _in_force(request.param)


def _in_force(name: str) -> Iterator[str]:
    with in_force(name):
        yield name


@pytest.fixture(autouse=True, scope="session")
def _own_compiler_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Graphs compiled by an earlier state of the ops, whose shapes may have been others, must not be found."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path_factory.mktemp("inductor")))
        yield


@pytest.fixture(autouse=True)
def _torch_settings() -> Iterator[None]:
    """Restore the thread count and the deterministic mode that a test may have changed."""
    threads = torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


@pytest.fixture
def ordinary_interrupt() -> Iterator[None]:
    """Python's own handler, which a process that was started in the background with SIGINT ignored does not have."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
