"""What all tests share: the instruction sets that the CPU runs, and torch's settings put back after each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch


def _usable_cpu_isas() -> list[str]:
    from capsroute import testing

    return testing.usable_cpu_isas()


def pytest_report_header() -> str:
    """Say which instruction sets the tests with a ``cpu_isa`` fixture run on: those of this machine."""
    return f"capsroute: tests of the CPU kernels run on {', '.join(_usable_cpu_isas())}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test that asks for ``cpu_isa`` once per instruction set that was built and that this CPU has."""
    if "cpu_isa" in metafunc.fixturenames:
        metafunc.parametrize("cpu_isa", _usable_cpu_isas(), indirect=True)


@pytest.fixture
def cpu_isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of the instruction set in force during the test."""
    from capsroute import testing

    with testing.cpu_isa(request.param):
        yield request.param


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
